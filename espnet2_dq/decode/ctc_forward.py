"""Exact CTC log-probabilities of many token sequences of one utterance, fast.

Two savings, neither of which costs accuracy. Sequences that begin alike share the
forward variables of the frames in which only the common part is alive; so give similar
ones next to each other. And only positions that can matter are kept: columns that no
sequence uses do not count, hence each frame is divided by its sum over the used ones;
then no path can gain probability in later frames, and the sum of what is dropped
bounds what is missing at the end. A sequence that may miss more than a share of 1e-9
is computed again with a threshold that is low enough. So every value equals
``-ctc_loss`` to about 1e-9 nat.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from espnet2_dq.decode.compiled import compiled
from espnet2_dq.decode.encoded import Encoded
from espnet2_dq.decode.greedy import BLANK_ID

_TOLERANCE = 1e-9  # share of a probability that may be lost
_FIRST_THRESHOLD = 1e-22
_MARGIN = 1e-6
_UNDERFLOW = 1e-40
_CHECK_EVERY = 8  # frames


@compiled
def _advance(
    probs: np.ndarray,
    labels: np.ndarray,
    may_skip: np.ndarray,
    t: int,
    blanks: np.ndarray,
    tokens: np.ndarray,
    band: np.ndarray,
    ledger: np.ndarray,
    emitted: np.ndarray,
) -> None:
    """One frame of the forward recursion; see :func:`_forward` for the arrays.

    Token i is reached from token i - 1 or its own position, blank i from token i - 1
    or itself. Plain loops over contiguous arrays, which the compiler vectorises.
    """
    row, silence = probs[t], probs[t, 0]
    low, high = band[t - 1, 0], band[t - 1, 1]
    old_blanks, old_tokens = blanks[t - 1], tokens[t - 1]
    new_blanks, new_tokens = blanks[t], tokens[t]
    old_tokens[low] = 0.0  # position low - 1
    if high < len(labels) - 1 and old_tokens[high + 1] > 0.0:
        high += 1
        old_blanks[high + 1], old_tokens[high + 1] = 0.0, 0.0
    band[t, 2] = high
    for i in range(low, high + 1):
        emitted[i + 1] = row[labels[i]]
    for j in range(low + 1, high + 2):
        new_blanks[j] = (old_blanks[j] + old_tokens[j - 1]) * silence
    for j in range(low + 1, high + 2):
        new_tokens[j] = (
            old_tokens[j] + old_blanks[j] + may_skip[j] * old_tokens[j - 1]
        ) * emitted[j]
    lost, threshold = ledger[t - 1, 0], ledger[t - 1, 2]
    while low < high and max(new_blanks[low + 1], new_tokens[low + 1]) < threshold:
        lost += new_blanks[low + 1] + new_tokens[low + 1]
        low += 1
    while low < high and max(new_blanks[high + 1], new_tokens[high + 1]) < threshold:
        lost += new_blanks[high + 1] + new_tokens[high + 1]
        high -= 1
    band[t, 0], band[t, 1] = low, high
    ledger[t, 0], ledger[t, 1], ledger[t, 2] = lost, ledger[t - 1, 1], threshold


@compiled
def _rescale(blanks: np.ndarray, tokens: np.ndarray, entry: np.ndarray) -> float:
    """Multiply so that the sum is 1, before things underflow; the sum's logarithm."""
    total = 0.0
    for i in range(len(blanks)):
        total += blanks[i] + tokens[i]
    if 0.0 < total < _UNDERFLOW:
        for i in range(len(blanks)):
            blanks[i] /= total
            tokens[i] /= total
        entry[0] /= total
        entry[1] += np.log(total)
        entry[2] /= total
        return entry[1]
    return np.log(total) + entry[1]


