"""Korean text of any shape."""

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from espnet2_dq.data.text_encoding import decode_korean
from espnet2_dq.text.hangul import (
    compose,
    graphemes,
    has_hangul,
    join_syllables,
    normalise,
    spell,
    syllables,
)
from espnet2_dq.text.kspon_transcription import (
    RULES,
    TextRejected,
    clean_plain,
    clean_transcription,
)

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
jamo = st.text(
    st.characters(min_codepoint=0x1100, max_codepoint=0x11FF)
    | st.sampled_from("가각힣ㅋㅠ a%\u0301\u200d\ua960\ud7b0\ud7cb"),
    max_size=12,
)
korean = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1)
lines = st.text(st.sampled_from("가각ㅋ ob/()#%?.,+*\tTv7（％"), max_size=30)


@given(st.one_of(anything, jamo))
@example("\u1100\u1161\u11a7")
@example("가\u11a8")
@example("a\u0301 \u0301")
def test_both_streams_give_the_text_back(text):
    clean = normalise(text)
    assert normalise(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert compose(graphemes(text)) == clean
    assert join_syllables(syllables(text)) == clean
    spelled = [letter for token in syllables(text) for letter in spell(token)]
    assert spelled == graphemes(text)
    assert not any("가" <= token <= "힣" for token in graphemes(text))


@given(st.lists(st.one_of(jamo.filter(bool).map(lambda t: t[0]), st.just("<space>"))))
def test_whatever_a_head_writes_becomes_a_normalised_text(tokens):
    tokens = [t if t.strip() else "<space>" for t in tokens]
    text = compose(tokens)
    assert normalise(text) == text
    assert compose(graphemes(text)) == text


def cleaned(rule):
    """The text, or the reason why there is none."""
    try:
        return rule(), ""
    except TextRejected as rejected:
        return "", rejected.reason


@given(st.one_of(anything, lines), st.sampled_from(RULES))
def test_a_line_is_clean_or_rejected_with_a_kind(line, rule):
    text, reason = cleaned(lambda: clean_transcription(line, rule))
    if reason:
        kinds = "empty transcript|non-Korean text|unbalanced brackets"
        assert re.match(f"({kinds}|unreadable percent): .", reason)
        return
    assert has_hangul(text)
    assert normalise(text) == text == text.upper()
    assert not set(text) & set("()/?.,+*#")
    assert clean_transcription(text, "orthographic") == text


@given(st.one_of(anything, lines))
def test_plain_rule(line):
    text, reason = cleaned(lambda: clean_plain(line))
    if reason:
        assert re.match(r"(empty transcript|non-Korean text): .", reason)
        return
    assert normalise(text) == text
    assert has_hangul(text)


words = st.text(st.sampled_from("가나뷁ㅋ7T"), min_size=1, max_size=4)
parts = st.one_of(
    words.map(lambda w: (w, w, w)),
    st.tuples(words, words).map(lambda p: (f"({p[0]})/({p[1]})", *p)),
    st.sampled_from(["o/", "n/", "u/", "b/", "l/", "?", "...", "+"]).map(
        lambda mark: (mark, "", "")
    ),
)


@given(st.lists(parts, max_size=8))
def test_the_reading_is_that_of_the_parts(pieces):
    """A line built of parts whose two readings are known."""
    line = " ".join(written for written, _, _ in [*pieces, ("끝", "", "")])
    for rule, column in (("orthographic", 1), ("phonetic", 2)):
        expected = [piece[column] for piece in pieces if piece[column]] + ["끝"]
        assert clean_transcription(line, rule) == " ".join(expected)


@given(korean, st.sampled_from(["utf-8", "utf-8-sig", "cp949"]))
def test_korean_is_read_in_either_encoding(text, encoding):
    assert decode_korean(text.encode(encoding), "x") == text
