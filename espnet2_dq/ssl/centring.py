"""A running centre of pooled features, and the directions in which they vary most.

Deviation from the paper, off by default. Pooled features of all utterances point the
same way, and around their mean the speaker moves them most; the language is in the
rest. Subtracting a mean and the first principal directions is what Mu and Viswanath
(2018, "All-but-the-top") do to word vectors.
"""

import torch
from torch import nn

_REFRESH_INTERVAL = 10  # updates; an eigendecomposition of 768 x 768 takes 0.1 s


class RunningCentre(nn.Module):
    """Exponential mean and principal directions of feature vectors.

    Args:
        dim: Channels ``D``.
        momentum: Weight of the newest batch, above 0.
        directions: How many directions are removed; 0 = only the mean.
    """

    mean: torch.Tensor
    covariance: torch.Tensor
    directions: torch.Tensor
    updates: torch.Tensor

    def __init__(self, dim: int, momentum: float, directions: int = 0) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.register_buffer("directions", torch.zeros(directions, dim))
        size = dim if directions else 0
        self.register_buffer("covariance", torch.zeros(size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, D)`` float32 -> the same, centred, without the directions."""
        centred = x - self.mean
        return centred - centred @ self.directions.T @ self.directions

    @torch.no_grad()
    def update(self, x: torch.Tensor) -> None:
        """Move towards mean and covariance of ``(N, D)``; no rows, no change."""
        if len(x) == 0:
            return
        rows = x.detach().to(self.mean.dtype)
        weight = self.momentum if int(self.updates) else 1.0
        self.mean.lerp_(rows.mean(0), weight)
        self.updates += 1
        if len(self.directions):
            spread = rows - self.mean
            self.covariance.lerp_(spread.T @ spread / len(rows), self.momentum)
            if int(self.updates) % _REFRESH_INTERVAL == 0:
                self.directions.copy_(self._principal())

    def _principal(self) -> torch.Tensor:
        """``(m, D)`` orthonormal rows, those of the largest variance."""
        vectors = torch.linalg.eigh(self.covariance).eigenvectors  # rising eigenvalues
        return vectors[:, -len(self.directions) :].T
