import itertools
import math

import numpy as np
import pytest
import torch
from joint_lattices import (
    LISTS,
    combined,
    padded,
    random_heads,
    sequences_of,
    spelled,
)
from korean_posteriors import example, token_lists

from espnet2_dq.decode.beam import BeamDecoder, BeamOptions
from espnet2_dq.decode.joint_search import JointOptions, JointSearch
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.hangul import compose, graphemes, is_syllable, syllables

BOTH = pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])
COMBINATIONS = pytest.mark.parametrize("combination", ["log_linear", "mixture"])
EVERYTHING = {"candidates": None, "margin": math.inf}


@pytest.fixture(scope="module")
def lists():
    return token_lists(syllable_size=300)


def brute_force(heads, lists, weight, combination, *, count):
    """The best syllable sequences within the list."""
    p_g = sequences_of(heads["grapheme"], lists["grapheme"])
    p_s = sequences_of(heads["syllable"], lists["syllable"])
    scored = []
    for length in range(len(heads["syllable"]) + 1):
        for ids in itertools.product("가나각", repeat=length):
            probabilities = p_g.get(spelled(ids), 0.0), p_s.get(ids, 0.0)
            score = combined(*probabilities, weight, combination)
            if score > -math.inf:
                scored.append((score, "".join(ids)))
    return sorted(scored, reverse=True)[:count]


@BOTH
@COMBINATIONS
@pytest.mark.parametrize(("weight", "seed"), [(0.0, 0), (0.3, 1), (0.5, 2), (1.0, 3)])
def test_wide_beam_finds_the_n_best_of_all_sequences(
    batched, combination, weight, seed
):
    lists = padded(LISTS)
    heads = random_heads(5, lists, seed=seed)
    expected = brute_force(heads, lists, weight, combination, count=6)
    options = JointOptions(30, 6, weight, combination, open_vocabulary=False,
                           batched=batched, **EVERYTHING)  # fmt: skip
    got = JointSearch(lists, options).decode(heads)
    assert len(expected) >= 3
    assert [h.text for h in got] == [text for _, text in expected]
    assert [h.score for h in got] == pytest.approx([s for s, _ in expected], abs=1e-9)


@BOTH
def test_scores_are_those_of_ctc_loss(lists, batched):
    heads = example(lists, 1, frames=80, count=6).log_probs
    options = JointOptions(nbest=4, weight=0.4, open_vocabulary=False, batched=batched)
    found = JointSearch(lists, options).decode(heads)
    assert len(found) == 4
    for hypothesis in found:
        ids = {
            "syllable": syllables(hypothesis.text),
            "grapheme": graphemes(hypothesis.text),
        }
        for head, tokens in ids.items():
            targets = torch.tensor([[lists[head].index(t) for t in tokens]])
            loss = torch.nn.functional.ctc_loss(
                torch.from_numpy(heads[head]).double()[:, None],
                targets, [80], [len(tokens)], reduction="sum",
            )  # fmt: skip
            assert hypothesis.scores[head] == pytest.approx(-float(loss), abs=1e-5)
        expected = (
            0.6 * hypothesis.scores["grapheme"] + 0.4 * hypothesis.scores["syllable"]
        )
        assert hypothesis.score == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("open_vocabulary", [True, False])
