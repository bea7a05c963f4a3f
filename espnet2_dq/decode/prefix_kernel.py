"""The compiled loops of the CTC prefix beam search; see ``prefix_search``.

Probabilities are kept as such, divided by the best of each frame: hypotheses stay
within ``exp(beam_logp)`` of it, so nothing underflows, and no logarithm is taken in
the inner loop. Prefixes are nodes of a trie of token ids. A prefix has two states, as
its last frame was a blank or its last token; both count as hypotheses of the beam, as
in pyctcdecode.
"""

import numpy as np

from espnet2_dq.decode.compiled import compiled

_BLOCK = 64  # columns looked at together
_ROOT = 0
_PARENT, _TOKEN, _CHILD, _SIBLING, _SLOT = range(5)


@compiled
def likely_tokens(
    log_probs: np.ndarray, allowed: np.ndarray, token_logp: float, clip_logp: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens worth a try in each frame: above ``token_logp``, else the best one.

    Args:
        log_probs: ``(T, V)`` float32 or float64.
        allowed: ``(V,)`` bool; other tokens are left out.
        token_logp: Least log-probability.
        clip_logp: Smaller values are raised to this.

    Returns:
        ``offsets`` ``(T + 1,)``, and, for frame t at ``offsets[t]:offsets[t + 1]``,
        token ids and probabilities.
    """
    frames, vocab = log_probs.shape
    offsets = np.zeros(frames + 1, np.int64)
    tokens = np.empty(8 * frames + vocab, np.int32)
    probs = np.empty(8 * frames + vocab, np.float64)
    used = 0
    for t in range(frames):
        row = log_probs[t]
        if used + vocab > len(tokens):
            tokens = np.concatenate((tokens, np.empty_like(tokens)))
            probs = np.concatenate((probs, np.empty_like(probs)))
        first = used
        for start in range(0, vocab, _BLOCK):
            end = min(start + _BLOCK, vocab)
            hits = 0
            for v in range(start, end):  # a plain sum: the compiler vectorises it
                hits += row[v] >= token_logp
            if hits > 0:
                for v in range(start, end):
                    if row[v] >= token_logp and allowed[v]:
                        tokens[used] = v
                        probs[used] = np.exp(min(max(row[v], clip_logp), 0.0))
                        used += 1
        if used == first:
            best = -1
            for v in range(vocab):
                if allowed[v] and (best < 0 or row[v] > row[best]):
                    best = v
            tokens[used] = best
            probs[used] = np.exp(min(max(row[best], clip_logp), 0.0))
            used += 1
        offsets[t + 1] = used
    return offsets, tokens[:used], probs[:used]


@compiled
def kth_largest(values: np.ndarray, count: int, k: int) -> float:
    """The k-th largest (1 = largest) of ``values[:count]``, which gets reordered."""
    low, high, target = 0, count - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]


@compiled
def _extend(
    tokens: np.ndarray,
    probs: np.ndarray,
    blank: int,
    space: int,
    trie: np.ndarray,
    beam: tuple[np.ndarray, np.ndarray, np.ndarray],
    following: tuple[np.ndarray, np.ndarray],
    fresh: tuple[np.ndarray, np.ndarray],
) -> int:
    """One frame: probabilities of the beam's prefixes, and of new ones.

    Args:
        tokens: ``(K,)`` likely tokens of the frame.
        probs: ``(K,)`` their probabilities.
        blank: Id of the blank.
        space: Id of the space or -1.
        trie: ``(nodes, 5)``, see :func:`search`.
        beam: Nodes of the beam, and the probabilities of both of their states.
        following: Gets the probabilities of the same prefixes after this frame.
        fresh: Gets parent, token and node (-1: none yet) of each new prefix, and its
            probability.

    Returns:
        Number of new prefixes.
    """
    node, p_blank, p_token = beam
    next_blank, next_token = following
    new, new_p = fresh
    added = 0
    next_blank[:] = 0.0
    next_token[:] = 0.0
    for k in range(len(tokens)):
        c, p = tokens[k], probs[k]
        if c == blank:
            for i in range(len(node)):
                next_blank[i] += (p_blank[i] + p_token[i]) * p
            continue
        for i in range(len(node)):
            n = node[i]
            mass = (p_blank[i] + p_token[i]) * p
            if trie[n, _TOKEN] == c:
                if c == space:  # a space after a space, or at the start
                    next_token[i] += mass
                    continue
                next_token[i] += p_token[i] * p
                mass = p_blank[i] * p
            if mass == 0.0:
                continue
            found = trie[n, _CHILD]
            while found >= 0 and trie[found, _TOKEN] != c:
                found = trie[found, _SIBLING]
            if found >= 0 and trie[found, _SLOT] >= 0:
                next_token[trie[found, _SLOT]] += mass
            else:
                new[added, 0], new[added, 1], new[added, 2] = n, c, found
                new_p[added] = mass
                added += 1
    return added


@compiled
def _threshold(
    next_blank: np.ndarray,
    next_token: np.ndarray,
    new_p: np.ndarray,
    beam_size: int,
    keep_ratio: float,
    scratch: np.ndarray,
) -> tuple[float, float, int]:
    """The best probability, the least that is kept, and how many equal the least.

    Of hypotheses with exactly the least probability only so many fit into the beam.
    """
    best = 0.0
    for i in range(len(next_blank)):
        best = max(best, next_blank[i], next_token[i])
    for i in range(len(new_p)):
        best = max(best, new_p[i])
    least = best * keep_ratio
    count = 0
    for values in (next_blank, next_token, new_p):
        for i in range(len(values)):
            if values[i] >= least and values[i] > 0.0:
                scratch[count] = values[i]
                count += 1
    if count <= beam_size:
        return best, least, count
    least = kth_largest(scratch, count, beam_size)
    ties = beam_size
    for i in range(count):
        if scratch[i] > least:
            ties -= 1
    return best, least, ties


@compiled
def _survives(p: float, least: float, ties: int) -> tuple[bool, int]:
    """Whether a hypothesis is kept, and how many of the least may still be."""
    if p > least:
        return True, ties
    if p == least and p > 0.0 and ties > 0:
        return True, ties - 1
    return False, ties


@compiled
def _add_node(trie: np.ndarray, n: int, above: int, token: int) -> None:
    """Make node n a child of ``above``."""
    trie[n, _PARENT], trie[n, _TOKEN], trie[n, _CHILD] = above, token, -1
    trie[n, _SIBLING] = trie[above, _CHILD]
    trie[above, _CHILD] = n


@compiled
def search(
    offsets: np.ndarray,
    tokens: np.ndarray,
    probs: np.ndarray,
    blank: int,
    space: int,
    beam_size: int,
    keep_ratio: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Prefix beam search over the likely tokens of each frame.

    A trie has rows of: parent, token, first child, next child of the same parent,
    place in the beam or -1.

    Args:
        offsets: ``(T + 1,)``, see :func:`likely_tokens`.
        tokens: Token ids.
        probs: Their probabilities.
        blank: Id of the blank.
        space: Id of the token of which several in a row, or at the start, count as
            one or none; -1: there is no such token.
        beam_size: Hypotheses kept after each frame.
        keep_ratio: Hypotheses less probable than this share of the best are dropped.

    Returns:
        The trie; nodes of the last frame; the probability of each over both of its
        states, divided by ``exp`` of the last value returned.
    """
    frames = len(offsets) - 1
    most = 0  # tokens in a frame
    for t in range(frames):
        most = max(most, offsets[t + 1] - offsets[t])
    # each frame adds at most a node per hypothesis
    trie = np.empty((frames * beam_size + 1, 5), np.int32)
    trie[_ROOT, _TOKEN], trie[_ROOT, _CHILD], trie[_ROOT, _SLOT] = space, -1, 0
    nodes, active = 1, 1
    node = np.zeros(beam_size, np.int32)
    p_blank, p_token = np.zeros(beam_size), np.zeros(beam_size)
    p_blank[0] = 1.0
    next_blank, next_token = np.empty(beam_size), np.empty(beam_size)
    # prefixes that are new to the beam, made into nodes only if they survive
    new = np.empty((beam_size * most, 3), np.int32)
    new_p = np.empty(beam_size * most)
    scratch = np.empty(beam_size * (most + 2))
    log_scale = 0.0
    for t in range(frames):
        now = slice(offsets[t], offsets[t + 1])
        beam = node[:active], p_blank[:active], p_token[:active]
        following = next_blank[:active], next_token[:active]
        added = _extend(
            tokens[now], probs[now], blank, space, trie, beam, following, (new, new_p)
        )
        best, least, ties = _threshold(
            *following, new_p[:added], beam_size, keep_ratio, scratch
        )
        log_scale += np.log(best)
        before, active = active, 0
        for i in range(before):
            n = node[i]
            keep_blank, ties = _survives(next_blank[i], least, ties)
            keep_token, ties = _survives(next_token[i], least, ties)
            trie[n, _SLOT] = -1
            if keep_blank or keep_token:
                trie[n, _SLOT], node[active] = active, n
                p_blank[active] = next_blank[i] / best if keep_blank else 0.0
                p_token[active] = next_token[i] / best if keep_token else 0.0
                active += 1
        for i in range(added):
            keep, ties = _survives(new_p[i], least, ties)
            if not keep:
                continue
            above, c, n = new[i, 0], new[i, 1], new[i, 2]
            if n < 0:
                n = nodes
                nodes += 1
                _add_node(trie, n, above, c)
            trie[n, _SLOT], node[active] = active, n
            p_blank[active], p_token[active] = 0.0, new_p[i] / best
            active += 1
    return trie[:nodes], node[:active], p_blank[:active] + p_token[:active], log_scale


@compiled
def paths(trie: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Token ids from the root to each node, one after another, and offsets."""
    offsets = np.zeros(len(nodes) + 1, np.int64)
    for i in range(len(nodes)):
        node = nodes[i]
        offsets[i + 1] = offsets[i]
        while node != _ROOT:
            offsets[i + 1] += 1
            node = trie[node, _PARENT]
    ids = np.empty(offsets[-1], np.int32)
    for i in range(len(nodes)):
        node = nodes[i]
        end = offsets[i + 1]
        while node != _ROOT:
            end -= 1
            ids[end] = trie[node, _TOKEN]
            node = trie[node, _PARENT]
    return ids, offsets
