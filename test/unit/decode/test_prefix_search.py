"""Prefix beam search: brute force, pyctcdecode's recorded lists, bad input."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from korean_posteriors import RECORDED, recorded_example, recorded_token_lists
from lattices import all_sequences, random_log_probs

from espnet2_dq.decode.prefix_search import PrefixSearchOptions, prefix_search
from espnet2_dq.errors import ConfigError, DataError

RECORDED_LISTS = Path(__file__).parents[2] / "data" / "pyctcdecode.json"
EVERYTHING = PrefixSearchOptions(beam_size=5000, beam_logp=-np.inf, token_logp=-np.inf)


def without_extra_spaces(ids, space):
    """Spaces at the ends and repeated ones do not count."""
    kept = []
    for token in ids:
        if token != space or (kept and kept[-1] != space):
            kept.append(token)
    return tuple(kept[:-1] if kept and kept[-1] == space else kept)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("space", [None, 2])
def test_without_pruning_it_sums_all_paths(seed, space):
    log_probs = random_log_probs(5, 4, seed=seed)
    expected = {}
    for ids, probability in all_sequences(log_probs).items():
        key = ids if space is None else without_extra_spaces(ids, space)
        expected[key] = expected.get(key, 0.0) + probability
    found = prefix_search(log_probs.numpy(), EVERYTHING, space=space)
    assert len(found) == len(expected) > 20
    assert {ids: math.exp(score) for ids, score in found} == pytest.approx(expected)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


@pytest.mark.parametrize("number", range(RECORDED))
def test_lists_are_pyctcdecodes(number):
    lists, example = recorded_token_lists(), recorded_example(number)
    rows = [
        row
        for row in json.loads(RECORDED_LISTS.read_text(encoding="utf-8"))
        if row["example"] == number
    ]
    assert len(rows) == 6  # two heads, three beams
    for row in rows:
        head = row["head"]
        found = prefix_search(
            example.log_probs[head],
            PrefixSearchOptions(row["beam"]),
            space=lists[head].index("<space>"),
        )
        assert [list(ids) for ids, _ in found] == row["ids"]
        assert [s for _, s in found] == pytest.approx(row["logit_score"], abs=1e-4)


def test_recorded_lists_hold_the_hard_cases():
    rows = json.loads(RECORDED_LISTS.read_text(encoding="utf-8"))
    assert any(len(row["ids"]) == row["beam"] for row in rows)
    assert any(len(row["ids"]) < row["beam"] for row in rows)
    repeated = [ids for row in rows for ids in row["ids"] if _has_repetition(ids)]
    assert repeated


def _has_repetition(ids):
    return any(a == b for a, b in zip(ids, ids[1:], strict=False))


def test_lists_are_the_packages_own():
    pyctcdecode = pytest.importorskip("pyctcdecode")
    tokens = ["", " ", *"abcdefgh"]
    decoder = pyctcdecode.build_ctcdecoder(tokens)
    for seed in range(20):
        log_probs = random_log_probs(30, 10, seed=seed, blank_bonus=1.0).numpy()
        theirs = decoder.decode_beams(log_probs, beam_width=20)
        ours = prefix_search(log_probs, PrefixSearchOptions(20), space=1)
        texts = ["".join(tokens[i] for i in ids) for ids, _ in ours]
        assert texts == [hypothesis[0] for hypothesis in theirs]


def test_scores_are_lower_bounds_that_grow_with_the_beam():
    log_probs = recorded_example(4).log_probs["syllable"]
    best = None
    for beam in (1, 3, 20, 100):
        scores = dict(prefix_search(log_probs, PrefixSearchOptions(beam)))
        if best is not None and best[0] in scores:
            assert scores[best[0]] >= best[1] - 1e-9
        best = max(scores.items(), key=lambda item: item[1])


def test_float32_gives_the_same():
    log_probs = recorded_example(0).log_probs["grapheme"]
    exact = prefix_search(log_probs)
    rounded = prefix_search(log_probs.astype(np.float32))
    assert [ids for ids, _ in rounded[:5]] == [ids for ids, _ in exact[:5]]
    assert rounded[0][1] == pytest.approx(exact[0][1], abs=1e-4)


def test_forbidden_tokens_never_occur():
    log_probs = random_log_probs(6, 4, seed=3).numpy()
    log_probs[2, 1] = log_probs[2].max() + 1.0  # even where one is the best
    log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    found = prefix_search(log_probs, EVERYTHING, forbidden=[1])
    assert len(found) > 5
    assert not any(1 in ids for ids, _ in found)
    expected = all_sequences(_torch(log_probs), never=(1,))
    assert {ids: math.exp(s) for ids, s in found} == pytest.approx(expected)


def _torch(array):
    import torch

    return torch.from_numpy(array)


def test_one_frame():
    log_probs = np.log([[0.2, 0.5, 0.3]])
    found = prefix_search(log_probs)
    assert [ids for ids, _ in found] == [(1,), (2,), ()]
    assert [math.exp(s) for _, s in found] == pytest.approx([0.5, 0.3, 0.2])


def test_flat_posteriors_keep_the_best_token_of_each_frame():
    log_probs = np.full((4, 1000), -np.log(1000.0))
    log_probs[:, 7] += 1e-3  # all are below -5
    log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    assert [ids for ids, _ in prefix_search(log_probs)] == [(7,)]


def test_impossible_frames_are_clipped():
    log_probs = np.full((3, 4), -np.inf)
    log_probs[:, 0] = 0.0
    log_probs[1] = -np.inf
    (best,) = prefix_search(log_probs)
    assert best[1] == pytest.approx(math.log(1e-15))


def test_long_utterances_do_not_underflow():
    log_probs = np.tile(np.log([[0.4, 0.3, 0.3]]), (3000, 1))
    found = prefix_search(log_probs, PrefixSearchOptions(5))
    assert all(math.isfinite(score) and score < -700 for _, score in found)


def test_ties_fit_into_the_beam():
    log_probs = np.log(np.full((1, 9), 1 / 9))
    assert len(prefix_search(log_probs, PrefixSearchOptions(4))) == 4


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros((0, 4)), "at least one frame"),
        (np.zeros((3, 1)), "a blank and a token"),
        (np.full((2, 3), np.nan), "NaN in 2 of 2 frames"),
        (np.array([[0.2, 0.5, 0.3]]), "neither probabilities nor logits"),
    ],
)
def test_bad_posteriors_are_told(log_probs, message):
    with pytest.raises(DataError, match=message):
        prefix_search(log_probs)


@pytest.mark.parametrize(
    "values", [{"beam_size": 0}, {"beam_logp": 1.0}, {"token_logp": math.nan}]
)
def test_bad_options_are_told(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        PrefixSearchOptions(**values)


def test_input_is_not_changed():
    log_probs = recorded_example(1).log_probs["syllable"]
    before = log_probs.copy()
    prefix_search(log_probs)
    assert np.array_equal(before, log_probs)
