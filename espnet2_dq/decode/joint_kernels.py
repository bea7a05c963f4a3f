"""The compiled loops of the joint scorer; see ``joint_lattice``.

Forward variables fall far below what a float64 can hold (1e-308) and logarithms would
cost most of the time. So each is kept as a mantissa and an exponent,
``mantissa * 2 ** (512 * exponent)``; both variables of a frame share the exponent and
their sum is kept in [2 ** -256, 2 ** 256). Where two numbers differ by two exponents or
more, the smaller one is below the last digit of the larger and is dropped.
"""

import numpy as np

from espnet2_dq.decode.compiled import compiled

#: Forward variables, each ``(T + 1,)`` or ``(N, T + 1)``, index t: *before* frame t.
#: Mantissas of paths that end in the prefix's last token, mantissas of those that end
#: in a blank, and the exponents of both (int64).
Ends = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Smaller posteriors count as 0: one product must not leave the float64 range.
LEAST_LOG_PROB = -480.0
_BIG = 2.0**512
_SMALL = 2.0**-512
_LOW = 2.0**-256
_LOG_BIG = 512 * np.log(2.0)
# What a levelled sum dropped is at most T * 2 ** -768: no digit of this.
_SURE = 2.0**-600


@compiled
def _lowered(value: float, steps: int) -> float:
    """``value`` for an exponent that is ``steps`` higher."""
    if steps == 0:
        return value
    return value * _SMALL if steps == 1 else 0.0


@compiled
def _logarithm(mantissa: float, exponent: int) -> float:
    return np.log(mantissa) + exponent * _LOG_BIG if mantissa > 0.0 else -np.inf


@compiled
def _add(
    total: float, total_exponent: int, value: float, exponent: int
) -> tuple[float, int]:
    """Sum of two numbers, the first of which may be 0; mantissa and exponent."""
    if value > 0.0:
        if total == 0.0:
            total, total_exponent = value, exponent
        elif exponent > total_exponent:
            total = _lowered(total, exponent - total_exponent) + value
            total_exponent = exponent
        else:
            total += _lowered(value, total_exponent - exponent)
        while total < _LOW:
            total *= _BIG
            total_exponent -= 1
    return total, total_exponent


@compiled
def _reach(ends: Ends, repeated: bool, probs: np.ndarray) -> float:
    """Log-probability that a prefix is followed, in any frame, by an event.

    Args:
        ends: ``(T + 1,)`` forward variables of the prefix.
        repeated: The event is the prefix's last token: a blank must come between.
        probs: ``(T,)`` probability of the event, or ``(T + 1,)`` with that of the
            prefix being all.
    """
    token_end, blank_end, exponent = ends
    total, total_exponent = 0.0, 0
    for t in range(len(probs)):
        before = blank_end[t] if repeated else blank_end[t] + token_end[t]
        value = before * probs[t]
        if total >= _LOW and exponent[t] == total_exponent:  # the usual case
            total += value
        else:
            total, total_exponent = _add(total, total_exponent, value, exponent[t])
    return _logarithm(total, total_exponent)


@compiled
def _copy(ends: Ends, copies: Ends) -> None:
    """Copy ``(T + 1,)`` variables; plain assignment takes 9 s longer to compile."""
    for t in range(len(ends[0])):
        copies[0][t] = ends[0][t]
        copies[1][t] = ends[1][t]
        copies[2][t] = ends[2][t]


@compiled
def _level(ends: Ends, levelled: np.ndarray) -> int:
    """Write the sum of both variables under one exponent, which is returned."""
    token_end, blank_end, exponent = ends
    top = exponent[0]
    found = False
    for t in range(len(levelled)):
        if blank_end[t] + token_end[t] > 0.0 and (not found or exponent[t] > top):
            top = exponent[t]
            found = True
    for t in range(len(levelled)):
        value = blank_end[t] + token_end[t]
        levelled[t] = _lowered(value, top - exponent[t]) if value > 0.0 else 0.0
    return int(top)


@compiled
def _emit(
    ends: Ends, repeated: bool, probs: np.ndarray, blank: np.ndarray, new_ends: Ends
) -> float:
    """Forward variables of prefix + token, written to ``new_ends``.

    Args:
        ends: ``(T + 1,)`` forward variables of the prefix.
        repeated: The token is the prefix's last one.
        probs: ``(T,)`` probability of the token.
        blank: ``(T,)`` probability of the blank.
        new_ends: ``(T + 1,)`` arrays to fill.

    Returns:
        log P(prefix + token...), the probability of all its continuations.
    """
    token_end, blank_end, exponent = ends
    total, total_exponent = 0.0, 0
    token, empty, level = 0.0, 0.0, 0
    for t in range(len(probs)):
        new_ends[0][t], new_ends[1][t], new_ends[2][t] = token, empty, level
        before = blank_end[t] if repeated else blank_end[t] + token_end[t]
        if before > 0.0 and exponent[t] != level:
            if token + empty == 0.0:
                level = exponent[t]
            elif exponent[t] > level:
                token = _lowered(token, exponent[t] - level)
                empty = _lowered(empty, exponent[t] - level)
                level = exponent[t]
            else:
                before = _lowered(before, level - exponent[t])
        emitted = before * probs[t]
        empty = (token + empty) * blank[t]
        token = token * probs[t] + emitted
        if total >= _LOW and level == total_exponent:
            total += emitted
        else:
            total, total_exponent = _add(total, total_exponent, emitted, level)
        while 0.0 < token + empty < _LOW:
            token *= _BIG
            empty *= _BIG
            level -= 1
    last = len(probs)
    new_ends[0][last], new_ends[1][last], new_ends[2][last] = token, empty, level
    return _logarithm(total, total_exponent)


