"""Times of the syllables and words of a decoded Korean text.

The best alignment of the text under the syllable head gives them, or, where that head
cannot emit the text, under the grapheme head: a syllable then lasts from its first to
its last grapheme. A word lasts from its first to its last syllable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.alignment import viterbi_spans
from espnet2_dq.decode.hypothesis import TokenSpan
from espnet2_dq.decode.spelling import GRAPHEME, SYLLABLE, HeadSpelling
from espnet2_dq.errors import DataError
from espnet2_dq.text.hangul import spell


@dataclass(frozen=True)
class TimedText:
    """A text with the frames in which its parts are emitted.

    Attributes:
        head: Whose alignment it is.
        syllables: Characters, spaces left out, and their spans.
        words: Words and their spans. A span's score is that of its surest frame: of
            any part of it.
    """

    head: str
    syllables: tuple[tuple[str, TokenSpan], ...]
    words: tuple[tuple[str, TokenSpan], ...]


def time_text(
    text: str,
    log_probs: Mapping[str, np.ndarray],
    spellings: Mapping[str, HeadSpelling],
) -> TimedText:
    """Align a text.

    Args:
        text: Normalised; may be empty.
        log_probs: Head -> ``(T, V)`` natural logarithms.
        spellings: Head -> its spelling.

    Raises:
        DataError: No head can emit the text.
    """
    for head in (SYLLABLE, GRAPHEME):
        if head not in spellings:
            continue
        spans = _head_spans(text, log_probs[head], spellings[head])
        if spans is not None:
            characters = [(c, span) for c, span in zip(text, spans, strict=True)]
            return TimedText(
                head,
                tuple((c, span) for c, span in characters if c != " "),
                _words(characters),
            )
    raise DataError(
        f"no head of {', '.join(spellings)} can emit {text!r}: tokens are missing, or "
        "the sound has too few frames"
    )


def _head_spans(
    text: str, log_probs: np.ndarray, spelling: HeadSpelling
) -> list[TokenSpan] | None:
    """A span per character; None where this head cannot emit the text."""
    ids = spelling.ids(text)
    if spelling.wildcard in ids:
        return None
    try:
        spans = viterbi_spans(log_probs, ids)
    except ValueError:  # too few frames
        return None
    if spelling.head == SYLLABLE:
        return list(spans)
    result, used = [], 0
    for character in text:
        count = len(spell(character))
        result.append(_union(spans[used : used + count]))
        used += count
    return result


def _union(spans: Sequence[TokenSpan]) -> TokenSpan:
    """From the first to the last, with the score of the surest."""
    return TokenSpan(spans[0].start, spans[-1].end, max(span.score for span in spans))


def _words(
    characters: Sequence[tuple[str, TokenSpan]],
) -> tuple[tuple[str, TokenSpan], ...]:
    words = []
    start = 0
    for i in range(len(characters) + 1):
        if i < len(characters) and characters[i][0] != " ":
            continue
        if i > start:
            part = characters[start:i]
            word = "".join(character for character, _ in part)
            words.append((word, _union([span for _, span in part])))
        start = i + 1
    return tuple(words)
