"""Korean text as two token streams: syllables, and graphemes (jamo).

A text is normalised to NFC once, at the boundary. Its *syllable* tokens are its code
points; its *grapheme* tokens are the same, but with each Hangul syllable
(U+AC00..U+D7A3) replaced by its conjoining jamo: an initial (U+1100..), a medial
(U+1161..) and perhaps a final (U+11A8..). The space is ``<space>`` in both.

Only Hangul syllables are decomposed. NFKD, which K-wav2vec uses, also maps the
compatibility jamo of ``ㅋㅋ`` (U+314B) to conjoining ones, which NFC does not bring
back: such a text would never compare equal in the two streams (METHODS 7.5, trap T17).
Here compatibility jamo, digits and Latin letters are tokens of their own in both
streams. Decomposition is canonical, hence composing graphemes is NFC and gives back
every normalised text, orphan conjoining jamo included: these stay the code points
that they are, in both streams.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable

from espnet2_dq.text.characters import join_characters, split_characters

_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"  # U+AC00 and U+D7A3
# Unicode's blocks: conjoining jamo and both extensions, compatibility and half-width
# jamo, syllables.
_HANGUL = re.compile(
    "[\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa1-\uffdc]"
)


def normalise(text: str) -> str:
    """NFC with single spaces, none at the ends; the only form that the rest expects.

    >>> normalise(" 가  나 ")
    '가 나'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_syllable(character: str) -> bool:
    """Whether a token is one of the 11,172 Hangul syllables.

    >>> [is_syllable(c) for c in ("가", "ㅋ", "<space>")]
    [True, False, False]
    """
    return len(character) == 1 and _FIRST_SYLLABLE <= character <= _LAST_SYLLABLE


def has_hangul(text: str) -> bool:
    """Whether a text holds a Korean letter: a syllable or jamo of any kind.

    >>> [has_hangul(text) for text in ("TV 봐", "ㅋㅋ", "TV 70%")]
    [True, True, False]
    """
    return _HANGUL.search(text) is not None


def syllables(text: str) -> list[str]:
    """Syllable tokens of a text, which is normalised first.

    >>> syllables("값 ㅋ1")
    ['값', '<space>', 'ㅋ', '1']
    """
    return split_characters(normalise(text))


@functools.lru_cache(maxsize=None)  # noqa: UP033  (says that it is unbounded)
def spell(syllable: str) -> tuple[str, ...]:
    """Grapheme tokens of one syllable token; other tokens spell themselves.

    >>> [hex(ord(jamo)) for jamo in spell("값")], spell("<space>")
    (['0x1100', '0x1161', '0x11b9'], ('<space>',))
    """
    if is_syllable(syllable):
        return tuple(unicodedata.normalize("NFD", syllable))
    return (syllable,)


def graphemes(text: str) -> list[str]:
    """Grapheme tokens of a text, which is normalised first.

    >>> len(graphemes("값 ㅋ1"))
    6
    """
    return [jamo for syllable in syllables(text) for jamo in spell(syllable)]


def compose(tokens: Iterable[str]) -> str:
    """The normalised text of grapheme tokens, in any order and number.

    ``compose(graphemes(text)) == normalise(text)``. Jamo that do not make a syllable
    stay as they are. Tokens such as ``<unk>`` are written out: leave them out before.

    >>> compose(["ᄀ", "ᅡ", "<space>", "ᄀ", "ᅡ", "ᆹ", "<space>"])
    '가 값'
    """
    return normalise(join_characters(list(tokens)))


def join_syllables(tokens: Iterable[str]) -> str:
    """The normalised text of syllable tokens; see :func:`compose`.

    >>> join_syllables(["<space>", "가", "<space>", "값"])
    '가 값'
    """
    return normalise(join_characters(list(tokens)))