@compiled
def score_trie(
    ends: Ends,
    last: np.ndarray,
    posteriors: tuple[np.ndarray, np.ndarray, np.ndarray],
    trie: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    slots: int,
) -> np.ndarray:
    """Score every node of a trie of spellings after each of N prefixes.

    Args:
        ends: ``(N, T + 1)`` forward variables.
        last: ``(N,)`` last token; -1 for none.
        posteriors: Of tokens ``(S, T)``; of the blank ``(T,)``; and ``(T + 1,)`` of
            what may follow a bounded node, 1 at the end.
        trie: Of each of K nodes: its parent, before it in order, -1 for the prefix;
            its token; its workspace, -1 where nothing needs its variables; and
            whether it is bounded: only what may follow counts. A bounded node has a
            workspace.
        slots: Number of workspaces.

    Returns:
        ``(N, K)`` log-probabilities.
    """
    probs, blank, leave = posteriors
    parent, token, slot, bounded = trie
    rows, frames = ends[0].shape
    nodes = (
        np.empty((slots + 1, frames)),  # the last one is the prefix itself
        np.empty((slots + 1, frames)),
        np.empty((slots + 1, frames), ends[2].dtype),
    )
    levelled = np.empty((slots + 1, frames))
    top = np.empty(slots + 1, np.int64)
    scores = np.empty((rows, len(parent)))
    for i in range(rows):
        prefix = (nodes[0][slots], nodes[1][slots], nodes[2][slots])
        _copy((ends[0][i], ends[1][i], ends[2][i]), prefix)
        top[slots] = _level(prefix, levelled[slots])
        for k in range(len(parent)):
            at = slots if parent[k] < 0 else slot[parent[k]]
            before = (nodes[0][at], nodes[1][at], nodes[2][at])
            repeated = token[k] == (last[i] if parent[k] < 0 else token[parent[k]])
            row = probs[token[k]]
            new = slot[k]
            if new < 0:
                total = 0.0 if repeated else np.dot(levelled[at, :-1], row)
                if total >= _SURE:
                    scores[i, k] = _logarithm(total, top[at])
                else:
                    scores[i, k] = _reach(before, repeated, row)
                continue
            node = (nodes[0][new], nodes[1][new], nodes[2][new])
            scores[i, k] = _emit(before, repeated, row, blank, node)
            top[new] = _level(node, levelled[new])
            if bounded[k]:
                scores[i, k] = _reach(node, False, leave)
    return scores


@compiled
def spell_rows(
    ends: Ends,
    last: np.ndarray,
    rows: np.ndarray,
    spelled: np.ndarray,
    lengths: np.ndarray,
    posteriors: tuple[np.ndarray, np.ndarray],
) -> tuple[Ends, np.ndarray]:
    """Forward variables of prefixes followed by several tokens.

    Args:
        ends: ``(N, T + 1)`` forward variables.
        last: ``(N,)`` last token; -1 for none.
        rows: ``(M,)`` prefix of each.
        spelled: ``(M, L)`` tokens to append.
        lengths: ``(M,)`` how many of them.
        posteriors: Of tokens ``(S, T)``; of the blank ``(T,)``.

    Returns:
        Forward variables and last tokens of the M longer prefixes.
    """
    probs, blank = posteriors
    count, frames = len(rows), ends[0].shape[1]
    longer = (
        np.empty((count, frames)),
        np.empty((count, frames)),
        np.empty((count, frames), ends[2].dtype),
    )
    other = (np.empty(frames), np.empty(frames), np.empty(frames, ends[2].dtype))
    new_last = np.empty(count, last.dtype)
    for m in range(count):
        now = (longer[0][m], longer[1][m], longer[2][m])
        row = rows[m]
        _copy((ends[0][row], ends[1][row], ends[2][row]), now)
        previous = last[row]
        for j in range(lengths[m]):
            token = spelled[m, j]
            _emit(now, token == previous, probs[token], blank, other)
            _copy(other, now)
            previous = token
        new_last[m] = previous
    return longer, new_last


@compiled
def log_sums(ends: Ends) -> np.ndarray:
    """Log-probability that all frames emit each of N prefixes, ``(N,)``."""
    token_end, blank_end, exponent = ends
    logs = np.empty(len(token_end))
    for i in range(len(token_end)):
        logs[i] = _logarithm(token_end[i, -1] + blank_end[i, -1], exponent[i, -1])
    return logs


@compiled
def empty_prefix(blank: np.ndarray) -> Ends:
    """Forward variables ``(1, T + 1)`` of nothing but blanks ``(T,)``."""
    frames = len(blank) + 1
    run = np.empty((1, frames))
    exponent = np.zeros((1, frames), np.int64)
    value, level = 1.0, 0
    for t in range(frames):
        run[0, t] = value
        exponent[0, t] = level
        if t < frames - 1:
            value *= blank[t]
            while 0.0 < value < _LOW:
                value *= _BIG
                level -= 1
    return np.zeros((1, frames)), run, exponent
