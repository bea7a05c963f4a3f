"""Dropout that does not wait for PyTorch's slow CPU random numbers."""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_LEVELS = 2**16


def dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Zero a share ``rate`` of the entries and scale the others by 1 / (1 - rate).

    On a CPU the mask comes from 16 random bits an entry (so the rate is a multiple of
    1/65536), drawn by a generator that is seeded from PyTorch's: measured forward and
    backward 4-6 ns an entry against 10-16 ns of ``F.dropout``, which was 5-10 % of a
    pretraining update. Elsewhere this is ``F.dropout``.

    Args:
        x: Any shape, floating point.
        rate: In [0, 1].
        training: False returns ``x``.
    """
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu" or rate >= 1.0:
        return F.dropout(x, rate)
    out: torch.Tensor = _CPUDropout.apply(x, rate)
    return out


class _CPUDropout(torch.autograd.Function):
    """Multiply with a scaled random mask."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rate: float) -> torch.Tensor:
        dropped = round(rate * _LEVELS)
        # one draw from PyTorch's generator keeps torch.manual_seed in charge
        seed = int(torch.randint(2**62, ()))
        words = np.random.SFC64(seed).random_raw(-(-x.numel() // 4))
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()].view(x.shape)
        mask = torch.empty(x.shape, dtype=x.dtype)
        torch.ge(bits, dropped - _LEVELS // 2, out=mask)
        mask.mul_(_LEVELS / (_LEVELS - dropped))
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        (mask,) = ctx.saved_tensors
        return grad * mask, None
