"""Corpora, data directories, batches."""
