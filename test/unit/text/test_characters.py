"""Characters: what is dropped, what is kept, what is refused."""

import pytest

from espnet2_dq.text.alphabets import LETTERS, foreign_characters
from espnet2_dq.text.characters import (
    TextRejected,
    join_characters,
    normalise_text,
    split_characters,
)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("L’Été, c'est «fini».", "fr", "l'été c'est fini"),
        ("'Quoted' words", "en", "quoted words"),
        ("Où est-ce ?", "fr", "où est ce"),
        ("¿Qué   tal? ¡Niño!", "es", "qué tal niño"),
        ("Бул ЖАҢЫ үй", "ky", "бул жаңы үй"),
        ("soft\u00adhyphen\u200b", "en", "softhyphen"),
        ("e\u0301te\u0301", "fr", "été"),
        ("naïve — dash", "fr", "naïve dash"),
        ("한국어 좋아", "ko", "한국어 좋아"),
    ],
)
def test_normalise(text: str, language: str, expected: str) -> None:
    assert normalise_text(text, language) == expected


@pytest.mark.parametrize(
    ("text", "language", "message"),
    [
        ("", "en", "empty transcript"),
        ("... — '", "en", "empty transcript"),
        ("room 25", "en", r"foreign characters: '2' \(U\+0032\).*not in 'en'"),
        ("50 %", "de", "'%'"),
        ("R&B", "en", "'&'"),
        ("strasse ß", "en", "'ß'"),
        ("слово word", "ru", "'d'"),
        ("їжак", "ru", "U\\+0457"),
    ],
)
def test_rejects(text: str, language: str, message: str) -> None:
    with pytest.raises(TextRejected, match=message):
        normalise_text(text, language)


def test_alphabets_are_lower_case_nfc_letters() -> None:
    assert sorted(LETTERS) == ["en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt"]
    for language, letters in LETTERS.items():
        assert all(len(c) == 1 and c.isalpha() and c == c.lower() for c in letters)
        assert not foreign_characters("".join(letters), language)


def test_space_token() -> None:
    tokens = split_characters("où est")
    assert tokens == ["o", "ù", "<space>", "e", "s", "t"]
    assert join_characters(tokens) == "où est"
