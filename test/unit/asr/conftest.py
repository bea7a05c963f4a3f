"""Fixtures of the fine-tuning tests."""

from asr_factories import batch, make_model

__all__ = ["batch", "make_model"]
