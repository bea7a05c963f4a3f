r"""Transcriptions of Korean corpora to the texts that models are trained on.

KsponSpeech writes numbers, foreign words and slips twice, as
``(orthographic)/(phonetic)``, and marks noises by letters: ``b/`` is a breath.
The rules are K-wav2vec's (METHODS 7.4), which take one of the two readings; error
rates under different rules do not compare (trap T22), so the name of the rule goes
into the data directory. Where K-wav2vec crashes (``%`` in the phonetic reading, trap
T19) or silently loses the rest of a line (brackets without a partner), the line is
rejected with a reason.

Other corpora have one reading only: :func:`clean_plain`.
"""

import re
import string
import unicodedata

from espnet2_dq.errors import ConfigError
from espnet2_dq.text.characters import TextRejected
from espnet2_dq.text.hangul import has_hangul, normalise

__all__ = ["PLAIN", "RULES", "TextRejected", "clean_plain", "clean_transcription"]

#: Rules of :func:`clean_transcription`; the first is K-wav2vec's.
RULES = ("orthographic", "phonetic")
#: Name of the rule of :func:`clean_plain`.
PLAIN = "plain"
#: What becomes of ``%`` in the phonetic reading of a file that is not in the table.
PERCENT = ("reject", "drop")

# Files whose phonetic reading has a '%', and what is said there.
_SPOKEN_PERCENT = {
    **dict.fromkeys(("087797", "215401", "284574", "397184", "581483"), "퍼센트"),
    **dict.fromkeys(("501006", "502173", "542363"), "프로"),
}
# Corpora have '(a)/(b)', and by mistake '(a) / (b)' and '(a)(b)'.
_DUAL = re.compile(r"\(([^()]*)\)\s*/?\s*\(([^()]*)\)")
# Overlap, noise, unknown words, breath, laughter: before letters become capitals.
_NOISE = re.compile("[onubl]/")
_DROPPED = frozenset(string.punctuation) - {"%"}
# Full-width ASCII, U+FF01..FF5E, as cp949 texts have it; half-width jamo follow it
# in Unicode and are left alone.
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def clean_transcription(
    transcription: str,
    rule: str = "orthographic",
    file_number: str = "",
    *,
    percent: str = "reject",
) -> str:
    """The text of one KsponSpeech transcription.

    One reading of each pair is kept, noise marks and punctuation vanish, ``#`` is
    written ``샾``, Latin letters become capitals; digits and ``%`` stay. Compatibility
    jamo (``ㅋㅋ``) stay as they are. Unlike K-wav2vec, all punctuation of Unicode is
    dropped, not only a list of 17 marks, and full-width ASCII becomes ASCII.

    >>> line = "(70%)/(칠 십 퍼센트) 확률이라니 b/ (뭐 뭔)/(모 몬) 소리야?"
    >>> clean_transcription(line)
    '70% 확률이라니 뭐 뭔 소리야'
    >>> clean_transcription(line, "phonetic")
    '칠 십 퍼센트 확률이라니 모 몬 소리야'

    Args:
        transcription: The text of a line, without the path.
        rule: One of ``RULES``: ``orthographic`` keeps the first reading of a pair,
            ``phonetic`` the second.
        file_number: Digits of the file's name (``087797``). The phonetic reading of
            eight files holds a ``%``, and the number says how it was spoken.
        percent: What becomes of another file's ``%`` under ``phonetic``: one of
            ``PERCENT``.

    Returns:
        The text, normalised (NFC, single spaces).

    Raises:
        TextRejected: Brackets without a partner, an unreadable ``%``, nothing left,
            or no Korean letter; ``reason`` is ``kind: detail``.
        ConfigError: An unknown ``rule`` or ``percent``.
    """
    _require_one_of("rule", rule, RULES)
    _require_one_of("percent", percent, PERCENT)
    text = normalise(transcription.translate(_FULL_WIDTH))
    text = _NOISE.sub("", _choose_readings(text, RULES.index(rule) + 1))
    if rule == "phonetic" and "%" in text:
        spoken = _SPOKEN_PERCENT.get(file_number)
        if spoken is None and percent == "reject":
            raise TextRejected(
                f"unreadable percent: '%' in the phonetic reading of {_shown(text)}"
            )
        text = text.replace("%", spoken or "")
    text = text.replace("#", "샾")
    text = "".join(character for character in text if not _is_dropped(character))
    return _finish(text, transcription)


def clean_plain(transcription: str) -> str:
    r"""The text of a transcription with one reading (ClovaCall, Kaldi directories).

    All but letters, digits, the underscore and blanks (``[^\w\s]``) vanishes, as
    K-wav2vec does for ClovaCall; Latin letters become capitals.

    >>> clean_plain("네, vip 룸 예약(2명)이요!")
    '네 VIP 룸 예약2명이요'

    Raises:
        TextRejected: Nothing left, or no Korean letter.
    """
    text = unicodedata.normalize("NFC", transcription.translate(_FULL_WIDTH))
    return _finish(re.sub(r"[^\w\s]", "", text), transcription)


def _choose_readings(text: str, reading: int) -> str:
    """One reading (1 or 2) of each pair; no bracket may be left over."""
    text = _DUAL.sub(lambda pair: pair[reading], text)
    left = re.search(r"[()]", text)
    if left is not None:
        raise TextRejected(
            f"unbalanced brackets: {left[0]!r} is not part of a pair of readings "
            f"'(...)/(...)' in {_shown(text[max(0, left.start() - 20) :])}"
        )
    return text


def _is_dropped(character: str) -> bool:
    """Punctuation and invisible marks; blanks are no marks."""
    if character in _DROPPED:
        return True
    category = unicodedata.category(character)
    return character != "%" and (
        category[0] == "P" or (category in ("Cc", "Cf") and not character.isspace())
    )


def _finish(text: str, transcription: str) -> str:
    """Capitals, single spaces; the text must be Korean."""
    text = normalise(text.upper())
    if not text:
        raise TextRejected(f"empty transcript: no letters in {_shown(transcription)}")
    if not has_hangul(text):
        raise TextRejected(f"non-Korean text: no Hangul in {_shown(transcription)}")
    return text


def _shown(text: str) -> str:
    """The beginning of a text, for a reason."""
    return repr(text[:40])


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} '{value}': expected one of {' '.join(allowed)}")
