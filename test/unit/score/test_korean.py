"""Korean scores by hand."""

import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.korean import (
    METRICS,
    KoreanScoreOptions,
    count_metric,
    score_texts,
)

OPTIONS = KoreanScoreOptions(samples=50)

# reference, hypothesis, then errors/reference of cer, cer_no_space, wer, both sWER
CASES = [
    ("그건", "그 거 는", (4, 2), (2, 2), (3, 1), (1, 1), (3, 1)),
    ("가다나", "가 나", (1, 3), (1, 3), (2, 1), (2, 1), (1, 1)),
    ("가 나 다", "가나다", (2, 5), (0, 3), (3, 3), (0, 3), (0, 3)),
    ("가나 다라", "가나다 라", (2, 5), (0, 4), (2, 2), (2, 2), (0, 2)),
    ("가 나", "", (3, 3), (2, 2), (2, 2), (2, 2), (2, 2)),
    ("", "가 나", (3, 0), (2, 0), (2, 0), (1, 0), (2, 0)),
    ("ㅋㅋ 70%", "ㅋㅋ 70%", (0, 6), (0, 5), (0, 2), (0, 2), (0, 2)),
]


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    reference, hypothesis, *expected = case
    for metric, numbers in zip(METRICS, expected, strict=True):
        counts = count_metric(metric, {"u": reference}, {"u": hypothesis})["u"]
        assert (metric, counts.errors, counts.reference) == (metric, *numbers)


def test_rates_are_sums_over_the_corpus():
    references = {"a": "가 나 다", "b": "라"}
    hypotheses = {"a": "가나다", "b": ""}
    sections = score_texts(references, hypotheses, OPTIONS)
    assert list(sections) == list(METRICS)
    rates = {metric: section["rate"] for metric, section in sections.items()}
    assert rates["cer"] == pytest.approx(3 / 6)
    assert rates["cer_no_space"] == pytest.approx(1 / 4)
    assert rates["wer"] == pytest.approx(4 / 4)
    assert rates["swer_kwav2vec"] == rates["swer_ksponspeech"] == pytest.approx(1 / 4)
    low, high = sections["cer_no_space"]["ci95"]
    assert (low, high) == (0.0, 1.0)
    assert {sections["wer"][key] for key in ("sub", "del", "ins", "ref")} == {
        1,
        3,
        0,
        4,
    }


def test_difference_from_a_baseline():
    references = {"a": "가 나", "b": "다 라"}
    sections = score_texts(references, references, OPTIONS, baseline={"a": "", "b": ""})
    difference = sections["cer"]["baseline"]
    assert (difference["difference"], difference["ci95"]) == (-1.0, [-1.0, -1.0])
    assert difference["share_above_zero"] == 0.0


def test_bad_input():
    with pytest.raises(DataError, match="no hypothesis: b"):
        score_texts({"a": "가", "b": "나"}, {"a": "가"}, OPTIONS)
    with pytest.raises(DataError, match="1 references, all empty"):
        score_texts({"a": ""}, {"a": "가"}, OPTIONS)
