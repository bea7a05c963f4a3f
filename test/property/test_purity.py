"""Invariants of purity and mutual information on arbitrary tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_dq.analysis.purity import (
    count_pairs,
    joint_code,
    majority,
    normalised_information,
    purity,
)

pairs = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=80
)


def split(items: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, codes = np.array(items).T
    return labels, codes


@given(pairs)
def test_ranges(items: list[tuple[int, int]]) -> None:
    counts = count_pairs(*split(items))
    nmi = normalised_information(counts)
    assert nmi is None or 0.0 <= nmi <= 1.0
    assert majority(counts) - 1e-12 <= purity(counts) <= 1.0
    assert counts.total == len(items)


@given(pairs, st.permutations(range(10)), st.permutations(range(7)))
def test_names_do_not_matter(
    items: list[tuple[int, int]], code_names: list[int], label_names: list[int]
) -> None:
    labels, codes = split(items)
    one = count_pairs(labels, codes)
    two = count_pairs(np.array(label_names)[labels], np.array(code_names)[codes])
    assert purity(one) == pytest.approx(purity(two))
    assert normalised_information(one) == pytest.approx(normalised_information(two))


@given(pairs, st.data())
def test_joint_code_knows_at_least_as_much(
    items: list[tuple[int, int]], data: st.DataObject
) -> None:
    labels, codes = split(items)
    size = len(items)
    other = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    joint = count_pairs(labels, joint_code(np.stack([codes, np.array(other)], 1)))
    alone = count_pairs(labels, codes)
    assert purity(joint) >= purity(alone) - 1e-12
    if normalised_information(alone) is not None:
        assert normalised_information(joint) >= normalised_information(alone) - 1e-9


@given(pairs)
def test_codes_that_are_the_labels_know_everything(
    items: list[tuple[int, int]],
) -> None:
    labels, _ = split(items)
    counts = count_pairs(labels, labels * 3)
    assert purity(counts) == 1.0
    assert normalised_information(counts) in (None, pytest.approx(1.0))
