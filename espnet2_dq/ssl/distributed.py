"""Collectives that do nothing when there is one process."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.nn.functional import all_gather as differentiable_all_gather


def is_distributed() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def all_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over processes, in place."""
    if is_distributed():
        dist.all_reduce(x)
    return x


def share_from_first(x: torch.Tensor) -> None:
    """Overwrite ``x`` on every process with process 0's, so that no bit differs."""
    if is_distributed():
        dist.broadcast(x, src=0)


def gather_parts(x: torch.Tensor, *, gradient: bool = False) -> list[torch.Tensor]:
    """``(N, ...)`` rows of every process, by rank; ``N`` may differ.

    Args:
        x: This process's rows.
        gradient: Let the gradient of every process flow back to the rows' owner.
    """
    if not is_distributed():
        return [x]
    world = dist.get_world_size()
    size = torch.tensor([len(x)], device=x.device)
    sizes = [torch.zeros_like(size) for _ in range(world)]
    dist.all_gather(sizes, size)
    most = max(int(s) for s in sizes)
    # collectives need equal shapes: pad the first axis, cut again afterwards
    padding = [0, 0] * (x.dim() - 1) + [0, most - len(x)]
    padded = F.pad(x, padding).contiguous()
    if gradient:
        parts = list(differentiable_all_gather(padded))
    else:
        padded = padded.detach()
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
    return [part[: int(s)] for part, s in zip(parts, sizes, strict=True)]


def gather_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in one tensor, in order of their rank."""
    parts = gather_parts(x)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
