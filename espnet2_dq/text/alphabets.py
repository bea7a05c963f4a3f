"""Letters of each language, and the apostrophe in its many shapes."""

import unicodedata

from espnet2_dq.text.languages import base_language

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
_APOSTROPHES = dict.fromkeys(map(ord, "’ʼ‘`´′"), "'")

# Lower case, NFC. Letters of loan words that are common in print are included.
LETTERS: dict[str, frozenset[str]] = {
    "en": frozenset(_LATIN),
    "es": frozenset(_LATIN + "áéíñóúü"),
    "fr": frozenset(_LATIN + "àâæçèéêëîïôùûüÿœ"),
    "it": frozenset(_LATIN + "àèéìíîòóùú"),
    "ky": frozenset(_RUSSIAN + "ңөү"),
    "nl": frozenset(_LATIN + "áäèéêëíïóöúûü"),
    "ru": frozenset(_RUSSIAN),
    "sv": frozenset(_LATIN + "åäöàéèü"),
    "tt": frozenset(_RUSSIAN + "әөүҗңһ"),
}


def plain_apostrophes(text: str) -> str:
    """Write every apostrophe as U+0027."""
    return text.translate(_APOSTROPHES)


def foreign_characters(word: str, language: str) -> str:
    """Characters of a lower-case ``word`` that ``language`` does not write, sorted.

    A language without a table accepts every Unicode letter and combining mark. The
    apostrophe belongs to every language.

    >>> foreign_characters("straße", "en"), foreign_characters("straße", "de")
    ('ß', '')
    """
    letters = LETTERS.get(base_language(language))
    if letters is None:
        strange = {c for c in word if unicodedata.category(c)[0] not in "LM"}
    else:
        strange = set(word) - letters
    return "".join(sorted(strange - {"'"}))
