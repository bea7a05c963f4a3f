"""DQ-Data2vec and K-Wav2vec 2.0 as an extension of ESPnet."""

__version__ = "0.1.0"
