"""Letters of each language, and the few marks that a word may hold."""

import unicodedata

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"

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

# Typographic variants of the apostrophe, all written U+0027 in our texts.
APOSTROPHES = "'’ʼ‘`´′"


def foreign_characters(word: str, language: str) -> str:
    """Characters of a lower-case ``word`` that ``language`` does not write.

    A language without a table accepts every Unicode letter and combining mark.
    """
    letters = LETTERS.get(language)
    if letters is not None:
        return "".join(sorted({c for c in word if c not in letters and c != "'"}))
    return "".join(
        sorted({c for c in word if unicodedata.category(c)[0] not in "LM" and c != "'"})
    )
