"""Gauges of collapse (METHODS 1.6, T7), and the rule that acts on them.

A collapse can hide behind healthy losses: every block has its own gauge. The rule is
written in `espnet2_dq.ssl.health_rule`; its names are offered here as well.
"""

import torch

from espnet2_dq.ssl.distributed import all_sum
from espnet2_dq.ssl.health_rule import HealthConfig, HealthRule
from espnet2_dq.ssl.quantizer import code_usage, perplexity

__all__ = [
    "HealthConfig",
    "HealthRule",
    "UsageTracker",
    "dead_codes",
    "effective_rank",
    "mean_pair_cosine",
    "sequence_similarity",
    "spread",
]

MAX_ROWS = 512


@torch.no_grad()
def spread(x: torch.Tensor, *, distributed: bool = False) -> torch.Tensor:
    """Mean over the channels of ``sqrt(var + 1e-6)`` over the rows, as fairseq.

    Args:
        x: ``(N, D)`` masked or valid frames.
        distributed: Use the rows of all processes.

    Returns:
        Scalar float32; about 0.001 for constant rows (and for fewer than two).
    """
    x = x.detach().double()
    # count, sum and sum of squares travel together in one all-reduce
    first, second = x.sum(0), x.square().sum(0)
    packed = torch.cat([x.new_tensor([len(x)]), first, second])
    if distributed:
        packed = all_sum(packed)
    count, dim = packed[0].clamp_min(1.0), x.shape[1]
    total, squares = packed[1 : 1 + dim], packed[1 + dim :]
    variance = (squares - total.square() / count) / (count - 1.0).clamp_min(1.0)
    return (variance.clamp_min(0.0) + 1e-6).sqrt().mean().float()


@torch.no_grad()
def effective_rank(x: torch.Tensor) -> torch.Tensor:
    """Exponential of the entropy of the singular values of centred rows.

    Args:
        x: ``(N, D)``; at most 512 evenly spaced rows are used.

    Returns:
        Scalar float32 from 1 (all rows on a line, or equal) to ``min(N - 1, D)``.
    """
    x = _few_rows(x)
    x = x - x.mean(0)
    # squared singular values from the smaller Gram matrix: cheaper than an SVD
    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    singular = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    total = singular.sum()
    share = singular / total.clamp_min(1e-30)
    value = torch.exp(-torch.special.xlogy(share, share).sum())
    return torch.where(total > 1e-6, value, torch.ones_like(value)).float()


@torch.no_grad()
def mean_pair_cosine(x: torch.Tensor) -> torch.Tensor:
    """Mean cosine over all pairs of different rows (exact, at most 512 rows).

    Args:
        x: ``(N, D)``.

    Returns:
        Scalar float32: near 0 when directions differ, 1 when all rows are parallel;
        0 with fewer than two rows.
    """
    x = torch.nn.functional.normalize(_few_rows(x), dim=-1)
    count = len(x)
    if count < 2:
        return torch.zeros((), device=x.device)
    own = x.square().sum()
    return ((x.sum(0).square().sum() - own) / (count * (count - 1))).float()


def _few_rows(x: torch.Tensor) -> torch.Tensor:
    """At most ``MAX_ROWS`` evenly spaced rows, float64."""
    x = x.detach()
    if len(x) > MAX_ROWS:
        x = x[torch.arange(MAX_ROWS, device=x.device) * len(x) // MAX_ROWS]
    return x.double()


def dead_codes(counts: torch.Tensor) -> torch.Tensor:
    """Unused codewords per group: ``(G, V)`` counts -> ``(G,)``."""
    return (counts == 0).sum(-1)


@torch.no_grad()
def sequence_similarity(
    joint: torch.Tensor, lengths: torch.Tensor, *, points: int = 64, most: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do different utterances get the same code sequence (ablations S5, S6)?

    Args:
        joint: ``(B, T)`` int64 joint codes.
        lengths: ``(B,)`` valid frames, at least 1.
        points: Relative positions compared.
        most: Utterances compared, the first of the batch.

    Returns:
        Share of equal codes at equal relative positions over all pairs of utterances;
        and the same expected after shuffling the positions, which rises with few
        codes. The gauge of an input-independent sequence is a first value near 1.
        ``(0, 0)`` with fewer than two utterances.
    """
    count = min(len(joint), most)
    if count < 2:
        zero = torch.zeros((), device=joint.device)
        return zero, zero.clone()
    place = (torch.arange(points, device=joint.device) + 0.5) / points
    at = place * lengths[:count].to(joint.device).unsqueeze(1)  # (B, points)
    index = at.long()
    codes = joint[:count].gather(1, index.clamp_max(joint.shape[1] - 1))
    pairs = count * (count - 1)
    equal = codes.unsqueeze(0) == codes.unsqueeze(1)  # (B, B, points)
    same = (equal.float().mean(-1).sum() - count) / pairs
    numbers = torch.unique(codes, return_inverse=True)[1]
    size = int(numbers.max()) + 1
    share = torch.zeros(count, size, device=joint.device)
    share.scatter_add_(1, numbers, torch.full(numbers.shape, 1.0 / points).to(share))
    # after a shuffle, equal codes meet with probability sum_c p_i(c) p_j(c)
    expected = (share.sum(0).square().sum() - share.square().sum()) / pairs
    return same, expected


class UsageTracker(torch.nn.Module):
    """Code usage over about the last ``1 / (1 - decay)`` batches.

    The language quantizer sees a handful of utterances per batch: only an average over
    batches tells a dead quantizer from a small batch.

    Args:
        groups: ``G``.
        clusters: ``V``.
        decay: Weight kept from the past at each batch.
    """

    share: torch.Tensor

    def __init__(self, groups: int, clusters: int, decay: float = 0.9) -> None:
        super().__init__()
        self.clusters, self.decay = clusters, decay
        self.register_buffer("share", torch.zeros(groups, clusters))

    @torch.no_grad()
    def observe(self, codes: torch.Tensor) -> None:
        """Add ``codes (..., G)`` of one batch (``-1`` = padding)."""
        counts = code_usage(codes, self.clusters).to(self.share.dtype)
        total = counts.sum(-1, keepdim=True)
        fresh = counts / total.clamp_min(1.0)
        self.share.mul_(self.decay).add_(fresh, alpha=1.0 - self.decay)

    def perplexity(self) -> torch.Tensor:
        """``(G,)`` perplexity of the averaged usage."""
        return perplexity(self.share)

    def used(self, floor: float = 1e-3) -> torch.Tensor:
        """``(G,)`` codewords with at least ``floor`` of the averaged usage."""
        total = self.share.sum(-1, keepdim=True).clamp_min(1e-12)
        return (self.share / total >= floor).sum(-1)
