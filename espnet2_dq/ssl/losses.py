"""Regression loss of data2vec (Eq. 2; METHODS 1.3)."""

import torch
import torch.nn.functional as F

from espnet2_dq.errors import ConfigError


def regression_loss(
    pred: torch.Tensor,
    target: torch.Tensor,
    beta: float = 0.0,
    scale: float | None = None,
) -> torch.Tensor:
    """Squared error or smooth L1 per frame, summed over the channels.

    Args:
        pred: ``(N, D)`` predictions at the masked frames.
        target: ``(N, D)`` teacher targets, no gradient.
        beta: 0: squared error (fairseq's audio setting); above 0: smooth L1 with
            this transition point.
        scale: Factor on every sum; None: ``1 / sqrt(D)`` as fairseq, so a value is
            ``sqrt(D)`` times the per-element mean (reading R9).

    Returns:
        ``(N,)`` float32.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ"
        )
    if beta < 0.0:
        raise ConfigError(f"beta is {beta}; choose 0 (squared error) or more")
    pred, target = pred.float(), target.detach().float()
    if beta == 0.0:
        error = F.mse_loss(pred, target, reduction="none")
    else:
        error = F.smooth_l1_loss(pred, target, reduction="none", beta=beta)
    factor = pred.shape[-1] ** -0.5 if scale is None else scale
    return error.sum(-1) * factor
