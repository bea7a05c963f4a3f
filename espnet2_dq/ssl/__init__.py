"""Pretraining: losses, branches, teacher, health."""
