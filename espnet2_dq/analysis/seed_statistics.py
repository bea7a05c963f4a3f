"""Mean and spread over seeds, and whether two orderings of the rows agree."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stat:
    """One figure of a row over its seeds.

    Attributes:
        values: One per seed that has it.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Standard deviation (n - 1); none with a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)


def stat_of(values: Sequence[float | None]) -> Stat | None:
    """The statistic of what is there; ``None`` if nothing is."""
    there = tuple(value for value in values if value is not None)
    return Stat(there) if there else None


@dataclass(frozen=True)
class Disagreement:
    """Two rows whose order is another than in the paper; differences are a minus b."""

    a: str
    b: str
    published: float
    ours: float


@dataclass(frozen=True)
class Ordering:
    """Agreement of our ordering of rows with the published one.

    Attributes:
        column: Which figure.
        rows: Labels of the rows that both have.
        tau: Kendall's tau-b; ``None`` where it has no meaning (fewer than two rows, or
            all alike).
        p_value: Of no association, two-sided; ``None`` with ``tau``.
        pairs: Pairs of rows that differ in the paper.
        disagreements: Those that our means order the other way round, or not at all.
    """

    column: str
    rows: list[str]
    tau: float | None
    p_value: float | None
    pairs: int
    disagreements: list[Disagreement]


def compare_orderings(
    column: str, published: Mapping[str, float], ours: Mapping[str, float]
) -> Ordering:
    """Compare two figures of the same rows.

    Args:
        column: Name of the figure.
        published: By row.
        ours: Means by row; rows that only one side has are left out.
    """
    rows = [label for label in published if label in ours]
    tau, p_value = _kendall([published[r] for r in rows], [ours[r] for r in rows])
    pairs, found = 0, []
    for a, b in itertools.combinations(rows, 2):
        theirs = published[a] - published[b]
        if theirs == 0:
            continue
        pairs += 1
        own = ours[a] - ours[b]
        if theirs * own <= 0:
            found.append(Disagreement(a, b, theirs, own))
    return Ordering(column, rows, tau, p_value, pairs, found)


def _kendall(
    x: Sequence[float], y: Sequence[float]
) -> tuple[float | None, float | None]:
    if len(x) < 2:
        return None, None
    from scipy.stats import kendalltau

    result = kendalltau(x, y)
    if math.isnan(result.statistic):
        return None, None
    return float(result.statistic), float(result.pvalue)
