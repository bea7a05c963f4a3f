"""How much codes say about labels: purity, normalised mutual information (METHODS 6).

Everything works on the non-empty cells of the label-by-code table, so that 30,276
joint codes cost no more than the frames that use them. Natural logarithms.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espnet2_dq.errors import DataError


@dataclass(frozen=True)
class Counts:
    """Non-empty cells of the table n(label, code); labels and codes are compact.

    Attributes:
        label: ``(K,)`` label of each cell, in ``[0, num_labels)``.
        code: ``(K,)`` code of each cell, in ``[0, num_codes)``.
        count: ``(K,)`` items in it.
        num_labels: Labels that occur.
        num_codes: Active codes: those that occur.
    """

    label: np.ndarray
    code: np.ndarray
    count: np.ndarray
    num_labels: int
    num_codes: int

    @property
    def total(self) -> int:
        """Items counted."""
        return int(self.count.sum())

    def per_label(self) -> np.ndarray:
        """n(label) ``(num_labels,)``."""
        return np.bincount(self.label, self.count, self.num_labels)

    def per_code(self) -> np.ndarray:
        """n(code) ``(num_codes,)``."""
        return np.bincount(self.code, self.count, self.num_codes)


def joint_code(codes: np.ndarray) -> np.ndarray:
    """One number per combination of the groups' codes: ``(N, G)`` -> ``(N,)`` int64.

    The paper's z = (i1, i2). Numbers mean nothing beyond being equal or not.
    """
    joint = np.zeros(len(codes), dtype=np.int64)
    for column in np.asarray(codes, dtype=np.int64).T:
        _, compact = np.unique(column, return_inverse=True)
        joint = joint * (int(np.max(compact, initial=0)) + 1) + compact
        _, joint = np.unique(joint, return_inverse=True)
    return joint


def count_pairs(labels: np.ndarray, codes: np.ndarray) -> Counts:
    """Count label and code pairs.

    Args:
        labels: ``(N,)`` integers or strings.
        codes: ``(N,)`` integers.

    Raises:
        DataError: Different lengths, or nothing to count.
    """
    if len(labels) != len(codes) or len(labels) == 0:
        raise DataError(f"{len(labels)} labels for {len(codes)} codes: cannot count")
    label_names, y = np.unique(labels, return_inverse=True)
    code_names, z = np.unique(codes, return_inverse=True)
    cells, count = np.unique(y * len(code_names) + z, return_counts=True)
    return Counts(
        label=cells // len(code_names),
        code=cells % len(code_names),
        count=count,
        num_labels=len(label_names),
        num_codes=len(code_names),
    )


def purity(counts: Counts) -> float:
    """Sum over codes of max over labels of p(label, code): PP, LP."""
    best = np.zeros(counts.num_codes, dtype=np.int64)
    np.maximum.at(best, counts.code, counts.count)
    return float(best.sum() / counts.total)


def cluster_purity(counts: Counts) -> float:
    """Sum over labels of max over codes of p(label, code)."""
    best = np.zeros(counts.num_labels, dtype=np.int64)
    np.maximum.at(best, counts.label, counts.count)
    return float(best.sum() / counts.total)


def majority(counts: Counts) -> float:
    """Share of the most frequent label: the purity of a single code."""
    return float(counts.per_label().max() / counts.total)


def entropy(number: np.ndarray) -> float:
    """Entropy in nats of counts ``(K,)``; empty cells add nothing."""
    p = number[number > 0] / number.sum()
    return float(-(p * np.log(p)).sum())


def mutual_information(counts: Counts) -> float:
    """I(label; code) in nats, at least 0."""
    expected = counts.per_label()[counts.label] * counts.per_code()[counts.code]
    ratio = counts.count * (counts.total / expected)
    return max(0.0, float((counts.count * np.log(ratio)).sum() / counts.total))


def normalised_information(counts: Counts) -> float | None:
    """I(label; code) / H(label): PNMI, LNMI; ``None`` where only one label occurs."""
    uncertainty = entropy(counts.per_label())
    if counts.num_labels < 2:
        return None
    return min(1.0, mutual_information(counts) / uncertainty)


@dataclass(frozen=True)
class Scores:
    """Scores of one code stream (a group, or the joint code) against labels.

    Attributes:
        nmi: I/H(label); ``None`` where only one label occurs.
        purity: PP or LP.
        cluster_purity: The same with the roles exchanged; not in the paper.
        majority: Purity of a quantizer with a single code (whose NMI is 0).
        active: Codes used (ACN for the joint code, AGN for a group).
        items_per_code: Items per active code; a few mean that purity and NMI are
            biased upward.
        permutation_nmi: Mean NMI after shuffling the codes over all items.
        permutation_nmi_std: Its standard deviation over the shuffles.
        permutation_purity: Mean purity after shuffling.
    """

    nmi: float | None
    purity: float
    cluster_purity: float
    majority: float
    active: int
    items_per_code: float
    permutation_nmi: float | None
    permutation_nmi_std: float | None
    permutation_purity: float

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON."""
        return asdict(self)


