"""The weight of the syllable head that decodes a development set best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.joint_lattice import LOG_LINEAR, MIXTURE, combine
from espnet2_dq.decode.merge import head_weights
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.score.error_rates import ErrorCounts, pool
from espnet2_dq.score.korean import count_metric
from espnet2_dq.text.hangul import normalise

MAX = "max"
DEFAULT_GRID = tuple(round(0.1 * i, 1) for i in range(11))


@dataclass(frozen=True)
class WeightRow:
    """Errors at one weight.

    Attributes:
        weight: Of the syllable head.
        cer: Character errors, spaces counted.
        cer_no_space: Character errors without spaces.
        wer: Word errors.
    """

    weight: float
    cer: ErrorCounts
    cer_no_space: ErrorCounts
    wer: ErrorCounts


@dataclass(frozen=True)
class WeightTable:
    """A row per weight, in the order of the grid.

    Attributes:
        rows: Errors at each weight.
        best: The weight with the fewest character errors; of several, the one next to
            0.5, where no head is favoured.
    """

    rows: tuple[WeightRow, ...]
    best: float

    def lines(self) -> list[str]:
        """A table for people."""
        head = f"{'weight':>7} {'CER %':>7} {'CER-sp %':>9} {'WER %':>7}"
        return [head] + [
            f"{row.weight:>7.3g} {100 * row.cer.rate:>7.2f} "
            f"{100 * row.cer_no_space.rate:>9.2f} {100 * row.wer.rate:>7.2f}"
            + ("  *" if row.weight == self.best else "")
            for row in self.rows
        ]


def tune_weight(
    texts_at: Callable[[float], Mapping[str, str]],
    references: Mapping[str, str],
    grid: Sequence[float] = DEFAULT_GRID,
) -> WeightTable:
    """Score the texts of each weight.

    Args:
        texts_at: Weight -> utterance -> decoded text: :func:`recombined` for ``merge``
            and ``rescore``, whose hypotheses do not depend on the weight; a decoder
            for ``joint``.
        references: Utterance -> reference text.
        grid: Weights to try, 0 to 1.

    Raises:
        ConfigError: No weight, or one outside 0 to 1.
        DataError: No references, or other utterances than the decoded ones.
    """
    if not grid:
        raise ConfigError("grid: no weight to try")
    if not any(text.split() for text in references.values()):
        raise DataError(
            f"{len(references)} references without a word; weights are tuned on the "
            "texts of a development set"
        )
    texts = _normalised(references)
    rows = []
    for weight in grid:
        head_weights(weight, ())  # raises outside 0 to 1
        decoded = _normalised(texts_at(weight))
        counts = [
            pool(count_metric(metric, texts, decoded))
            for metric in ("cer", "cer_no_space", "wer")
        ]
        rows.append(WeightRow(weight, *counts))
    best = min(rows, key=lambda row: (row.cer.errors, abs(row.weight - 0.5)))
    return WeightTable(tuple(rows), best.weight)


def _normalised(texts: Mapping[str, str]) -> dict[str, str]:
    return {utt: normalise(text) for utt, text in texts.items()}


def recombined(
    candidates: Mapping[str, Sequence[JointHypothesis]], combination: str
) -> Callable[[float], dict[str, str]]:
    """Best texts at any weight, from the scores that each head gave.

    Args:
        candidates: Utterance -> all its hypotheses (``KoreanDecoder.candidates``) with
            each head's score; a missing one counts as ``-inf``.
        combination: ``log_linear`` or ``mixture`` as in ``rescore``; ``mixture`` or
            ``max`` as in ``merge``.

    Raises:
        ConfigError: Another combination.
    """
    if combination not in (LOG_LINEAR, MIXTURE, MAX):
        raise ConfigError(
            f"combination: {combination!r}; {LOG_LINEAR}, {MIXTURE} or {MAX} is allowed"
        )
    heads = sorted(
        {h for found in candidates.values() for c in found for h in c.scores}
    )
    columns = {
        utt: {
            head: np.array([c.scores.get(head, -np.inf) for c in found])
            for head in heads
        }
        for utt, found in candidates.items()
    }

    def texts_at(weight: float) -> dict[str, str]:
        weights = head_weights(weight, heads)
        return {
            utt: candidates[utt][_best(scores, weights, combination)].text
            for utt, scores in columns.items()
        }

    return texts_at


def _best(
    scores: Mapping[str, np.ndarray], weights: Mapping[str, float], combination: str
) -> int:
    """Index of the best hypothesis; the first of equal ones."""
    if combination == MAX:
        parts = [np.log(w) + scores[head] for head, w in weights.items() if w > 0]
        return int(np.argmax(np.max(np.stack(parts), axis=0)))
    return int(np.argmax(combine(scores, weights, combination)))
