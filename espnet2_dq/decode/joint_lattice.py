"""Exact prefix probabilities under two CTC heads that spell the same text differently.

A hypothesis is a sequence of *candidates* (syllables). A head spells each candidate as
one or more of its own tokens: the syllable head as one, the grapheme head as two or
three jamo. The probability that a head gives to a prefix of candidates follows from
the CTC prefix recursion (``prefix_lattice``; Watanabe et al. 2017, algorithm 2) over
the spelled tokens; candidates that begin alike share its steps in a trie.

One thing is tighter than the plain prefix probability. Jamo that follow "가" may still
turn it into "각", so that P(ㄱ ㅏ...) belongs to both. A candidate that could take a
final consonant counts only what goes on with another unit, or ends: the sum of the
tokens that may start a candidate, and of the end. The probabilities of different
prefixes of the same length are then those of disjoint sets of texts; they still never
rise as the prefix grows, and at the end nothing is approximate.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode import joint_kernels as kernels
from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.errors import DataError

_NONE = -1
LOG_LINEAR, MIXTURE = "log_linear", "mixture"


@dataclass(frozen=True)
class Spellings:
    """How one head writes C candidates.

    Attributes:
        tokens: Token ids of each candidate, at least one, blanks excluded.
        open: ``(C,)`` bool: a further token could turn this candidate into another.
        starters: Ids of all tokens that may start a candidate, whether or not one of
            the C does; the last token of an open candidate is never among them.
    """

    tokens: Sequence[tuple[int, ...]]
    open: np.ndarray
    starters: Sequence[int] = ()


@dataclass(frozen=True)
class Forward:
    """N prefixes under one head.

    Attributes:
        ends: Forward variables, ``(N, T + 1)`` each, see ``joint_kernels.Ends``.
        last: ``(N,)`` last token, -1 for none.
        score: ``(N,)`` log-probability of the prefix.
    """

    ends: kernels.Ends
    last: np.ndarray
    score: np.ndarray


class HeadLattice:
    """Posteriors of one head and utterance, for prefixes of candidates.

    Args:
        log_probs: ``(T, V)`` natural logarithms, T >= 1; below -480 counts as 0.
        spellings: How the head writes the candidates.

    Raises:
        DataError: No frames, NaN or infinity among the posteriors.
    """

    def __init__(self, log_probs: np.ndarray, spellings: Spellings) -> None:
        if len(log_probs) == 0:
            raise DataError("no frames: an utterance needs at least one")
        used = sorted({token for tokens in spellings.tokens for token in tokens})
        columns = [BLANK_ID, *used]
        likely = log_probs[:, columns].T.astype(np.float64)
        if not (likely < np.inf).all():  # NaN fails as well
            raise DataError("posteriors hold NaN or infinity; check sound and model")
        probs = np.where(likely < kernels.LEAST_LOG_PROB, 0.0, np.exp(likely))
        self._blank = probs[0]  # (T,)
        self._probs = np.ascontiguousarray(probs[1:])  # (S, T)
        starters = np.exp(log_probs[:, list(spellings.starters)].astype(np.float64))
        self._leave = np.append(starters.sum(1), 1.0)  # (T + 1,)
        row = {token: i for i, token in enumerate(used)}
        self._spelled = [[row[t] for t in tokens] for tokens in spellings.tokens]
        self._build_trie(spellings.open)

    def _build_trie(self, is_open: np.ndarray) -> None:
        nodes: dict[tuple[int, ...], int] = {(): _NONE}
        parents, tokens = [], []
        for spelled in self._spelled:
            for end in range(1, len(spelled) + 1):
                if tuple(spelled[:end]) not in nodes:
                    parents.append(nodes[tuple(spelled[: end - 1])])
                    tokens.append(spelled[end - 1])
                    nodes[tuple(spelled[:end])] = len(nodes) - 1
        self._node = np.array([nodes[tuple(s)] for s in self._spelled], np.int64)
        parent = np.array(parents, np.int64)
        bounded = np.zeros(len(parents), np.bool_)
        bounded[self._node[is_open]] = True
        inner = bounded.copy()
        inner[parent[parent >= 0]] = True
        slot = np.where(inner, np.cumsum(inner) - 1, _NONE)
        self._trie = (parent, np.array(tokens, np.int64), slot, bounded)
        self._slots = int(inner.sum())

    def start(self) -> Forward:
        """The empty prefix: nothing but blanks so far, score 0."""
        ends = kernels.empty_prefix(self._blank)
        return Forward(ends, np.array([_NONE]), np.zeros(1))

    def continued(self, forward: Forward) -> np.ndarray:
        """Log-probability of each prefix + candidate, ``(N, C)``."""
        posteriors = (self._probs, self._blank, self._leave)
        scores = kernels.score_trie(
            forward.ends, forward.last, posteriors, self._trie, self._slots
        )
        return scores[:, self._node]

    def ended(self, forward: Forward) -> np.ndarray:
        """Log-probability of each prefix and nothing more, ``(N,)``."""
        return kernels.log_sums(forward.ends)

    def extend(
        self,
        forward: Forward,
        rows: np.ndarray,
        appended: Sequence[Sequence[int]],
        scores: np.ndarray,
    ) -> Forward:
        """Append candidates to prefixes.

        Args:
            forward: N prefixes.
            rows: ``(M,)`` which of them.
            appended: M sequences of candidates.
            scores: ``(M,)`` log-probabilities of the results, as ``continued`` has it.
        """
        spelled = [[t for c in cs for t in self._spelled[c]] for cs in appended]
        lengths = np.array([len(tokens) for tokens in spelled], np.int64)
        table = np.zeros((len(spelled), max(1, int(np.max(lengths)))), np.int64)
        for line, tokens in zip(table, spelled, strict=True):
            line[: len(tokens)] = tokens
        posteriors = (self._probs, self._blank)
        ends, last = kernels.spell_rows(
            forward.ends, forward.last, rows, table, lengths, posteriors
        )
        return Forward(ends, last, scores)

    def log_probs(self, sequences: Sequence[Sequence[int]]) -> np.ndarray:
        """Log-probability of whole sequences of candidates, ``(M,)``; see ctc_loss."""
        rows = np.zeros(len(sequences), np.int64)
        unused = np.zeros(len(sequences))
        return self.ended(self.extend(self.start(), rows, sequences, unused))


@dataclass(frozen=True)
class Prefixes:
    """N prefixes under all heads that count.

    Attributes:
        forward: Head -> forward variables.
        score: ``(N,)`` score of the combination.
    """

    forward: Mapping[str, Forward]
    score: np.ndarray


@dataclass(frozen=True)
class Extensions:
    """Scores of all that may follow N prefixes.

    Attributes:
        prefixes: What is extended.
        heads: Head -> ``(N, C)`` log-probabilities of prefix + candidate.
        continued: ``(N, C)`` score of the combination.
        ended: ``(N,)`` score of the combination, for the prefix and nothing more.
    """

    prefixes: Prefixes
    heads: Mapping[str, np.ndarray]
    continued: np.ndarray
    ended: np.ndarray


def combine(
    values: Mapping[str, np.ndarray], weights: Mapping[str, float], combination: str
) -> np.ndarray:
    """Combined score of log-probabilities, of any shape.

    Args:
        values: Head -> log-probabilities; not needed where the weight is 0.
        weights: Head -> weight.
        combination: ``log_linear``: the weighted sum; ``mixture``: the logarithm of
            the weighted sum of the probabilities.
    """
    parts = [(w, values[head]) for head, w in weights.items() if w > 0]
    if combination == MIXTURE:
        mixed: np.ndarray = functools.reduce(
            np.logaddexp, [np.log(w) + value for w, value in parts]
        )
        return mixed
    return np.asarray(sum(w * value for w, value in parts))


class JointLattice:
    """Both heads of one utterance.

    The score of a prefix or sentence Y combines the heads' log P(Y), see ``combine``;
    it does not rise as Y grows.

    Args:
        heads: Head -> lattice over the same candidates.
        weights: Head -> weight; a head of weight 0 costs nothing.
        combination: ``log_linear`` or ``mixture``.
    """

    def __init__(
        self,
        heads: Mapping[str, HeadLattice],
        weights: Mapping[str, float],
        combination: str = LOG_LINEAR,
    ) -> None:
        self.heads = heads
        self.weights = {head: weights[head] for head in heads if weights[head] > 0}
        self.combination = combination

    def combine(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Score from each head's log-probability, of any shape."""
        return combine(values, self.weights, self.combination)

    def start(self) -> Prefixes:
        """The empty prefix."""
        forward = {head: self.heads[head].start() for head in self.weights}
        return Prefixes(forward, np.zeros(1))

    def score(self, prefixes: Prefixes) -> Extensions:
        """Score every candidate and the end after every prefix."""
        heads = {h: self.heads[h].continued(f) for h, f in prefixes.forward.items()}
        ended = {h: self.heads[h].ended(f) for h, f in prefixes.forward.items()}
        return Extensions(prefixes, heads, self.combine(heads), self.combine(ended))

    def extend(
        self, extensions: Extensions, rows: np.ndarray, candidates: np.ndarray
    ) -> Prefixes:
        """Append candidates to prefixes.

        Args:
            extensions: What was scored.
            rows: ``(M,)`` which prefixes.
            candidates: ``(M,)`` what is appended; -1: what is no candidate, which
                gives a prefix of score ``-inf``.
        """
        dead, candidates = candidates < 0, candidates.clip(min=0)
        appended = candidates[:, None].tolist()
        forward = {
            head: self.heads[head].extend(
                old, rows, appended, extensions.heads[head][rows, candidates]
            )
            for head, old in extensions.prefixes.forward.items()
        }
        score = np.where(dead, -np.inf, extensions.continued[rows, candidates])
        return Prefixes(forward, score)
