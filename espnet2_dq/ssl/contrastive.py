"""Contrastive loss of the decoupling branches (Eq. 8; readings R7, R15 to R17).

Cosine similarity over kappa, cross-entropy with the positive in the denominator
(R7). A negative with the positive's joint code is left out (R17): silence alone
makes a third of the frames, and there are only 81 language codes. An item without a
remaining negative gives exactly 0 and no gradient.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F

from espnet2_dq.ssl.distributed import gather_parts, is_distributed

COSINE_EPS = 1e-8
# Multipliers of the splitmix64 generator, as signed 64-bit numbers
_MIX_1 = -0x61C8864680B583EB
_MIX_2 = -0x40A7B892E31B1A47
_MIX_3 = -0x6B2FB644ECCEEE15


@dataclass(frozen=True)
class ContrastiveOutput:
    """Loss and accuracy of ``M`` items.

    Attributes:
        loss: ``(M,)`` float32. For frames: the selected ones, utterance by
            utterance, in time order (the order of ``x[select]``).
        correct: ``(M,)`` bool, positive above every remaining negative.
        negatives: ``(M,)`` int64, how many negatives remained.
    """

    loss: torch.Tensor
    correct: torch.Tensor
    negatives: torch.Tensor

    @property
    def accuracy(self) -> torch.Tensor:
        """Share of correct items among those with a negative; 0 if there is none."""
        counted = self.negatives > 0
        return (self.correct & counted).sum() / counted.sum().clamp_min(1)


def contrastive_loss(
    prediction: torch.Tensor,
    positive: torch.Tensor,
    negatives: torch.Tensor,
    *,
    kappa: float = 0.1,
    excluded: torch.Tensor | None = None,
) -> torch.Tensor:
    """The plain formula, for items that come with their own negatives.

    Args:
        prediction: ``(N, D)``.
        positive: ``(N, D)``.
        negatives: ``(N, K, D)``.
        kappa: Temperature.
        excluded: ``(N, K)`` bool, True = not a negative (equal code), or None.

    Returns:
        ``(N,)`` float32.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        query = _unit(prediction)
        at_positive = (query * _unit(positive)).sum(-1) / kappa
        at_negative = (query.unsqueeze(1) * _unit(negatives)).sum(-1) / kappa
        if excluded is not None:
            at_negative = at_negative.masked_fill(excluded, -torch.inf)
        return _score(at_positive, at_negative).loss


def frame_contrastive(
    prediction: torch.Tensor,
    quantized: torch.Tensor,
    joint: torch.Tensor,
    select: torch.Tensor,
    *,
    n_negatives: int | None = 100,
    kappa: float = 0.1,
    seed: int = 0,
) -> ContrastiveOutput:
    """Frames against other selected frames of their own utterance (R15).

    The negatives of an utterance follow from ``seed`` and its own selected frames
    alone (span masks are drawn anew each epoch, so the negatives are, too): batch
    mates, padding and the number of processes never change them.

    Args:
        prediction: ``(B, T, D)`` student predictions.
        quantized: ``(B, T, D)`` straight-through codewords.
        joint: ``(B, T)`` int64 joint codes.
        select: ``(B, T)`` bool, the masked valid frames.
        n_negatives: How many are drawn, with replacement, if an utterance has
            more; None: all others.
        kappa: Temperature.
        seed: Changes the draw.

    Returns:
        See `ContrastiveOutput`.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        # (B, T, D) -> (B, M, D): selected frames first, in time order
        width = int(select.sum(1).max()) if select.numel() else 0
        order = torch.argsort(~select, dim=1, stable=True)[:, :width]
        held = select.gather(1, order)  # (B, M), False behind an utterance's last
        query = _unit(_pick(prediction, order))
        key = _unit(_pick(quantized, order))
        logits = torch.bmm(query, key.transpose(1, 2)) / kappa  # (B, M, M)
        codes = joint.gather(1, order)
        usable = (codes.unsqueeze(2) != codes.unsqueeze(1)) & held.unsqueeze(1)
        at_positive = logits.diagonal(dim1=1, dim2=2)
        if n_negatives is not None and width - 1 > n_negatives:
            drawn, used = draw_negatives(order, held, n_negatives, seed)
            logits = logits.gather(2, drawn)
            usable = usable.gather(2, drawn) & used.unsqueeze(1)
        logits = logits.masked_fill(~usable, -torch.inf)
        return _score(at_positive[held], logits[held])


def utterance_contrastive(
    prediction: torch.Tensor,
    quantized: torch.Tensor,
    joint: torch.Tensor,
    *,
    kappa: float = 0.1,
    others: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> ContrastiveOutput:
    """Utterances against all others of the batch (R16).

    Args:
        prediction: ``(B, D)`` pooled student predictions.
        quantized: ``(B, D)`` straight-through codewords.
        joint: ``(B,)`` int64 joint codes.
        kappa: Temperature.
        others: More candidates, codewords ``(C, D)`` and joint codes ``(C,)``, as
            `gather_others` collects them.

    Returns:
        See `ContrastiveOutput`, ``M = B``.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        candidates, codes = quantized, joint
        if others is not None:
            candidates = torch.cat([quantized, others[0]])
            codes = torch.cat([joint, others[1]])
        logits = _unit(prediction) @ _unit(candidates).T / kappa  # (B, B + C)
        at_positive = logits.diagonal()
        # an utterance has its own code, so this leaves out the positive as well
        usable = joint.unsqueeze(1) != codes.unsqueeze(0)
        return _score(at_positive, logits.masked_fill(~usable, -torch.inf))


