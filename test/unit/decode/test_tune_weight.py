import math

import pytest
from korean_posteriors import recorded_example, recorded_token_lists

from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.decode.tune_weight import recombined, tune_weight
from espnet2_dq.errors import ConfigError, DataError


def hypothesis(text, grapheme, syllable):
    return JointHypothesis(text, 0.0, {"grapheme": grapheme, "syllable": syllable})


CANDIDATES = {
    "a": [hypothesis("가나", -2.0, -4.0), hypothesis("가다", -4.0, -1.0)],
    "b": [hypothesis("라 마", -1.0, -math.inf), hypothesis("라마", -9.0, -1.0)],
}


def test_table_and_best_weight():
    texts_at = recombined(CANDIDATES, "log_linear")
    table = tune_weight(texts_at, {"a": "가다", "b": "라 마"}, (0.0, 0.3, 0.6, 1.0))
    assert [row.cer.errors for row in table.rows] == [1, 2, 1, 1]
    assert table.best == 0.6  # of equal ones, the one next to 0.5
    assert [row.cer_no_space.errors for row in table.rows] == [1, 1, 0, 0]
    assert [row.wer.errors for row in table.rows] == [1, 3, 2, 2]
    assert len(table.lines()) == 5
    assert table.lines()[3].endswith("*")


def test_one_sided_weights_ignore_the_other_head():
    texts_at = recombined(CANDIDATES, "log_linear")
    assert texts_at(0.0) == {"a": "가나", "b": "라 마"}
    assert texts_at(1.0) == {"a": "가다", "b": "라마"}


@pytest.mark.parametrize(
    ("mode", "values", "combination"),
    [
        ("merge", {}, "mixture"),
        ("merge", {"variant": "max"}, "max"),
        ("rescore", {}, "log_linear"),
        ("rescore", {"combination": "mixture"}, "mixture"),
    ],
)
def test_recombining_is_decoding_at_that_weight(mode, values, combination):
    lists = recorded_token_lists()

    def decoder(weight):
        options = KoreanDecodeOptions(mode, beam_size=20, weight=weight, **values)
        return KoreanDecoder(lists, options)

    examples = {str(i): recorded_example(i).log_probs for i in range(4)}
    candidates = {u: decoder(0.5).candidates(x) for u, x in examples.items()}
    texts_at = recombined(candidates, combination)
    for weight in (0.0, 0.2, 0.7, 1.0):
        expected = {u: decoder(weight).decode(x)[0].text for u, x in examples.items()}
        assert texts_at(weight) == expected


def test_any_decoder_can_be_tuned():
    table = tune_weight(
        lambda weight: {"a": "가" if weight > 0.4 else "나"}, {"a": "가"}, (0.2, 0.8)
    )
    assert table.best == 0.8


@pytest.mark.parametrize(
    ("references", "grid", "error", "message"),
    [
        ({"a": "가", "b": "라"}, (), ConfigError, "no weight"),
        ({"a": "가", "b": "라"}, (0.5, 1.5), ConfigError, "weight: 1.5"),
        ({"a": "가"}, (0.5,), DataError, "b"),
        ({"a": "", "b": ""}, (0.5,), DataError, "without a word"),
    ],
)
def test_bad_input_is_told(references, grid, error, message):
    with pytest.raises(error, match=message):
        tune_weight(recombined(CANDIDATES, "mixture"), references, grid)


def test_unknown_combination_is_told():
    with pytest.raises(ConfigError, match="combination: 'min'"):
        recombined(CANDIDATES, "min")