def test_single_and_batch_search_agree(lists, seed, open_vocabulary):
    heads = example(lists, seed, frames=100, count=8, doubtful=0.6).log_probs
    results = [
        JointSearch(
            lists,
            JointOptions(nbest=5, batched=b, open_vocabulary=open_vocabulary),
        ).decode(heads)
        for b in (True, False)
    ]
    assert [h.text for h in results[0]] == [h.text for h in results[1]]
    assert results[0][0].score == pytest.approx(results[1][0].score)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_weight_one_is_the_search_of_the_syllable_head(lists, batched, seed):
    heads = example(lists, seed, frames=100, count=8, doubtful=0.6).log_probs
    (best,) = JointSearch(lists, JointOptions(weight=1.0, batched=batched)).decode(
        heads
    )
    eos = lists["syllable"].index("<sos/eos>")
    decoder = BeamDecoder(300, BeamOptions(10, batched=batched), eos=eos)
    (alone,) = decoder.decode(torch.from_numpy(heads["syllable"]))
    tokens = [lists["syllable"][i] for i in alone.ids]
    assert syllables(best.text) == tokens
    assert best.score == pytest.approx(alone.score, abs=1e-6)
    assert best.score == pytest.approx(best.scores["syllable"])


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_weight_zero_is_the_search_of_the_grapheme_head(lists, batched, seed):
    heads = example(lists, seed, frames=60, count=5, doubtful=0.6).log_probs
    (best,) = JointSearch(lists, JointOptions(weight=0.0, batched=batched)).decode(
        heads
    )
    eos = lists["grapheme"].index("<sos/eos>")
    decoder = BeamDecoder(75, BeamOptions(20, 20), eos=eos)
    tokens = [
        [lists["grapheme"][i] for i in found.ids]
        for found in decoder.decode(torch.from_numpy(heads["grapheme"]))
    ]
    spelling_of_a_text = next(
        t
        for t in tokens
        if all(len(c) > 1 or not "\u1100" <= c <= "\u11ff" for c in compose(t))
    )
    assert graphemes(best.text) == spelling_of_a_text


@BOTH
@pytest.mark.parametrize("combination", ["log_linear", "mixture"])
def test_pruned_candidates_keep_the_result(lists, batched, combination):
    for seed in range(3):
        heads = example(lists, seed, frames=60, count=5, doubtful=0.5).log_probs
        one, other = (
            JointSearch(
                lists,
                JointOptions(combination=combination, batched=batched,
                             open_vocabulary=False, **pruning),
            ).decode(heads)
            for pruning in ({}, EVERYTHING)
        )  # fmt: skip
        assert [h.text for h in one] == [h.text for h in other]
        assert one[0].score == pytest.approx(other[0].score)


def without(lists, heads, syllable):
    """The same lists and posteriors for a model that never saw a syllable."""
    column = lists["syllable"].index(syllable)
    kept = np.delete(heads["syllable"], column, axis=1)
    kept = torch.from_numpy(kept).log_softmax(-1).numpy()
    tokens = [t for t in lists["syllable"] if t != syllable]
    return {**lists, "syllable": tokens}, {**heads, "syllable": kept}


@BOTH
@COMBINATIONS
@pytest.mark.parametrize("seed", range(3))
def test_syllable_outside_the_list_wins_by_its_graphemes(
    lists, seed, batched, combination
):
    case = example(lists, seed, frames=100, count=8, doubtful=0.0)
    lost = next(c for c in case.text if is_syllable(c))
    smaller, heads = without(lists, case.log_probs, lost)
    # no candidate of the list comes near: the syllable head hears nothing certain
    options = {"combination": combination, "batched": batched}
    opened = JointSearch(smaller, JointOptions(**options))
    closed = JointSearch(smaller, JointOptions(open_vocabulary=False, **options))
    assert opened.decode(heads)[0].text == case.text
    assert lost not in closed.decode(heads)[0].text


def test_unk_penalty_decides_and_none_means_the_unk_column(lists):
    case = example(lists, 2, frames=100, count=8, doubtful=0.0)
    lost = next(c for c in case.text if is_syllable(c))
    smaller, heads = without(lists, case.log_probs, lost)

    def best(penalty):
        options = JointOptions(unk_penalty=penalty, margin=200.0)
        return JointSearch(smaller, options).decode(heads)[0]

    assert lost in best(5.0).text
    assert lost not in best(300.0).text
    by_unk = best(None)
    index = {t: i for i, t in enumerate(smaller["syllable"])}
    targets = torch.tensor([[index.get(t, 1) for t in syllables(by_unk.text)]])
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(heads["syllable"]).double()[:, None],
        targets, [100], [targets.size(1)], reduction="sum",
    )  # fmt: skip
    assert by_unk.scores["syllable"] == pytest.approx(-float(loss), abs=1e-4)


def sure(tokens, *ids):
    """Log-probabilities that all but exclude everything else."""
    logits = torch.full((len(ids), len(tokens)), -30.0)
    logits[torch.arange(len(ids)), list(ids)] = 0.0
    return logits.log_softmax(-1).numpy()


