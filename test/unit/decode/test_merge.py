import math

import pytest
from korean_posteriors import recorded_example, recorded_token_lists

from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.decode.merge import head_weights, log_add, merge
from espnet2_dq.errors import ConfigError

LISTS = {
    "grapheme": [("가", math.log(0.5)), ("나", math.log(0.2))],
    "syllable": [("나", math.log(0.6)), ("다", math.log(0.1))],
}


def probabilities(hypotheses):
    return {h.text: math.exp(h.score) for h in hypotheses}


def test_mixture_of_two_lists():
    found = merge(LISTS, 0.25)
    expected = {"가": 0.75 * 0.5, "나": 0.75 * 0.2 + 0.25 * 0.6, "다": 0.25 * 0.1}
    assert probabilities(found) == pytest.approx(expected)
    assert [h.text for h in found] == ["가", "나", "다"]
    assert found[1].scores == {h: dict(LISTS[h])["나"] for h in LISTS}
    assert found[0].scores == {"grapheme": math.log(0.5)}


def test_max_variant():
    found = probabilities(merge(LISTS, 0.25, variant="max"))
    assert found == pytest.approx({"가": 0.375, "나": 0.15, "다": 0.025})


def test_duplicates_within_a_list_are_summed():
    lists = {"grapheme": [("가", math.log(0.2)), ("가", math.log(0.3))], "syllable": []}
    assert probabilities(merge(lists, 0.5)) == pytest.approx({"가": 0.25})
    assert probabilities(merge(lists, 0.5, variant="max")) == pytest.approx(
        {"가": 0.15}
    )


@pytest.mark.parametrize("variant", ["sum", "max"])
@pytest.mark.parametrize(("weight", "head"), [(0.0, "grapheme"), (1.0, "syllable")])
def test_one_sided_weights_give_that_head_and_no_nan(weight, head, variant):
    lists = {h: [*texts, *texts] for h, texts in LISTS.items()}  # -inf twice
    found = merge(lists, weight, variant=variant)
    assert not any(math.isnan(h.score) for h in found)
    assert len(found) == 3
    finite = [h.text for h in found if h.score > -math.inf]
    assert finite == [text for text, _ in LISTS[head]]


def test_word_of_one_list_only_wins():
    """A syllable outside the list: only the graphemes know it (METHODS 7.6)."""
    lists = {"grapheme": [("뷁", -1.0)], "syllable": [("벍", -3.0), ("북", -4.0)]}
    assert merge(lists, 0.5)[0].text == "뷁"


def test_one_head_alone_has_all_the_weight():
    assert head_weights(0.3, ["grapheme"]) == {"grapheme": 1.0}
    (best,) = merge({"grapheme": [("가", -1.0)]}, 0.3)
    assert best.score == -1.0


def test_log_add():
    assert log_add(-math.inf, -math.inf) == -math.inf
    assert log_add(0.0, -math.inf) == 0.0
    assert log_add(math.log(0.3), math.log(0.2)) == pytest.approx(math.log(0.5))


@pytest.mark.parametrize("weight", [-0.1, 1.5, math.nan])
def test_weights_outside_0_to_1_are_told(weight):
    with pytest.raises(ConfigError, match="weight"):
        merge(LISTS, weight)


def test_unknown_variant_is_told():
    with pytest.raises(ConfigError, match="variant: 'mean'"):
        merge(LISTS, variant="mean")


def kwav2vec_scores(lists, weight):
    """METHODS 7.6, word for word."""
    with_weight = {"grapheme": 1 - weight, "syllable": weight}
    terms = {}
    for head, texts in lists.items():
        for text, score in texts:
            prior = math.log(with_weight[head])
            terms.setdefault(text, []).append(prior + score)
    return {text: math.log(sum(map(math.exp, ts))) for text, ts in terms.items()}


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("weight", [0.2, 0.5, 0.9])
def test_decoder_merges_as_kwav2vec(number, weight):
    options = KoreanDecodeOptions("merge", beam_size=50, weight=weight)
    decoder = KoreanDecoder(recorded_token_lists(), options)
    log_probs = recorded_example(number).log_probs
    expected = kwav2vec_scores(decoder.lists(log_probs), weight)
    found = {h.text: h.score for h in decoder.candidates(log_probs)}
    assert len(found) > 10
    assert found == pytest.approx(expected)