def score_codes(
    labels: np.ndarray, codes: np.ndarray, *, seeds: Sequence[int] = (0, 1, 2)
) -> Scores:
    """Score one code stream with its controls.

    Args:
        labels: ``(N,)`` integers or strings, one per frame or utterance.
        codes: ``(N,)`` integers.
        seeds: One shuffle per seed.
    """
    counts = count_pairs(labels, codes)
    shuffled = [
        count_pairs(labels, np.random.default_rng(seed).permutation(codes))
        for seed in seeds
    ]
    nmis = [x for x in map(normalised_information, shuffled) if x is not None]
    return Scores(
        nmi=normalised_information(counts),
        purity=purity(counts),
        cluster_purity=cluster_purity(counts),
        majority=majority(counts),
        active=counts.num_codes,
        items_per_code=counts.total / counts.num_codes,
        permutation_nmi=float(np.mean(nmis)) if nmis else None,
        permutation_nmi_std=float(np.std(nmis)) if nmis else None,
        permutation_purity=float(np.mean([purity(c) for c in shuffled])),
    )


@dataclass(frozen=True)
class QuantizerScores:
    """Scores of a product quantizer.

    Attributes:
        joint: Of the joint code.
        groups: Of each group alone.
    """

    joint: Scores
    groups: list[Scores]


def score_quantizer(
    labels: np.ndarray, codes: np.ndarray, *, seeds: Sequence[int] = (0, 1, 2)
) -> QuantizerScores:
    """Score the joint code and every group.

    Args:
        labels: ``(N,)``.
        codes: ``(N, G)``.
        seeds: Of the permutation controls.
    """
    return QuantizerScores(
        joint=score_codes(labels, joint_code(codes), seeds=seeds),
        groups=[score_codes(labels, group, seeds=seeds) for group in codes.T],
    )


@dataclass(frozen=True)
class ConditionalMap:
    """P(label|code) in the order of the paper's Figs. 2 and 3 (reading R28).

    Attributes:
        probability: ``(labels, codes)`` float32; columns sum to 1.
        labels: Row names, most frequent first.
    """

    probability: np.ndarray
    labels: list[str]


def conditional_map(labels: np.ndarray, codes: np.ndarray) -> ConditionalMap:
    """Order rows by frequency, columns by their best row and falling probability.

    Args:
        labels: ``(N,)`` integers or strings.
        codes: ``(N,)`` joint codes.
    """
    counts = count_pairs(labels, codes)
    table = np.zeros((counts.num_labels, counts.num_codes), dtype=np.float32)
    table[counts.label, counts.code] = counts.count
    table /= table.sum(axis=0)
    rows = np.argsort(-counts.per_label(), kind="stable")
    table = table[rows]
    best = table.argmax(axis=0)
    columns = np.lexsort((-table.max(axis=0), best))
    names = np.unique(labels)[rows]
    return ConditionalMap(table[:, columns], [str(name) for name in names])