@compiled
def _forward(
    probs: np.ndarray,
    labels: np.ndarray,
    may_skip: np.ndarray,
    limit: float,
    start: int,
    blanks: np.ndarray,
    tokens: np.ndarray,
    band: np.ndarray,
    ledger: np.ndarray,
    emitted: np.ndarray,
) -> tuple[float, float, int]:
    """CTC forward recursion of one sequence from frame ``start`` on.

    Position i is the blank before token i, and token i itself; in the arrays over
    positions it is at i + 1, so that every position has one before it.

    Args:
        probs: ``(T, U + 1)`` float64, rows that sum to at most 1; column 0 is the
            blank, the last one is 0.
        labels: ``(L + 1,)`` columns of the tokens, none of them 0; then U.
        may_skip: ``(at least L + 2,)`` 0 where a token needs a blank before it.
        limit: Logarithm below which a result is of no interest.
        start: Frames before it are there already.
        blanks: ``(T, at least L + 2)`` forward variables, work space.
        tokens: The same of the tokens.
        band: ``(T, 3)`` first and last position that is alive in each frame, and the
            last one that was looked at.
        ledger: ``(T, 3)`` dropped so far, logarithm of what all these values are
            multiplied by, and the least value that is kept at the edges.
        emitted: ``(at least L + 2,)`` work space.

    Returns:
        Natural logarithm of the sum over all alignments (``-inf``: there is none, or
        it is below ``limit``), an upper bound of the dropped probability divided by
        the sum, and the number of frames that the work space now holds.
    """
    frames, length = len(probs), len(labels) - 1
    if start == 0:
        blanks[0, 1], tokens[0, 1] = probs[0, 0], probs[0, labels[0]]
        band[0] = 0
        start = 1
    for t in range(start, frames):
        _advance(probs, labels, may_skip, t, blanks, tokens, band, ledger, emitted)
        if t % _CHECK_EVERY == 0:
            alive = slice(band[t, 0] + 1, band[t, 1] + 2)
            # a prefix is never less probable than its continuations
            if _rescale(blanks[t, alive], tokens[t, alive], ledger[t]) < limit:
                return -np.inf, 0.0, t
    low, high, _ = band[frames - 1]
    lost, log_scale, _ = ledger[frames - 1]
    total = blanks[frames - 1, length + 1] if high == length else 0.0
    if low < length <= high + 1:
        total += tokens[frames - 1, length]
    if total == 0.0:
        return -np.inf, np.inf if lost > 0.0 else 0.0, frames
    return np.log(total) + log_scale, lost / total, frames


