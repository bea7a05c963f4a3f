"""Exact scores of both heads for all texts of two n-best lists.

Each text is spelled for each head and scored by the CTC forward recursion over all
alignments; the heads are then combined ``log_linear``,
``w log P_syll + (1 - w) log P_graph``, or as a ``mixture``,
``log(w P_syll + (1 - w) P_graph)``. The spelling is the canonical one with single
spaces, as in the training targets: unlike the searches' scores, no other writing of
the same text counts.

Open vocabulary: a character that the syllable head has no token for is scored there
as any token at a penalty (see ``spelling.wildcard_column``), so that a text with it can
win through the graphemes, in both combinations. A text with a character that the
grapheme head lacks is impossible there. A head of weight 0 does not count at all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.ctc_forward import SequenceScorer
from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.joint_lattice import LOG_LINEAR, MIXTURE, combine
from espnet2_dq.decode.merge import head_weights, summed_texts
from espnet2_dq.decode.spelling import (
    SYLLABLE,
    HeadSpelling,
    wildcard_column,
)
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.units import UNKNOWN

COMBINATIONS = (LOG_LINEAR, MIXTURE)


#: N-best texts of the heads, with the scores of their own searches.
TextLists = Mapping[str, Sequence[tuple[str, float]]]
_NEGLIGIBLE = -20.7  # log 1e-9: what this share of a result would add


@dataclass(frozen=True)
class RescoreOptions:
    """How texts are scored.

    Attributes:
        weight: Of the syllable head, 0 to 1; the grapheme head has the rest.
        combination: ``log_linear`` or ``mixture``.
        unk_penalty: What a character outside the syllable list costs in the syllable
            head, nats; None: it scores ``<unk>``.

    Raises:
        ConfigError: A weight outside 0 to 1, or another combination.
    """

    weight: float = 0.5
    combination: str = LOG_LINEAR
    unk_penalty: float | None = 5.0

    def __post_init__(self) -> None:
        """Check."""
        head_weights(self.weight, ())
        if self.combination not in COMBINATIONS:
            raise ConfigError(
                f"combination: {self.combination!r}; {LOG_LINEAR} or {MIXTURE} is "
                "allowed"
            )


def rescore(
    lists: TextLists,
    log_probs: Mapping[str, np.ndarray],
    spellings: Mapping[str, HeadSpelling],
    options: RescoreOptions | None = None,
    *,
    nbest: int | None = None,
) -> list[JointHypothesis]:
    """Score the texts of all lists exactly under all heads.

    Args:
        lists: Head -> normalised texts and their scores; the scores only say which
            texts to try first.
        log_probs: Head -> ``(T, V)`` natural logarithms, T >= 1.
        spellings: Head -> its spelling.
        options: How texts are scored.
        nbest: How many of the best texts are wanted; None: all. The others are left
            as soon as they cannot be among them, which takes a fraction of the time.

    Returns:
        Distinct texts, best first; the empty text leads where no other is possible.
    """
    options = options or RescoreOptions()
    texts = _most_promising(lists)
    scorer = TextScorer(texts, log_probs, spellings, options)
    for number, head in enumerate(spellings):
        listed = {text for text, _ in lists.get(head, ())}
        scorer.found_by[[text in listed for text in texts]] = number
    chosen = np.arange(len(texts))
    if nbest is not None and len(texts) > nbest:
        first = scorer.hypotheses(chosen[:nbest])
        limit = first[nbest - 1].score
        if limit > -math.inf:
            chosen = scorer.best(limit - 1e-6, nbest)
    ranked = scorer.hypotheses(chosen)
    if not ranked or ranked[0].score == -math.inf:
        empty = TextScorer([""], log_probs, spellings, options)
        others = [hypothesis for hypothesis in ranked if hypothesis.text]
        ranked = empty.hypotheses(np.arange(1)) + others
    return ranked[:nbest]


def _most_promising(lists: TextLists) -> list[str]:
    """All texts; those first that both searches liked."""
    tables = [summed_texts(texts) for texts in lists.values()]
    missing = [min(table.values(), default=0.0) - 10.0 for table in tables]
    sums = {
        text: sum(t.get(text, low) for t, low in zip(tables, missing, strict=True))
        for table in tables
        for text in table
    }
    return sorted(sums, key=lambda text: -sums[text])


class TextScorer:
    """Scores any of several texts of one utterance.

    Args:
        texts: Normalised, distinct.
        log_probs: Head -> ``(T, V)`` natural logarithms, T >= 1.
        spellings: Head -> its spelling.
        options: How texts are scored.

    Attributes:
        found_by: ``(N,)`` number of a head that found the text; speeds up ``best``.
    """

    def __init__(
        self,
        texts: Sequence[str],
        log_probs: Mapping[str, np.ndarray],
        spellings: Mapping[str, HeadSpelling],
        options: RescoreOptions,
    ) -> None:
        self.texts = texts
        self.found_by = np.zeros(len(texts), np.int64)
        self._known: dict[int, JointHypothesis] = {}
        self.combination = options.combination
        self.weights = head_weights(options.weight, list(spellings))
        # texts that begin alike next to each other, see ctc_forward
        order = sorted(range(len(texts)), key=texts.__getitem__)
        self._place = np.argsort(order)
        in_order = [texts[i] for i in order]
        self.heads = {
            head: head_scorer(in_order, log_probs[head], spelling, options.unk_penalty)
            for head, spelling in spellings.items()
        }

    def hypotheses(self, chosen: np.ndarray) -> list[JointHypothesis]:
        """Exact scores of texts, best first; equal ones in alphabetic order.

        Args:
            chosen: ``(M,)`` indices of the texts.
        """
        self._score(np.array([i for i in chosen.tolist() if i not in self._known]))
        found = [self._known[i] for i in chosen.tolist()]
        return sorted(
            found, key=lambda hypothesis: (-hypothesis.score, hypothesis.text)
        )

    def _score(self, chosen: np.ndarray) -> None:
        """Keep the exact scores of some texts."""
        if len(chosen) == 0:
            return
        chosen = self._in_order(chosen)
        columns = {head: self._head(head, chosen) for head in self.heads}
        totals = combine(columns, self.weights, self.combination).tolist()
        values = {head: column.tolist() for head, column in columns.items()}
        for row, i in enumerate(chosen.tolist()):
            scores = {head: column[row] for head, column in values.items()}
            self._known[i] = JointHypothesis(self.texts[i], totals[row], scores)

    def best(self, limit: float, nbest: int) -> np.ndarray:
        """Indices of the best texts.

        Args:
            limit: That at least ``nbest`` of them reach.
            nbest: How many are wanted.
        """
        chosen = self._in_order(np.arange(len(self.texts)))
        if self.combination == MIXTURE:
            columns = {
                head: self._head(head, chosen, limit - math.log(weight) + _NEGLIGIBLE)
                for head, weight in self.weights.items()
                if weight > 0
            }
            totals = combine(columns, self.weights, MIXTURE)
        else:
            chosen, totals = self._reach(chosen, limit)
        return chosen[np.argsort(-totals, kind="stable")[:nbest]]

    def _reach(self, chosen: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """Those of the chosen whose weighted sum reaches ``limit``, and their sums.

        First each text under the head whose search did not find it, which is where it
        is likely to fail.
        """
        used = [head for head, weight in self.weights.items() if weight > 0]
        highest = {head: self.heads[head].norm for head in used}
        found = self.found_by[chosen]
        # upper bounds, and the sums themselves after the last turn
        totals = np.full(len(chosen), sum(self.weights[h] * highest[h] for h in used))
        for turn in range(len(used)):
            for number, head in enumerate(used):
                now = np.flatnonzero((found + turn + 1) % len(used) == number)
                weight = self.weights[head]
                limits = highest[head] + (limit - totals[now]) / weight
                scores = self._head(head, chosen[now], limits)
                totals[now] += weight * (scores - highest[head])
            alive = totals >= limit
            chosen, totals, found = chosen[alive], totals[alive], found[alive]
        order = np.argsort(self._place[chosen])
        return chosen[order], totals[order]

    def _in_order(self, chosen: np.ndarray) -> np.ndarray:
        """The same indices, in alphabetic order of the texts."""
        return np.asarray(chosen[np.argsort(self._place[chosen])])

    def _head(
        self, head: str, chosen: np.ndarray, limits: np.ndarray | float = -math.inf
    ) -> np.ndarray:
        places = self._place[chosen]
        return self.heads[head].scores(
            places, np.broadcast_to(np.asarray(limits, np.float64), places.shape)
        )


def head_scorer(
    texts: Sequence[str],
    log_probs: np.ndarray,
    spelling: HeadSpelling,
    unk_penalty: float | None = 5.0,
) -> SequenceScorer:
    """Scores of texts under one head.

    Args:
        texts: Normalised.
        log_probs: ``(T, V)`` natural logarithms, T >= 1.
        spelling: Of the head.
        unk_penalty: See :class:`RescoreOptions`; the grapheme head has no wildcard.
    """
    encoded = spelling.encode(texts)
    if (encoded.flat != spelling.wildcard).all():
        return SequenceScorer(log_probs, encoded)
    if spelling.head != SYLLABLE:
        return SequenceScorer(log_probs, encoded, np.full(len(log_probs), -np.inf))
    unknown = spelling.index.get(UNKNOWN)
    anything = wildcard_column(log_probs, unknown, unk_penalty)
    return SequenceScorer(log_probs, encoded, anything)
