"""What the losses look at: regression target and quantizer inputs (Eqs. 1, 3, 4).

All inputs are the teacher's tapped layer results, a list of ``(B, T, D)``
tensors (FFN results by default, reading R1), without gradient. No function here
has a learnable parameter (paper, section III.B).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.norms import (
    EPS,
    l2_norm,
    masked_instance_norm,
    masked_mean,
    zero_padding,
)

Norm = Literal["l2", "ins"]
# (B, T, D) features and pad_mask -> (B, T, D): the additional block of a branch
Additional = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


def data2vec_target(
    ffn_layers: Sequence[torch.Tensor], pad_mask: torch.Tensor | None, top_k: int
) -> torch.Tensor:
    """Mean of the instance-normalised top ``top_k`` layer results (Eq. 1).

    Args:
        ffn_layers: Layer results from bottom to top, each ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool, True = padding, or None.
        top_k: How many of the last layers enter the mean.

    Returns:
        ``(B, T, D)`` float32, padded frames 0.
    """
    if not 1 <= top_k <= len(ffn_layers):
        raise ConfigError(
            f"top_k is {top_k}, but {len(ffn_layers)} layer results are there; "
            f"choose 1 to {len(ffn_layers)}"
        )
    return _mean_instance_norm(ffn_layers[-top_k:], pad_mask)


def language_features(
    ffn_layers: Sequence[torch.Tensor],
    pad_mask: torch.Tensor | None,
    norm: Norm = "l2",
    *,
    centre: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Input of the language quantizer: ``L2Norm(Pool(mean_i y_i))`` (Eq. 3).

    Args:
        ffn_layers: The tapped layers, each ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool or None; only valid frames are pooled (R3).
        norm: ``l2`` as in the paper, or ``ins``: zero mean and unit variance of
            the pooled vector over ``D`` (reading R23 of ablation S4).
        centre: What to do to the pooled features ``(B, D)`` before the normalisation
            (deviation, see `espnet2_dq.ssl.centring`).

    Returns:
        ``(B, D)`` float32.
    """
    return normalise_pooled(pooled_features(ffn_layers, pad_mask), norm, centre)


def pooled_features(
    ffn_layers: Sequence[torch.Tensor],
    pad_mask: torch.Tensor | None,
    additional: Additional | None = None,
) -> torch.Tensor:
    """``Pool(mean_i y_i)``, ``(B, D)`` float32; what a running centre averages.

    Args:
        ffn_layers: The tapped layers, each ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool or None.
        additional: Block in front of the pooling (R21).
    """
    if additional is not None:
        mean = torch.stack([layer.float() for layer in ffn_layers]).mean(0)
        return masked_mean(additional(mean, pad_mask), pad_mask)
    pooled = [masked_mean(layer, pad_mask) for layer in ffn_layers]
    return torch.stack(pooled).mean(0)


def normalise_pooled(
    pooled: torch.Tensor,
    norm: Norm,
    centre: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Norm of the pooled features ``(B, D)``; arguments of `language_features`."""
    if centre is not None:
        pooled = centre(pooled)
    if norm == "l2":
        return l2_norm(pooled)
    if norm == "ins":
        return F.layer_norm(pooled, pooled.shape[-1:], eps=EPS)
    raise ConfigError(f"language norm '{norm}' is not one of ['l2', 'ins']")


def phoneme_features(
    ffn_layers: Sequence[torch.Tensor],
    pad_mask: torch.Tensor | None,
    norm: Norm = "ins",
    additional: Additional | None = None,
) -> torch.Tensor:
    """Input of the phoneme quantizer: ``InsNorm(mean_i InsNorm(y_i))`` (Eq. 4).

    Args:
        ffn_layers: The tapped layers, each ``(B, T, D)``.
        pad_mask: ``(B, T)`` bool or None.
        norm: ``ins`` as in the paper, or ``l2``: ablation S3, every frame of the
            plain layer mean scaled to unit length.
        additional: Block between the mean and that norm (R21).

    Returns:
        ``(B, T, D)`` float32, padded frames 0.
    """
    if norm == "ins":
        mean = _mean_instance_norm(ffn_layers, pad_mask)
        mean = mean if additional is None else additional(mean, pad_mask)
        return masked_instance_norm(mean, pad_mask)
    if norm == "l2":
        total = torch.stack([layer.float() for layer in ffn_layers]).mean(0)
        total = total if additional is None else additional(total, pad_mask)
        return l2_norm(zero_padding(total, pad_mask))
    raise ConfigError(f"phoneme norm '{norm}' is not one of ['ins', 'l2']")


def _mean_instance_norm(
    layers: Sequence[torch.Tensor], pad_mask: torch.Tensor | None
) -> torch.Tensor:
    """Mean over layers of the masked instance norm; ``(B, T, D)`` float32."""
    total = masked_instance_norm(layers[0], pad_mask)
    for layer in layers[1:]:
        total = total + masked_instance_norm(layer, pad_mask)
    return total / len(layers)
