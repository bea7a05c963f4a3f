"""Times and exact scores of given token sequences under CTC."""

from collections.abc import Sequence

import numpy as np
import torch

from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.decode.hypothesis import TokenSpan


def ctc_log_probs(
    log_probs: torch.Tensor, sequences: Sequence[Sequence[int]]
) -> list[float]:
    """Log-probability of each sequence, summed over all of its alignments.

    Args:
        log_probs: ``(T, V)`` natural logarithms, T >= 1.
        sequences: Token ids without blanks; empty ones are allowed.

    Returns:
        One value per sequence; ``-inf`` where the frames do not suffice.
    """
    if not sequences:
        return []
    used = sorted({BLANK_ID, *(i for ids in sequences for i in ids)})
    column = {token: i for i, token in enumerate(used)}
    # (T, V) -> (T, N, used columns): a large vocabulary is not copied N times
    frames = log_probs[:, used].detach().cpu().double()
    frames = frames[:, None].expand(-1, len(sequences), -1)
    longest = max(1, *(len(ids) for ids in sequences))
    targets = torch.zeros(len(sequences), longest, dtype=torch.long)
    for row, ids in zip(targets, sequences, strict=True):
        row[: len(ids)] = torch.tensor([column[i] for i in ids], dtype=torch.long)
    losses = torch.nn.functional.ctc_loss(
        frames,
        targets,
        torch.full((len(sequences),), len(log_probs)),
        torch.tensor([len(ids) for ids in sequences]),
        blank=column[BLANK_ID],
        reduction="none",
    )
    return [-loss for loss in losses.tolist()]


def viterbi_spans(log_probs: np.ndarray, ids: Sequence[int]) -> tuple[TokenSpan, ...]:
    """Spans of the tokens in the best alignment of ``ids``.

    Args:
        log_probs: ``(T, V)`` natural logarithms.
        ids: Token ids without blanks.

    Raises:
        ValueError: The frames do not suffice for the tokens.
    """
    if not ids:
        return ()
    states = _best_states(log_probs, ids)
    spans = []
    for position, token in enumerate(ids):
        frames = np.flatnonzero(states == 2 * position + 1)
        start, end = int(frames[0]), int(frames[-1]) + 1
        spans.append(TokenSpan(start, end, float(log_probs[start:end, token].max())))
    return tuple(spans)


def _best_states(log_probs: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """State of each frame, ``(T,)``: even = blank, 2 i + 1 = token i."""
    labels = np.full(2 * len(ids) + 1, BLANK_ID)
    labels[1::2] = ids
    scores = log_probs[:, labels].astype(np.float64)  # (T, 2 L + 1)
    # a blank may be skipped between two different tokens only
    may_skip = np.zeros(len(labels), dtype=bool)
    may_skip[3::2] = labels[3::2] != labels[1:-2:2]
    steps = np.zeros(scores.shape, dtype=np.int8)
    best = np.full(len(labels), -np.inf)
    best[:2] = scores[0, :2]
    candidates = np.full((3, len(labels)), -np.inf)
    for t in range(1, len(scores)):
        candidates[0] = best
        candidates[1, 1:] = best[:-1]
        candidates[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        steps[t] = candidates.argmax(axis=0)
        best = candidates.max(axis=0) + scores[t]
    state = len(labels) - 1 if best[-1] >= best[-2] else len(labels) - 2
    if best[state] == -np.inf:
        raise ValueError(
            f"{len(log_probs)} frames cannot emit {len(ids)} tokens (two equal tokens "
            "in a row need a blank between them)"
        )
    path = np.empty(len(scores), dtype=np.int64)
    for t in range(len(scores) - 1, -1, -1):
        path[t] = state
        state -= int(steps[t, state])  # int8 would overflow beyond 127 states
    return path
