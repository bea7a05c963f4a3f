"""A running centre of pooled features, and the directions in which they vary.

Deviation from the paper, off by default. Pooled features of all utterances point the
same way, and around their mean the speaker moves them most: a codebook of few codes
then tells speakers apart. Taking the first principal directions out (Mu and Viswanath
2018, "All-but-the-top", for word vectors) and giving the next ones equal weight leaves
more of the language.
"""

import torch
from torch import nn

from espnet2_dq.ssl.distributed import gather_rows
from espnet2_dq.ssl.norms import EPS

_REFRESH_INTERVAL = 10  # updates; an eigendecomposition of 768 x 768 takes 0.1 s


class RunningCentre(nn.Module):
    """Running mean and covariance of feature vectors, and what follows from them.

    Args:
        dim: Channels ``D``.
        momentum: Weight of the newest batch, above 0; while fewer than ``1/momentum``
            batches have been seen they all weigh the same.
        remove: Principal directions that are taken out, from the largest.
        whiten: The following directions are scaled to equal variance, and all others
            taken out; 0 = no scaling.
    """

    mean: torch.Tensor
    covariance: torch.Tensor
    transform: torch.Tensor
    updates: torch.Tensor

    def __init__(
        self, dim: int, momentum: float, remove: int = 0, whiten: int = 0
    ) -> None:
        super().__init__()
        self.momentum, self.remove, self.whiten = momentum, remove, whiten
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        size = dim if remove or whiten else 0
        self.register_buffer("covariance", torch.zeros(size, size))
        self.register_buffer("transform", torch.eye(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, D)`` float32 -> the same, centred, in the directions that stay."""
        centred = x - self.mean
        return centred @ self.transform if len(self.transform) else centred

    @torch.no_grad()
    def update(self, x: torch.Tensor) -> None:
        """Take in ``(N, D)``; no rows, no change."""
        if len(x) == 0:
            return
        rows = x.detach().to(self.mean.dtype)
        self.updates += 1
        weight = max(self.momentum, 1.0 / int(self.updates))
        self.mean.lerp_(rows.mean(0), weight)
        if len(self.transform):
            spread = rows - self.mean
            self.covariance.lerp_(spread.T @ spread / len(rows), weight)
            if int(self.updates) % _REFRESH_INTERVAL == 0:
                self.transform.copy_(
                    direction_transform(self.covariance, self.remove, self.whiten)
                )


class RunningNorm(nn.Module):
    """Zero mean and unit deviation per channel by running statistics.

    Like a batch norm that is always in evaluation mode: batch mates never change a
    result. What :meth:`observe` collects counts from :meth:`step` on, once per update.

    Args:
        dim: Channels ``D``.
        momentum: Weight of the newest update, above 0; while fewer than ``1/momentum``
            have been seen they all weigh the same.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    updates: torch.Tensor

    def __init__(self, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._rows: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, D)`` float32 -> the same, normalised."""
        return (x - self.mean) * torch.rsqrt(self.variance + EPS)

    def observe(self, x: torch.Tensor) -> None:
        """Collect ``(B, D)`` of one training batch; changes no state."""
        self._rows.append(x.detach().float())

    @torch.no_grad()
    def step(self) -> None:
        """Take in what all processes observed since the last update."""
        empty = self.mean.new_zeros(0, len(self.mean))
        rows = gather_rows(torch.cat([empty, *self._rows]))
        self._rows = []
        if len(rows) == 0:
            return
        self.updates += 1
        weight = max(self.momentum, 1.0 / int(self.updates))
        self.mean.lerp_(rows.mean(0), weight)
        self.variance.lerp_((rows - self.mean).square().mean(0), weight)


def direction_transform(
    covariance: torch.Tensor, remove: int, whiten: int
) -> torch.Tensor:
    """What :class:`RunningCentre` multiplies with, ``(D, D)`` and symmetric.

    Args:
        covariance: ``(D, D)``.
        remove: Principal directions taken out.
        whiten: Directions kept, at equal variance; 0 keeps all others as they are.
    """
    values, vectors = torch.linalg.eigh(covariance)  # rising
    vectors = vectors.flip(1)
    if whiten == 0:
        first = vectors[:, :remove]
        return torch.eye(len(covariance)).to(covariance) - first @ first.T
    kept = vectors[:, remove : remove + whiten]
    spread = values.flip(0)[remove : remove + whiten].clamp_min(1e-12).sqrt()
    return (kept / spread) @ kept.T
