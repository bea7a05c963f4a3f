"""Fixtures of the fine-tuning tests."""

from asr_factories import batch, make_model
from hier_factories import hier_batch, make_hier

__all__ = ["batch", "hier_batch", "make_hier", "make_model"]
