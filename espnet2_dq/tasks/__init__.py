"""Training tasks on top of ESPnet's trainer."""
