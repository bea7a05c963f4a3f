"""Hangul in both streams."""

import unicodedata

import jamo
import pytest

from espnet2_dq.text.hangul import (
    compose,
    graphemes,
    has_hangul,
    is_syllable,
    join_syllables,
    normalise,
    spell,
    syllables,
)

ALL = [chr(code) for code in range(0xAC00, 0xD7A4)]


def test_all_syllables_there_and_back() -> None:
    assert len(ALL) == 11172
    spelled = {syllable: spell(syllable) for syllable in ALL}
    assert len(set(spelled.values())) == 11172
    assert len({letter for letters in spelled.values() for letter in letters}) == 67
    assert all(compose(letters) == syllable for syllable, letters in spelled.items())
    assert all(is_syllable(syllable) for syllable in ALL)
    assert compose(graphemes("".join(ALL))) == "".join(ALL)


def test_spelling_is_that_of_the_package_jamo_and_of_the_index() -> None:
    for index, syllable in enumerate(ALL):
        letters = spell(syllable)
        assert "".join(letters) == jamo.h2j(syllable)
        parts = [ord(letter) for letter in letters]
        final = parts[2] - 0x11A7 if len(parts) == 3 else 0
        initial, medial = parts[0] - 0x1100, parts[1] - 0x1161
        assert (initial * 21 + medial) * 28 + final == index


def test_both_streams_of_a_mixed_text() -> None:
    text = " 값이  70% TV ㅋㅠ "
    rest = ["<space>", "7", "0", "%", "<space>", "T", "V", "<space>", "ㅋ", "ㅠ"]
    assert syllables(text) == ["값", "이", *rest]
    assert graphemes(text) == ["ᄀ", "ᅡ", "ᆹ", "ᄋ", "ᅵ", *rest]
    assert (
        compose(graphemes(text)) == join_syllables(syllables(text)) == normalise(text)
    )


def test_compatibility_jamo_stay_where_nfkd_would_lose_them() -> None:
    assert unicodedata.normalize("NFC", unicodedata.normalize("NFKD", "ㅋㅋ")) != "ㅋㅋ"
    assert graphemes("ㅋㅋ") == syllables("ㅋㅋ") == ["ㅋ", "ㅋ"]
    assert compose(graphemes("가ㄱㅏ")) == "가ㄱㅏ"


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        ("ᄀ", "ᄀ"),  # an initial alone
        ("ᅡᄀ", "ᅡᄀ"),
        ("ᆨ가", "ᆨ가"),  # a final alone
        ("ᄀ가", "ᄀ가"),
        ("각ᆨ", "각ᆨ"),
        ("각", "각"),  # what a head of syllables and jamo might write
        ("ᄓᅡ", "ᄓᅡ"),  # an initial of old Korean
    ],
)
def test_orphan_jamo_stay_and_others_compose(letters: str, text: str) -> None:
    assert compose(list(letters)) == text
    assert compose(graphemes(text)) == text
    assert join_syllables(syllables(text)) == text


def test_decomposed_text_is_the_same_text() -> None:
    text = "한국어 값"
    assert normalise(unicodedata.normalize("NFD", text)) == text
    assert syllables(unicodedata.normalize("NFD", text)) == syllables(text)


def test_spaces_of_a_head_are_squeezed() -> None:
    assert compose(["<space>", "<space>", "ᄀ", "ᅡ", "<space>", "<space>"]) == "가"
    assert join_syllables(["<space>", "가", "<space>", "<space>", "나"]) == "가 나"


@pytest.mark.parametrize("letter", ["가", "ㅋ", "ㄳ", "ᄀ", "ᅡ", "ᆨ", "ﾡ", "ꥠ", "ힰ"])
def test_korean_letters(letter: str) -> None:
    assert unicodedata.name(letter).startswith(("HANGUL", "HALFWIDTH HANGUL"))
    assert has_hangul(f"TV {letter}")


@pytest.mark.parametrize("text", ["", "TV 70%", "漢字", "かな", "、。「」", "é"])
def test_other_letters(text: str) -> None:
    assert not has_hangul(text)