def draw_negatives(
    frames: torch.Tensor, held: torch.Tensor, n_negatives: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw negatives by hashing (seed, utterance's frames, frame, draw).

    A counter-based generator in tensor arithmetic: the same on CPU and GPU, no
    state to save, and nothing but the utterance itself enters.

    Args:
        frames: ``(B, M)`` int64, frame numbers of the selected frames.
        held: ``(B, M)`` bool, False behind an utterance's last selected frame.
        n_negatives: Draws ``K`` per frame.
        seed: Changes all draws.

    Returns:
        ``(B, M, K)`` int64 positions in ``0..M-1``, never the frame's own; and
        ``(B, K)`` bool, False where an utterance has fewer than ``K`` others (it then
        gets each of them once).
    """
    width = frames.shape[1]
    device = frames.device
    count = held.sum(1)  # (B,)
    own = torch.arange(width, device=device)
    draw = torch.arange(n_negatives, device=device)
    hashed = torch.where(held, _mix(frames + 1), 0).sum(1)
    stream = _mix(_mix(hashed) + seed)  # (B,)
    numbers = _mix(_mix(stream.unsqueeze(1) + own).unsqueeze(2) + draw)  # (B, M, K)
    numbers = numbers & 0x7FFFFFFFFFFFFFFF
    others = (count - 1).clamp_min(1).view(-1, 1, 1)
    few = (count - 1 <= n_negatives).view(-1, 1, 1)
    picked = torch.where(few, draw.view(1, 1, -1), numbers % others)
    picked = picked + (picked >= own.view(1, -1, 1)).long()  # step over the own frame
    used = draw.unsqueeze(0) < (count - 1).unsqueeze(1)
    return picked.clamp_max(width - 1), used


def gather_others(
    quantized: torch.Tensor, joint: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Codewords and joint codes of the other processes' utterances.

    The gradient flows back to the codewords' owners, so that two processes train as
    one with both of their batches would.

    Returns:
        ``(C, D)`` and ``(C,)``, or None when there is one process only.
    """
    if not is_distributed():
        return None
    own = dist.get_rank()
    all_rows = gather_parts(quantized, gradient=True)
    all_codes = gather_parts(joint)
    others = [rank for rank in range(len(all_rows)) if rank != own]
    return (
        torch.cat([all_rows[rank] for rank in others]),
        torch.cat([all_codes[rank] for rank in others]),
    )


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Unit length over the last axis in float32 (METHODS T25)."""
    return F.normalize(x.float(), dim=-1, eps=COSINE_EPS)


def _pick(x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Frames ``order (B, M)`` of ``x (B, T, D)`` -> ``(B, M, D)``."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _score(at_positive: torch.Tensor, at_negative: torch.Tensor) -> ContrastiveOutput:
    """Cross-entropy from logits ``(M,)`` and ``(M, K)``; ``-inf`` = left out.

    The positive is always finite, so a row whose negatives are all left out gives
    ``log exp(p) - p = 0`` with zero gradient, not NaN.
    """
    both = torch.cat([at_positive.unsqueeze(1), at_negative], dim=1)
    loss = torch.logsumexp(both, dim=1) - at_positive
    counted = (at_negative > -torch.inf).sum(1)
    best = F.pad(at_negative.detach(), (0, 1), value=-torch.inf).amax(1)
    return ContrastiveOutput(loss, at_positive.detach() > best, counted)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Splitmix64 finaliser on int64 tensors (wraps around, logical shifts)."""
    x = x + _MIX_1
    x = (x ^ _shift(x, 30)) * _MIX_2
    x = (x ^ _shift(x, 27)) * _MIX_3
    return x ^ _shift(x, 31)


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