@compiled
def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common start of two sequences."""
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count


@compiled
def forward_all(
    probs: np.ndarray,
    labels: np.ndarray,
    offsets: np.ndarray,
    chosen: np.ndarray,
    limits: np.ndarray,
    tolerance: float,
    blanks: np.ndarray,
    tokens: np.ndarray,
) -> np.ndarray:
    """Scores of several sequences.

    Args:
        probs: See :func:`_forward`.
        labels: The sequences one after another, each with U behind it.
        offsets: ``(N + 1,)`` where each begins.
        chosen: ``(M,)`` which of them, similar ones next to each other.
        limits: ``(M,)`` logarithms below which a result is of no interest.
        tolerance: Share of a probability that may be lost.
        blanks: Work space, see :func:`_forward`.
        tokens: Work space.

    Returns:
        ``(M,)`` natural logarithms.
    """
    frames, size = len(probs), blanks.shape[1]
    band, ledger = np.zeros((frames, 3), np.int64), np.zeros((frames, 3))
    may_skip, emitted = np.zeros(size), np.zeros(size)
    results = np.full(len(chosen), -np.inf)
    if len(results) == 0:
        return results
    before = labels[:0]
    # each of T frames drops at most 2 states at each of L + 1 positions
    share = tolerance / (2 * frames * size)
    threshold = _FIRST_THRESHOLD
    if limits.min() > -np.inf:  # low enough for all that are of interest
        threshold = share * np.exp(limits.min())
    valid = 0
    for n in range(len(results)):
        own, limit = labels[offsets[chosen[n]] : offsets[chosen[n] + 1]], limits[n]
        for i in range(1, len(own)):
            may_skip[i + 1] = 1.0 if own[i] != own[i - 1] else 0.0
        # frames in which only positions of the common part were looked at
        common, start = _common(own, before), 0
        while start < valid and band[start, 2] < common:
            start += 1
        if start == 0:
            ledger[0, 2] = threshold
        result, bound, valid = _forward(
            probs, own, may_skip, limit, start, blanks, tokens, band, ledger, emitted
        )
        if bound > tolerance:
            # the margin spares the next ones, which start from this one's variables
            threshold = share * np.exp(max(result, limit)) * _MARGIN
            ledger[0, 2] = threshold
            result, _, valid = _forward(
                probs, own, may_skip, limit, 0, blanks, tokens, band, ledger, emitted
            )
        results[n] = result
        before = own
    return results


class SequenceScorer:
    """Scores any of several sequences of one utterance.

    Args:
        log_probs: ``(T, V)`` natural logarithms, T >= 1; blank is column 0.
        encoded: The N sequences; similar ones next to each other are faster.
        extra: ``(T,)`` natural logarithms of token V.

    Attributes:
        norm: No sequence has a higher log-probability.
    """

    def __init__(
        self,
        log_probs: np.ndarray,
        encoded: Encoded,
        extra: np.ndarray | None = None,
    ) -> None:
        frames, vocab = log_probs.shape
        is_used = np.zeros(vocab + 2, np.bool_)
        is_used[encoded.flat] = True
        is_used[BLANK_ID] = True
        used = np.flatnonzero(is_used[:vocab])
        column = np.empty(vocab + 2, np.int64)
        column[used] = np.arange(len(used))
        column[vocab:] = len(used), len(used) + 1
        self.probs = np.zeros((frames, len(used) + 2))
        columns = log_probs.take(used, axis=1).astype(np.float64)
        self.probs[:, : len(used)] = np.exp(columns, out=columns)
        if extra is not None:
            self.probs[:, len(used)] = np.exp(extra)
        sums = self.probs.sum(axis=1)
        self.possible = bool(sums.all())  # else nothing is in some frame
        self.norm = 0.0
        if self.possible:
            self.probs /= sums[:, None]
            self.norm = float(np.log(sums).sum())
        self.labels = column[encoded.flat]
        self.offsets = np.zeros(len(encoded.lengths) + 1, np.int64)
        np.cumsum(encoded.lengths + 1, out=self.offsets[1:])
        size = int(encoded.lengths.max(initial=0)) + 2
        self._work = np.empty((frames, size)), np.empty((frames, size))

    def scores(
        self, chosen: np.ndarray | None = None, limits: np.ndarray | None = None
    ) -> np.ndarray:
        """Log-probabilities, each summed over all alignments.

        Args:
            chosen: ``(M,)`` indices of sequences; None: all.
            limits: ``(M,)`` results below these are of no interest and may be
                ``-inf``.

        Returns:
            ``(M,)`` float64; ``-inf`` where the frames do not suffice.
        """
        if chosen is None:
            chosen = np.arange(len(self.offsets) - 1)
        if not self.possible:
            return np.full(len(chosen), -np.inf)
        if limits is None:
            limits = np.full(len(chosen), -np.inf)
        scores = forward_all(
            self.probs,
            self.labels,
            self.offsets,
            chosen,
            limits - self.norm,
            _TOLERANCE,
            *self._work,
        )
        return np.asarray(scores + self.norm)


def ctc_log_probabilities(
    log_probs: np.ndarray, sequences: Sequence[Sequence[int]]
) -> np.ndarray:
    """Log-probability of each sequence, summed over all of its alignments.

    ``alignment.ctc_log_probs`` gives the same through torch; this is for hundreds of
    sequences per utterance.

    Args:
        log_probs: ``(T, V)`` natural logarithms, T >= 1; blank is column 0.
        sequences: Token ids without blanks; empty ones are allowed. Similar ones next
            to each other are faster.

    Returns:
        ``(N,)`` float64; ``-inf`` where the frames do not suffice.
    """
    lengths = np.fromiter((len(ids) for ids in sequences), np.int64, len(sequences))
    flat = np.fromiter(chain.from_iterable(sequences), np.int64, lengths.sum())
    behind = np.insert(flat, np.cumsum(lengths), log_probs.shape[1] + 1)
    return SequenceScorer(log_probs, Encoded(behind, lengths)).scores()
