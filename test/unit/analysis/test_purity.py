"""Purity and mutual information against numbers by hand and a dense version."""

import time
import tracemalloc

import numpy as np
import pytest

from espnet2_dq.analysis import purity as module
from espnet2_dq.analysis.purity import (
    conditional_map,
    count_pairs,
    joint_code,
    majority,
    normalised_information,
    purity,
    score_codes,
    score_quantizer,
)
from espnet2_dq.errors import DataError

# n(y, z): y0: 3 1 0; y1: 0 1 3 -> 8 items
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
CODES = np.array([5, 5, 5, 7, 7, 9, 9, 9])


def dense_scores(labels: np.ndarray, codes: np.ndarray) -> tuple[float, float, float]:
    """Slow: a full table and loops."""
    ys, zs = sorted(set(labels.tolist())), sorted(set(codes.tolist()))
    table = np.array([[np.sum((labels == y) & (codes == z)) for z in zs] for y in ys])
    p = table / table.sum()
    information = 0.0
    for i in range(len(ys)):
        for j in range(len(zs)):
            if p[i, j] > 0:
                information += p[i, j] * np.log(p[i, j] / p[i].sum() / p[:, j].sum())
    prior = p.sum(1)
    nmi = information / -(prior * np.log(prior)).sum()
    return p.max(0).sum(), p.max(1).sum(), nmi


def test_by_hand() -> None:
    scores = score_codes(LABELS, CODES)
    assert scores.purity == pytest.approx(7 / 8)
    assert scores.cluster_purity == pytest.approx(6 / 8)
    assert scores.majority == pytest.approx(0.5)
    # H(y|z) = 2/8 * ln 2, H(y) = ln 2
    assert scores.nmi == pytest.approx(0.75)
    assert (scores.active, scores.items_per_code) == (3, pytest.approx(8 / 3))


def test_against_a_dense_version() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 400)
    codes = (labels * 3 + rng.integers(0, 6, 400)) % 19
    counts = count_pairs(labels, codes)
    expected = dense_scores(labels, codes)
    got = purity(counts), module.cluster_purity(counts), normalised_information(counts)
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow  # importing scikit-learn
def test_against_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 20, 5000)
    codes = labels * 50 + rng.integers(0, 120, 5000)
    counts = count_pairs(labels, codes)
    theirs = metrics.mutual_info_score(labels, codes)
    assert module.mutual_information(counts) == pytest.approx(theirs, abs=1e-9)


def test_joint_code_tells_all_combinations_apart() -> None:
    codes = np.array([[0, 1], [1, 0], [0, 1], [173, 173], [1, 1]])
    joint = joint_code(codes)
    assert joint[0] == joint[2]
    assert len(set(joint.tolist())) == 4
    wide = np.random.default_rng(0).integers(0, 2**31, (50, 8))
    assert len(np.unique(joint_code(wide))) == 50


def test_permutation_control_is_near_zero_only_without_the_bias_of_small_counts() -> (
    None
):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 9, 4000)
    few = score_codes(labels, rng.integers(0, 9, 4000))
    many = score_codes(labels, rng.integers(0, 3000, 4000))
    for scores in (few, many):  # codes know nothing: score = control
        assert scores.nmi == pytest.approx(scores.permutation_nmi, abs=0.02)
        assert scores.purity == pytest.approx(scores.permutation_purity, abs=0.02)
    assert few.permutation_nmi < 0.02
    assert many.permutation_nmi > 0.3
    assert score_codes(labels, labels).permutation_nmi < 0.02


def test_groups_and_joint() -> None:
    first, second = CODES, np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = score_quantizer(LABELS, np.stack([first, second], axis=1))
    assert scores.groups[0].nmi == pytest.approx(0.75)
    assert scores.groups[1].nmi == pytest.approx(1.0)
    assert scores.joint.nmi == pytest.approx(1.0)
    assert scores.joint.active == 4


def test_one_label_has_no_information_to_share() -> None:
    scores = score_codes(np.zeros(5, int), np.arange(5))
    assert scores.nmi is None
    assert scores.permutation_nmi is None
    assert (scores.purity, scores.majority) == (1.0, 1.0)


def test_map_follows_reading_r28() -> None:
    labels = np.array(["b"] * 6 + ["a"] * 3)
    codes = np.array([1, 1, 1, 2, 2, 3, 2, 3, 3])
    found = conditional_map(labels, codes)
    assert found.labels == ["b", "a"]
    # code 1: b 1.0; code 2: b 2/3; code 3: a 2/3
    expected = [[1.0, 2 / 3, 1 / 3], [0.0, 1 / 3, 2 / 3]]
    np.testing.assert_allclose(found.probability, expected, rtol=1e-6)


def test_lengths_must_agree() -> None:
    with pytest.raises(DataError, match="3 labels for 2 codes"):
        count_pairs(np.zeros(3), np.zeros(2))


def test_paper_size_is_quick_and_small() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 174, 100_000)
    codes = rng.integers(0, 174, (100_000, 2))
    tracemalloc.start()
    started = time.process_time()
    scores = score_quantizer(labels, codes)
    seconds = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.joint.active > 25_000
    assert peak < 200 * 2**20
    assert seconds < 10
    assert majority(count_pairs(labels, codes[:, 0])) < 0.01
