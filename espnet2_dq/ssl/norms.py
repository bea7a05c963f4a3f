"""Normalisations and pooling that see valid frames only (METHODS T3), in float32.

Every function takes ``pad_mask (B, T)`` bool (True = padding) or ``None`` (no
padding). Padded frames may hold anything, NaN included; they come back as 0.
"""

import torch
import torch.nn.functional as F

EPS = 1e-5


def zero_padding(x: torch.Tensor, pad_mask: torch.Tensor | None) -> torch.Tensor:
    """Replace padded frames of ``x (B, T, D)`` by 0 (also when they hold NaN)."""
    if pad_mask is None:
        return x
    return x.masked_fill(pad_mask.unsqueeze(-1), 0.0)


def _valid_frames(x: torch.Tensor, pad_mask: torch.Tensor | None) -> torch.Tensor:
    """Number of valid frames, at least 1, as float32 ``(B, 1)`` or ``(1, 1)``."""
    if pad_mask is None:
        return x.new_full((1, 1), max(x.shape[1], 1), dtype=torch.float32)
    return (~pad_mask).sum(1, keepdim=True).clamp_min(1).float()


def masked_mean(x: torch.Tensor, pad_mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the valid frames (Pool of Eq. 3, reading R3).

    Args:
        x: ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool or None.

    Returns:
        ``(B, D)`` float32; 0 for an utterance without a valid frame.
    """
    return zero_padding(x.float(), pad_mask).sum(1) / _valid_frames(x, pad_mask)


def masked_instance_norm(
    x: torch.Tensor, pad_mask: torch.Tensor | None, eps: float = EPS
) -> torch.Tensor:
    """Zero mean and unit biased variance per utterance and channel over time.

    Without padding this equals ``F.instance_norm`` on ``(B, D, T)``; a single
    valid frame, which PyTorch refuses, gives 0.

    Args:
        x: ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool or None.
        eps: Added to the variance.

    Returns:
        ``(B, T, D)`` float32, padded frames 0.
    """
    x = zero_padding(x.float(), pad_mask)
    count = _valid_frames(x, pad_mask).unsqueeze(-1)  # (B, 1, 1)
    centred = zero_padding(x - x.sum(1, keepdim=True) / count, pad_mask)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * torch.rsqrt(variance + eps)


def masked_group_norm(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    pad_mask: torch.Tensor | None,
    over_time: bool,
    eps: float = EPS,
) -> torch.Tensor:
    """Group normalisation after the quantizer's projection (reading R4).

    Args:
        x: ``(B, T, D)`` or ``(B, D)``.
        groups: Number of channel groups; divides ``D``.
        weight: ``(D,)`` scale.
        bias: ``(D,)`` offset.
        pad_mask: ``(B, T)`` bool or None; ignored for ``(B, D)``.
        over_time: True: statistics over valid frames times the channels of a
            group, as fairseq's ``Fp32GroupNorm`` on ``(B, D, T)``; False: every
            frame by itself.
        eps: Added to the variance.

    Returns:
        Shape of ``x``, float32, padded frames 0.
    """
    x, weight, bias = x.float(), weight.float(), bias.float()
    dim = x.shape[-1]
    if x.dim() == 2 or not over_time:
        # (..., D) -> (..., G, D/G): a LayerNorm over each group is the same thing as
        # F.group_norm per frame, whose CPU backward takes five times as long
        split = x.reshape(*x.shape[:-1], groups, dim // groups)
        normed = F.layer_norm(split, split.shape[-1:], eps=eps).reshape(x.shape)
        out = torch.addcmul(bias, normed, weight)
        return out if x.dim() == 2 else zero_padding(out, pad_mask)
    batch, frames, _ = x.shape
    x = zero_padding(x, pad_mask)
    # (B, T, D) -> (B, T, G, D/G): one mean and variance per utterance and group
    split = x.view(batch, frames, groups, dim // groups)
    count = _valid_frames(x, pad_mask).view(-1, 1, 1, 1) * (dim // groups)
    mean = split.sum((1, 3), keepdim=True) / count
    centred = zero_padding((split - mean).view(batch, frames, dim), pad_mask)
    split = centred.view(batch, frames, groups, dim // groups)
    # the norm instead of a sum of squares: no temporary of the size of x
    length = torch.linalg.vector_norm(split, dim=(1, 3), keepdim=True)
    scale = torch.rsqrt(length.square() / count + eps) * weight.view(groups, -1)
    out = torch.addcmul(bias.view(groups, -1), split, scale)
    return zero_padding(out.view(batch, frames, dim), pad_mask)


def l2_norm(x: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Unit Euclidean length over the last axis, float32; a zero vector stays 0."""
    return F.normalize(x.float(), dim=-1, eps=eps)
