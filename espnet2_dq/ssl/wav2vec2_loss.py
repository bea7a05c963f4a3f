"""The three terms of the wav2vec 2.0 loss (METHODS 4 and 7.3).

Contrastive: cross-entropy of cosines over kappa, negatives from the masked frames of
the same utterance, those with the positive's codes left out. Diversity: the share of
codewords that the averaged softmax does not use. Penalty: the mean square of the
convolutions' output. fairseq weights them 1, 0.1 and 10.

Contrastive and penalty are sums over frames, so accumulation and ranks make no
difference. Diversity is not: it looks at one batch on one rank, as in fairseq, and
counts by that batch's share of the masked frames.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from espnet2_dq.ssl.contrastive import ContrastiveOutput, frame_contrastive
from espnet2_dq.ssl.gumbel_quantizer import soft_perplexity
from espnet2_dq.ssl.wav2vec2_config import Wav2Vec2Config


@dataclass(frozen=True)
class Wav2Vec2Terms:
    """Terms of one batch, not weighted.

    Attributes:
        contrastive: Loss of every masked frame, and which were right.
        diversity: Scalar in [0, 1].
        penalty: Scalar, summed over valid frames, averaged over channels.
    """

    contrastive: ContrastiveOutput
    diversity: torch.Tensor
    penalty: torch.Tensor

    def total(
        self, conf: Wav2Vec2Config, totals: torch.Tensor, local: torch.Tensor
    ) -> torch.Tensor:
        """This batch's part of the update's loss.

        Args:
            conf: The weights.
            totals: Masked and valid frames (and utterances) of the update ``(3,)``.
            local: The same of this batch.
        """
        masked, valid, _ = totals.clamp_min(1.0)
        loss = self.contrastive.loss.sum() / masked
        loss = loss + conf.diversity_weight * self.diversity * (local[0] / masked)
        return loss + conf.feature_penalty * self.penalty / valid

    def stats(self, local: torch.Tensor) -> dict[str, torch.Tensor]:
        """Means of this batch for the log."""
        masked, valid, _ = local.clamp_min(1.0)
        return {
            "loss_contrastive": self.contrastive.loss.detach().sum() / masked,
            "loss_diversity": self.diversity.detach(),
            "loss_penalty": self.penalty.detach() / valid,
            "acc_contrastive": self.contrastive.accuracy,
        }


def masked_contrastive(
    prediction: torch.Tensor,
    target: torch.Tensor,
    joint: torch.Tensor,
    span_mask: torch.Tensor,
    conf: Wav2Vec2Config,
    seed: int,
) -> ContrastiveOutput:
    """Contrastive loss of the masked frames.

    Args:
        prediction: ``(M, D)`` of the masked frames, in the order of ``x[span_mask]``.
        target: ``(M, D)`` projected codewords of the same frames.
        joint: ``(M,)`` int64 joint codes. Equal codes are compared, not equal vectors
            as in fairseq: the straight-through estimate rounds differently each time.
        span_mask: ``(B, T)`` bool, masked valid frames.
        conf: Temperature and number of negatives.
        seed: Of the negatives.
    """
    return frame_contrastive(
        scatter_rows(prediction, span_mask),
        scatter_rows(target, span_mask),
        scatter_rows(joint[:, None], span_mask).squeeze(-1),
        span_mask,
        n_negatives=conf.negatives or None,
        kappa=conf.temperature,
        seed=seed,
    )


def diversity_loss(mean_probs: torch.Tensor) -> torch.Tensor:
    """``(G * V - perplexity) / (G * V)`` of ``(G, V)`` mean probabilities."""
    return 1.0 - soft_perplexity(mean_probs) / mean_probs.numel()


def feature_penalty(features: torch.Tensor, pad_mask: torch.Tensor) -> torch.Tensor:
    """Mean square over channels, summed over valid frames; float32 scalar.

    Args:
        features: ``(B, T, C)``; padding may hold anything finite.
        pad_mask: ``(B, T)`` True = padding.
    """
    return features.float().square().mean(-1).masked_fill(pad_mask, 0.0).sum()


def scatter_rows(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Undo ``x[mask]``: ``(M, D)`` rows to ``(B, T, D)``, 0 elsewhere."""
    places = mask.flatten().nonzero().squeeze(1)
    flat = rows.new_zeros(mask.numel(), rows.shape[-1])
    return flat.index_copy(0, places, rows).view(*mask.shape, rows.shape[-1])


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """``x`` itself, whose gradient is multiplied by ``factor`` on its way back."""
    if factor == 1.0:
        return x
    scaled: torch.Tensor = _ScaleGradient.apply(x, factor)  # type: ignore[no-untyped-call]
    return scaled


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:  # type: ignore[override]
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        return grad * ctx.factor, None
