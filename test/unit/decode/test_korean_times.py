import numpy as np
import pytest
from korean_posteriors import recorded_example, recorded_token_lists

from espnet2_dq.decode.hypothesis import TokenSpan
from espnet2_dq.decode.korean_times import time_text
from espnet2_dq.decode.spelling import spellings
from espnet2_dq.errors import DataError

SYLLABLES = ["<blank>", "<space>", "가", "나"]
GRAPHEMES = ["<blank>", "<space>", "ᄀ", "ᅡ", "ᄂ", "ᆨ"]
SPELLINGS = spellings({"grapheme": GRAPHEMES, "syllable": SYLLABLES})


def sure(path, tokens):
    """Posteriors of a path of tokens, ``-`` for the blank."""
    probs = np.full((len(path), len(tokens)), 0.01)
    for row, token in zip(probs, path, strict=True):
        row[0 if token == "-" else tokens.index(token)] = 0.9
    return np.log(probs / probs.sum(axis=1, keepdims=True))


LOG_PROBS = {
    "syllable": sure(["-", "가", "가", "나", "<space>", "-", "가", "-"], SYLLABLES),
    "grapheme": sure(["ᄀ", "ᅡ", "ᄂ", "ᅡ", "<space>", "ᄀ", "-", "ᅡ"], GRAPHEMES),
}


def frames(parts):
    return [(part, span.start, span.end) for part, span in parts]


def test_syllables_and_words():
    found = time_text("가나 가", LOG_PROBS, SPELLINGS)
    assert found.head == "syllable"
    assert frames(found.syllables) == [("가", 1, 3), ("나", 3, 4), ("가", 6, 7)]
    assert frames(found.words) == [("가나", 1, 4), ("가", 6, 7)]
    assert found.words[0][1].score == max(s.score for _, s in found.syllables[:2])


def test_a_syllable_outside_the_list_is_timed_by_the_graphemes():
    log_probs = {
        **LOG_PROBS,
        "grapheme": sure(["-", "ᄀ", "ᅡ", "ᆨ", "<space>", "ᄀ", "-", "ᅡ"], GRAPHEMES),
    }
    found = time_text("각 가", log_probs, SPELLINGS)
    assert found.head == "grapheme"
    assert frames(found.syllables) == [("각", 1, 4), ("가", 5, 8)]
    assert frames(found.words) == [("각", 1, 4), ("가", 5, 8)]


def test_empty_text():
    found = time_text("", LOG_PROBS, SPELLINGS)
    assert (found.syllables, found.words) == ((), ())


@pytest.mark.parametrize("text", ["각ㅋ", "가가가가가"])
def test_what_no_head_can_emit_is_told(text):
    with pytest.raises(DataError, match="no head of grapheme, syllable can emit"):
        time_text(text, LOG_PROBS, SPELLINGS)


def test_one_head():
    found = time_text("나", LOG_PROBS, {"grapheme": SPELLINGS["grapheme"]})
    assert found.syllables[0][0] == "나"
    assert isinstance(found.syllables[0][1], TokenSpan)


@pytest.mark.parametrize("head", ["grapheme", "syllable"])
def test_parts_are_in_order_and_make_the_text(head):
    lists = recorded_token_lists()
    example = recorded_example(0)
    found = time_text(example.text, example.log_probs, spellings({head: lists[head]}))
    assert " ".join(word for word, _ in found.words) == example.text
    assert "".join(c for c, _ in found.syllables) == example.text.replace(" ", "")
    edges = [e for _, span in found.syllables for e in (span.start, span.end)]
    assert edges == sorted(edges)
