"""Batch k-means in plain torch, deterministic given a generator."""

import torch

from espnet2_dq.ssl.quantizer import nearest_codes


def squared_distance(x: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """``(N, d)`` and ``(V, d)`` -> ``(N,)`` squared distance to the nearest centre."""
    chosen = nearest_codes(x.unsqueeze(1), centres.unsqueeze(0)).squeeze(1)
    return (x - centres[chosen]).square().sum(-1)


def spread_choice(
    x: torch.Tensor,
    count: int,
    generator: torch.Generator,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Choose rows as k-means++ does: far from each other and from ``start``.

    Args:
        x: ``(N, d)`` float32, ``N`` at least 1.
        count: Rows to choose; rows repeat only when all distances are 0.
        generator: CPU generator.
        start: ``(S, d)`` centres that exist already, or None.

    Returns:
        ``(count,)`` int64 row numbers.
    """
    chosen: list[int] = []
    nearest: torch.Tensor | None = None
    if start is not None and len(start):
        nearest = squared_distance(x, start)
    for _ in range(count):
        if nearest is None or float(nearest.sum()) <= 0.0:
            row = int(torch.randint(len(x), (1,), generator=generator))
        else:
            weights = nearest.double().cpu()
            row = int(torch.multinomial(weights, 1, generator=generator))
        chosen.append(row)
        added = (x - x[row]).square().sum(-1)
        nearest = added if nearest is None else torch.minimum(nearest, added)
    return torch.tensor(chosen, dtype=torch.long, device=x.device)


def kmeans(
    x: torch.Tensor, clusters: int, generator: torch.Generator, iterations: int = 20
) -> torch.Tensor:
    """k-means++ start, then Lloyd's iterations until nothing moves.

    Args:
        x: ``(N, d)`` float32. With fewer rows than clusters, centres repeat rows.
        clusters: ``V``.
        generator: CPU generator of the start.
        iterations: Most iterations.

    Returns:
        ``(V, d)`` centres. One that loses all its rows stays where it was.
    """
    centres = x[spread_choice(x, clusters, generator)].clone()
    previous: torch.Tensor | None = None
    for _ in range(iterations):
        codes = nearest_codes(x.unsqueeze(1), centres.unsqueeze(0)).squeeze(1)
        if previous is not None and torch.equal(codes, previous):
            break
        previous = codes
        sums = torch.zeros_like(centres).index_add_(0, codes, x)
        counts = torch.bincount(codes, minlength=clusters).unsqueeze(1)
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres
