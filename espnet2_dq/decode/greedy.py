"""Greedy CTC: the best token of each frame, repeats merged, blanks removed."""

from collections.abc import Sequence

import numpy as np

from espnet2_dq.decode.hypothesis import CTCHypothesis, TokenSpan

BLANK_ID = 0


def greedy_decode(
    log_probs: np.ndarray, lengths: Sequence[int] | np.ndarray
) -> list[CTCHypothesis]:
    """Decode a padded batch (reading R25: the paper's numbers are greedy).

    Args:
        log_probs: ``(B, T, V)`` natural logarithms; padded frames may hold anything.
        lengths: ``(B,)`` valid frames of each utterance.

    Returns:
        One hypothesis per utterance; its score is the log-probability of the best
        path, summed over the valid frames.
    """
    return [
        greedy_path(frames[:length])
        for frames, length in zip(log_probs, lengths, strict=True)
    ]


def greedy_path(log_probs: np.ndarray) -> CTCHypothesis:
    """Decode one utterance, ``(T, V)``; no frames give an empty hypothesis.

    >>> probs = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]])
    >>> hypothesis = greedy_path(np.log(probs))
    >>> hypothesis.ids, [(s.start, s.end) for s in hypothesis.spans]
    ((1, 1), [(0, 2), (3, 4)])
    """
    if len(log_probs) == 0:
        return CTCHypothesis((), 0.0)
    best = log_probs.argmax(axis=-1)
    scores = log_probs[np.arange(len(best)), best]
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    ends = np.append(starts[1:], len(best))
    ids, spans = [], []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if best[start] != BLANK_ID:
            ids.append(int(best[start]))
            spans.append(TokenSpan(start, end, float(scores[start:end].max())))
    total = float(scores.sum(dtype=np.float64))
    return CTCHypothesis(tuple(ids), total, tuple(spans))
