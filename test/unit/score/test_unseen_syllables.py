"""Recall of syllables that training never shows."""

import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.korean import KoreanScoreOptions
from espnet2_dq.score.unseen_syllables import (
    count_unseen,
    score_unseen,
    seen_syllables,
)

SEEN = seen_syllables(["가 나", "다 TV ㅋ"])
OPTIONS = KoreanScoreOptions(samples=50)


def test_training_syllables():
    assert frozenset("가나다") == SEEN
    assert seen_syllables([]) == frozenset()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("뷁 가", "뷁 가", (1, 1, 1)),
        ("뷁 가", "뷁가", (1, 1, 1)),  # spaces do not matter
        ("뷁 가", "쀍 가", (1, 0, 1)),
        ("뷁 가나다", "가나다 뷁", (1, 0, 1)),  # in another place: not recovered
        ("뷁 가", "", (1, 0, 0)),
        ("뷁뷁", "뷁", (2, 1, 1)),
        ("가 나", "뷁 나", (0, 0, 1)),
        ("ㅠ A 1", "ㅠ A 1", (0, 0, 0)),  # no syllables
    ],
)
def test_by_hand(reference, hypothesis, counts):
    got = count_unseen(reference, hypothesis, SEEN)
    assert (
        got.reference.total(), got.recovered.total(), got.hypothesis.total()
    ) == counts  # fmt: skip


def test_corpus():
    references = {"a": "뷁 가", "b": "쀍 뷁", "c": "가 나", "d": "쀍"}
    hypotheses = {"a": "뷁 가", "b": "나 뷁", "c": "나 숲", "d": ""}
    scores = score_unseen(references, hypotheses, SEEN, OPTIONS)
    low, high = scores.pop("ci95")
    assert 0 <= low <= 0.5 <= high <= 1
    assert scores == {
        "recall": 0.5,
        "precision": pytest.approx(2 / 3),
        "reference": 4,
        "recovered": 2,
        "hypothesis": 3,
        "types": 2,
        "recovered_types": 1,
        "utterances": 3,
        "missed": ["쀍"],
    }


def test_nothing_unseen():
    scores = score_unseen({"a": "가"}, {"a": "나"}, SEEN, OPTIONS)
    assert (scores["recall"], scores["ci95"], scores["precision"]) == (None, None, None)


def test_seen_syllables_alone_recover_nothing():
    """What holds for a syllable head by construction."""
    scores = score_unseen({"a": "뷁 가"}, {"a": "나 가"}, SEEN, OPTIONS)
    assert (scores["recall"], scores["hypothesis"]) == (0.0, 0)


def test_utterances_must_agree():
    with pytest.raises(DataError, match="no hypothesis: a"):
        score_unseen({"a": "가"}, {}, SEEN, OPTIONS)