@BOTH
def test_repeated_syllable_needs_a_blank_in_the_syllable_head_only(batched):
    options = JointOptions(beam_size=5, batched=batched)
    heads = {
        "grapheme": sure(LISTS["grapheme"], 2, 4, 2, 4),  # ㄱㅏㄱㅏ
        "syllable": sure(LISTS["syllable"], 2, 0, 2, 0),
    }
    (best,) = JointSearch(LISTS, options).decode(heads)
    assert best.text == "가가"
    assert best.score == pytest.approx(0.0, abs=1e-6)
    heads["syllable"] = sure(LISTS["syllable"], 2, 2, 2, 2)
    (best,) = JointSearch(LISTS, options).decode(heads)
    assert best.scores["grapheme"] < -1 or best.scores["syllable"] < -1


@BOTH
@COMBINATIONS
def test_one_frame_and_nothing_said(batched, combination):
    options = JointOptions(beam_size=5, combination=combination, batched=batched)
    search = JointSearch(LISTS, options)
    for frames in (1, 2, 30):
        heads = {head: sure(tokens, *[0] * frames) for head, tokens in LISTS.items()}
        (best,) = search.decode(heads)
        assert (best.text, best.score) == ("", pytest.approx(0.0, abs=1e-6))
    # one frame cannot hold two jamo: whatever is heard, the text is empty
    heads = {
        "grapheme": sure(LISTS["grapheme"], 2),
        "syllable": sure(LISTS["syllable"], 2),
    }
    (best,) = search.decode(heads)
    assert best.text == "" or combination == "mixture"
    assert math.isfinite(best.score)


def test_spaces_of_the_result_are_single():
    lists = {h: [*t[:-1], "<space>", t[-1]] for h, t in LISTS.items()}
    space = {h: t.index("<space>") for h, t in lists.items()}
    g, s = space["grapheme"], space["syllable"]
    heads = {
        "grapheme": sure(lists["grapheme"], g, 2, 4, g, 0, g, 3, 4, g),
        "syllable": sure(lists["syllable"], s, 2, 2, s, 0, s, 3, 3, s),
    }
    (best,) = JointSearch(lists, JointOptions(beam_size=6)).decode(heads)
    assert best.text == "가 나"
    ids = torch.tensor([[2, s, 3]])
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(heads["syllable"])[:, None], ids, [9], [3], reduction="sum"
    )
    assert best.scores["syllable"] == pytest.approx(-float(loss), rel=1e-4)


def test_one_search_serves_many_utterances(lists):
    search = JointSearch(lists, JointOptions(nbest=2))
    inputs = [example(lists, n, frames=40 + n, count=3).log_probs for n in range(3)]
    first = [search.decode(x) for x in inputs]
    assert [search.decode(x) for x in reversed(inputs)] == first[::-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.1}, "weight: 1.1; 0 to 1"),
        ({"weight": math.nan}, "weight: nan"),
        ({"combination": "sum"}, "combination: 'sum'"),
        ({"candidates": 0}, "candidates: 0"),
        ({"margin": -1.0}, "margin: -1.0"),
        ({"unk_penalty": -1.0}, "unk_penalty: -1.0"),
        ({"beam_size": 1000}, "beam_size: 1000"),
        ({"beam_size": 4, "nbest": 5}, "nbest: 5"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ConfigError, match=message):
        JointSearch(LISTS, JointOptions(**{"beam_size": 5, **options}))


def test_inputs_that_do_not_fit():
    search = JointSearch(LISTS, JointOptions(beam_size=5))
    heads = random_heads(4)
    with pytest.raises(DataError, match="frames of the heads"):
        search.decode({**heads, "syllable": heads["syllable"][:3]})
    with pytest.raises(DataError, match="same number, at least 1"):
        search.decode({head: values[:0] for head, values in heads.items()})
    with pytest.raises(ConfigError, match="syllable: posteriors of shape"):
        search.decode({**heads, "syllable": heads["syllable"][:, :4]})
    heads["grapheme"][1, 2] = math.nan
    with pytest.raises(DataError, match="NaN"):
        search.decode(heads)
