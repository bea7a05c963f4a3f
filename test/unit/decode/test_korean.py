"""One interface over all modes."""

import math

import numpy as np
import pytest
from korean_posteriors import recorded_example, recorded_token_lists

from espnet2_dq.decode.greedy import greedy_path
from espnet2_dq.decode.korean import MODES, KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.hangul import normalise

LISTS = recorded_token_lists()


def decoder(mode="rescore", **values):
    return KoreanDecoder(
        LISTS, KoreanDecodeOptions(mode, **{"beam_size": 10, **values})
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_decodes(mode):
    example = recorded_example(0)
    found = decoder(mode, nbest=3).decode(example.log_probs)
    assert 1 <= len(found) <= 3
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert all(h.text == normalise(h.text) and math.isfinite(h.score) for h in found)
    assert len({h.text for h in found}) == len(found)


@pytest.mark.parametrize("combination", ["log_linear", "mixture"])
def test_joint_and_rescore_mean_the_same_score(combination):
    compared = 0
    for number in range(3):
        log_probs = recorded_example(number).log_probs
        joint = decoder("joint", combination=combination).decode(log_probs)[0]
        rescored = decoder(beam_size=100, combination=combination)
        for h in rescored.candidates(log_probs):
            if h.text == joint.text:
                assert h.score == pytest.approx(joint.score, abs=1e-4)
                compared += 1
    assert compared > 0


def test_rescore_is_never_worse_than_merge():
    for number in range(5):
        log_probs = recorded_example(number).log_probs
        merged = decoder("merge").decode(log_probs)[0]
        scores = {h.text: h.score for h in decoder().candidates(log_probs)}
        assert max(scores.values()) >= scores[merged.text]


@pytest.mark.parametrize("head", ["grapheme", "syllable"])
def test_greedy_of_a_head(head):
    log_probs = recorded_example(0).log_probs
    (best,) = decoder("greedy", head=head).decode(log_probs)
    path = greedy_path(log_probs[head])
    assert best.scores == {head: path.score}
    assert best.score == path.score


def test_greedy_drops_special_tokens():
    log_probs = np.full((3, len(LISTS["syllable"])), -9.0)
    for t, token in enumerate([4, 1, len(LISTS["syllable"]) - 1]):
        log_probs[t, token] = -1e-3
    alone = KoreanDecoder(
        {"syllable": LISTS["syllable"]}, KoreanDecodeOptions("greedy")
    )
    (best,) = alone.decode({"syllable": log_probs})
    assert best.text == LISTS["syllable"][4]


def test_models_with_one_head():
    log_probs = recorded_example(0).log_probs
    for head in LISTS:
        for mode in ("greedy", "merge", "rescore"):
            options = KoreanDecodeOptions(mode, weight=0.0)
            alone = KoreanDecoder({head: LISTS[head]}, options)
            assert alone.decode(log_probs)[0].score > -math.inf
    with pytest.raises(ConfigError, match="both heads"):
        KoreanDecoder({"syllable": LISTS["syllable"]}, KoreanDecodeOptions("joint"))


def test_head_restricts_the_search():
    log_probs = recorded_example(0).log_probs
    found = decoder("merge", head="grapheme").decode(log_probs)[0]
    assert list(found.scores) == ["grapheme"]


@pytest.mark.parametrize("mode", MODES)
def test_one_frame(mode):
    log_probs = {h: x[:1] for h, x in recorded_example(0).log_probs.items()}
    (best,) = decoder(mode).decode(log_probs)
    assert math.isfinite(best.score)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "beam"}, "mode: 'beam'"),
        ({"head": "jamo"}, "head: 'jamo'"),
        ({"weight": 1.01}, "weight: 1.01"),
        ({"weight": -0.5}, "weight: -0.5"),
        ({"weight": math.nan}, "weight: nan"),
        ({"beam_size": 0}, "beam_size: 0"),
        ({"beam_size": 5, "nbest": 6}, "nbest: 6"),
        ({"variant": "min"}, "variant: 'min'"),
        ({"combination": "sum"}, "combination: 'sum'"),
        ({"unk_penalty": -1.0}, "unk_penalty: -1.0"),
    ],
)
def test_bad_options_are_told(values, message):
    with pytest.raises(ConfigError, match=message):
        KoreanDecodeOptions(**values)


@pytest.mark.parametrize("mode", ["merge", "rescore", "joint"])
def test_a_beam_above_the_vocabulary_is_told(mode):
    with pytest.raises(ConfigError, match=r"beam_size: 500; .*200 tokens"):
        KoreanDecoder(LISTS, KoreanDecodeOptions(mode, beam_size=500))


def test_a_head_that_the_model_lacks_is_told():
    with pytest.raises(ConfigError, match="head: grapheme; the model has syllable"):
        KoreanDecoder(
            {"syllable": LISTS["syllable"]}, KoreanDecodeOptions(head="grapheme")
        )


def changed(**heads):
    return {**recorded_example(0).log_probs, **heads}


@pytest.mark.parametrize("mode", MODES)
def test_bad_posteriors_are_told(mode):
    width = len(LISTS["syllable"])
    good = recorded_example(0).log_probs["syllable"]
    with_nan = good.copy()
    with_nan[3, 5] = np.nan
    chosen = decoder(mode)
    none = {head: x[:0] for head, x in recorded_example(0).log_probs.items()}
    for log_probs, error, message in [
        (none, DataError, "at least one frame"),
        (changed(syllable=with_nan), DataError, "NaN in 1 of 60 frames"),
        (changed(syllable=np.exp(good)), DataError, "neither probabilities nor logits"),
        (changed(syllable=good[:-1]), DataError, "frames of the heads"),
        (changed(syllable=good[:, :-1]), ConfigError, rf"expected.*|\(T, {width}\)"),
        ({"grapheme": changed()["grapheme"]}, ConfigError, "no posteriors of the syll"),
    ]:
        with pytest.raises(error, match=message):
            chosen.decode(log_probs)
