"""Uncertainty of error rates: bootstrap over utterances, within each language.

Utterances are drawn with replacement inside their language, so that every resample
has the corpus's languages. Seed spread of training is not in these intervals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from espnet2_dq.errors import DataError
from espnet2_dq.score.error_rates import ErrorCounts

Groups = Mapping[str, Mapping[str, ErrorCounts]]
_CHUNK = 2_000_000  # drawn indices held at once


@dataclass(frozen=True)
class RateSamples:
    """Resampled error rates.

    Attributes:
        languages: Language -> rates ``(R,)`` float64 of the R resamples.
        pooled: Rates ``(R,)`` of all utterances together.
    """

    languages: dict[str, np.ndarray]
    pooled: np.ndarray

    def average(self, languages: list[str] | None = None) -> np.ndarray:
        """Unweighted mean ``(R,)`` over languages (all of them by default)."""
        chosen = languages if languages is not None else list(self.languages)
        return np.mean([self.languages[lang] for lang in chosen], axis=0)


@dataclass(frozen=True)
class Difference:
    """System A minus system B on the same utterances; below 0: A is better.

    Attributes:
        rate: Difference of the two rates on the corpus itself.
        low: Lower end of the 95 % interval.
        high: Upper end of it.
        share_above_zero: Share of resamples in which A is worse than B.
    """

    rate: float
    low: float
    high: float
    share_above_zero: float

    def as_dict(self) -> dict[str, object]:
        """As written to ``scores.json``."""
        return {
            "difference": self.rate,
            "ci95": [self.low, self.high],
            "share_above_zero": self.share_above_zero,
        }


def resample(groups: Groups, *, samples: int, seed: int) -> RateSamples:
    """Draw ``samples`` bootstrap resamples of a corpus.

    Args:
        groups: Language -> utterance -> counts. The draw depends on the sorted ids
            and the seed alone, so two systems on one corpus get the same draws.
        samples: Number of resamples R.
        seed: Any non-negative integer.

    Raises:
        DataError: No utterances, or a language without reference tokens.
    """
    if not groups or samples < 1:
        raise DataError(f"nothing to resample: {len(groups)} languages, {samples=}")
    rng = np.random.default_rng(seed)
    languages, totals = {}, np.zeros((2, samples))
    for lang in sorted(groups):
        counts = [groups[lang][utt] for utt in sorted(groups[lang])]
        pairs = np.array([[c.errors, c.reference] for c in counts], dtype=np.float64)
        if pairs.sum(axis=0)[1] == 0:
            raise DataError(f"language '{lang}' has no reference tokens")
        drawn = _draw_sums(pairs, samples, rng)
        languages[lang] = _rate(drawn)
        totals += drawn
    return RateSamples(languages, _rate(totals))


def _draw_sums(pairs: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of errors and reference tokens, ``(2, R)``, of resampled utterances."""
    size = len(pairs)
    step = max(1, _CHUNK // size)
    sums = [
        pairs[rng.integers(size, size=(min(step, samples - first), size))].sum(axis=1)
        for first in range(0, samples, step)
    ]
    return np.concatenate(sums).T


def _rate(sums: np.ndarray) -> np.ndarray:
    """A resample may hold empty references only: there, one token is assumed."""
    return sums[0] / np.maximum(sums[1], 1.0)


def interval95(rates: np.ndarray) -> tuple[float, float]:
    """The central 95 % of resampled rates ``(R,)``."""
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def paired_difference(
    a: Groups,
    b: Groups,
    rate: Callable[[Groups], float],
    average: Callable[[RateSamples], np.ndarray],
    *,
    samples: int,
    seed: int,
) -> Difference:
    """Compare two systems on the same utterances.

    Args:
        a: Counts of the system in question.
        b: Counts of the baseline, same languages and utterances.
        rate: The rate to compare, of one system on the whole corpus.
        average: The same rate over resamples.
        samples: Number of resamples.
        seed: Seed of the draws.

    Raises:
        DataError: The systems were not scored on the same utterances.
    """
    if {k: v.keys() for k, v in a.items()} != {k: v.keys() for k, v in b.items()}:
        raise DataError(
            "the two systems were not scored on the same utterances of the same "
            "languages; decode both on one set"
        )
    deltas = average(resample(a, samples=samples, seed=seed)) - average(
        resample(b, samples=samples, seed=seed)
    )
    low, high = interval95(deltas)
    return Difference(rate(a) - rate(b), low, high, float(np.mean(deltas > 0)))
