"""Characters: lower case, NFC, no punctuation, only letters of the language."""

import unicodedata

from espnet2_dq.errors import DataError
from espnet2_dq.text.alphabets import foreign_characters, plain_apostrophes

SPACE = "<space>"
# Marks of Unicode's punctuation classes that readers speak: not to be dropped.
_SPOKEN_MARKS = frozenset("%&@#*/\\‰§†‡_")


class TextRejected(DataError):
    """A transcript that cannot be written in units; ``reason`` is ``kind: detail``."""

    def __init__(self, reason: str) -> None:
        """Keep the reason for ``reject.tsv``."""
        super().__init__(reason)
        self.reason = reason


def normalise_text(text: str, language: str) -> str:
    """Lower-case words with single spaces; apostrophes only inside words.

    >>> normalise_text("L’été, c'est « fini » — n'est-ce pas ?", "fr")
    "l'été c'est fini n'est ce pas"

    Args:
        text: A transcript as written.
        language: ISO 639 code; its letters are in ``text/alphabets.py``. A language
            without a table accepts every letter.

    Raises:
        TextRejected: Nothing is left, or characters (digits, signs that are spoken,
            letters of other languages) that the language's alphabet lacks.
    """
    text = plain_apostrophes(unicodedata.normalize("NFC", text).lower())
    words = [word.strip("'") for word in "".join(map(_open_up, text)).split()]
    words = [word for word in words if word]
    if not words:
        raise TextRejected("empty transcript: no letters")
    strange = foreign_characters("".join(words), language)
    if strange:
        shown = " ".join(f"{c!r} (U+{ord(c):04X})" for c in strange[:5])
        raise TextRejected(f"foreign characters: {shown} not in '{language}'")
    return " ".join(words)


def _open_up(character: str) -> str:
    """Punctuation parts words (a space); invisible format marks vanish."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    punctuation = category[0] == "P" and character not in _SPOKEN_MARKS
    return " " if punctuation and character != "'" else character


def split_characters(text: str) -> list[str]:
    """Tokens of a normalised text.

    >>> split_characters("où est")
    ['o', 'ù', '<space>', 'e', 's', 't']
    """
    return [SPACE if c == " " else c for c in text]


def join_characters(tokens: list[str]) -> str:
    """The text of tokens; the inverse of :func:`split_characters`."""
    return "".join(" " if token == SPACE else token for token in tokens)
