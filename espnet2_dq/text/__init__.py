"""Phonemes, characters and the token lists made of them."""
