"""Searches and scores on arbitrary small posteriors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.ctc_forward import ctc_log_probabilities
from espnet2_dq.decode.merge import merge
from espnet2_dq.decode.prefix_search import PrefixSearchOptions, prefix_search
from espnet2_dq.decode.spelling import HeadSpelling
from espnet2_dq.text.hangul import normalise


@st.composite
def posteriors(draw):
    """``(T, V)`` float64, from flat to nearly sure."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(2, 6)))
    logits = draw(arrays(np.float64, shape, elements=st.floats(-20, 20)))
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@given(posteriors(), st.data())
def test_forward_is_ctc_loss(log_probs, data):
    tokens = st.integers(1, log_probs.shape[1] - 1)
    sequences = data.draw(st.lists(st.lists(tokens, max_size=14), max_size=8))
    found = ctc_log_probabilities(log_probs, sequences).tolist()
    expected = ctc_log_probs(torch.from_numpy(log_probs), sequences)
    assert found == pytest.approx(expected, abs=1e-6)


@given(posteriors(), st.integers(1, 30))
def test_search_scores_are_lower_bounds_of_distinct_sequences(log_probs, beam):
    found = prefix_search(log_probs, PrefixSearchOptions(beam))
    assert 1 <= len(found) <= beam
    sequences = [ids for ids, _ in found]
    assert len(set(sequences)) == len(sequences)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    exact = ctc_log_probabilities(log_probs, sequences)
    assert all(s <= e + 1e-6 for s, e in zip(scores, exact, strict=True))


scores = st.floats(-60, 0) | st.just(-math.inf)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), scores), max_size=6),
    st.lists(st.tuples(st.sampled_from("abcd"), scores), max_size=6),
    st.floats(0, 1),
    st.sampled_from(["sum", "max"]),
)
def test_merge_keeps_all_texts_in_order_without_nan(graphemes, syllables, weight, how):
    lists = {"grapheme": graphemes, "syllable": syllables}
    found = merge(lists, weight, variant=how)
    assert {h.text for h in found} == {text for x in lists.values() for text, _ in x}
    values = [h.score for h in found]
    assert not any(math.isnan(value) for value in values)
    assert values == sorted(values, reverse=True)


@given(st.text(alphabet="가각값힣ㅋㅠ aé1%", max_size=20))
def test_spelling_gives_the_text_back(text):
    text = normalise(text)
    jamo = ["ᄀ", "ᄒ", "ᅡ", "ᅵ", "ᆨ", "ᆹ", "ᇂ"]
    rest = ["<blank>", "<space>", "ㅋ", "ㅠ", "a", "é", "1", "%"]
    for head, tokens in [
        ("grapheme", [*rest, *jamo]),
        ("syllable", [*rest, *"가각값힣"]),
    ]:
        spelling = HeadSpelling(head, tokens)
        ids = spelling.ids(text)
        assert spelling.wildcard not in ids
        assert spelling.text(ids) == text
