"""Readable alignments of hypotheses with references, one block per utterance."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

_EVAL = {"equal": "", "replace": "S", "delete": "D", "insert": "I"}
_GAP = "*"


@dataclass(frozen=True)
class AlignedPair:
    """One column of an alignment.

    Attributes:
        operation: ``equal``, ``replace``, ``delete`` or ``insert``.
        reference: Reference token; None for an insertion.
        hypothesis: Hypothesis token; None for a deletion.
    """

    operation: str
    reference: str | None
    hypothesis: str | None


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[AlignedPair]:
    """Align with the fewest errors; the same alignment that ``count_errors`` counts.

    >>> [pair.operation for pair in align("abc", "acd")]
    ['equal', 'delete', 'equal', 'insert']
    """
    pairs = []
    for code in Levenshtein.opcodes(list(reference), list(hypothesis)):
        left = reference[code.src_start : code.src_end]
        right = hypothesis[code.dest_start : code.dest_end]
        for i in range(max(len(left), len(right))):
            pairs.append(
                AlignedPair(
                    code.tag,
                    left[i] if i < len(left) else None,
                    right[i] if i < len(right) else None,
                )
            )
    return pairs


def text_width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: combining marks 0, wide letters 2.

    >>> text_width("ɑ̃"), text_width("한")
    (1, 2)
    """
    width = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
            continue
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return width


def format_alignment(
    utt: str, lang: str, reference: Sequence[str], hypothesis: Sequence[str]
) -> list[str]:
    """Lines ``id:``, ``Scores:``, ``REF:``, ``HYP:`` and ``Eval:`` of one utterance.

    Substituted tokens stand below each other; ``*`` marks a gap.
    """
    rows: tuple[list[str], list[str], list[str]] = ([], [], [])
    counts = dict.fromkeys(_EVAL, 0)
    for pair in align(reference, hypothesis):
        counts[pair.operation] += 1
        cells = (
            _GAP if pair.reference is None else pair.reference,
            _GAP if pair.hypothesis is None else pair.hypothesis,
            _EVAL[pair.operation],
        )
        width = max(text_width(cell) for cell in cells)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell + " " * (width - text_width(cell)))
    return [
        f"id: {utt}  language: {lang}",
        f"Scores: (#C #S #D #I) {' '.join(str(n) for n in counts.values())}",
        *(
            f"{name:<6}{' '.join(row)}".rstrip()
            for name, row in zip(("REF:", "HYP:", "Eval:"), rows, strict=True)
        ),
        "",
    ]


def alignment_lines(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    utt2lang: Mapping[str, str],
) -> Iterator[str]:
    """Blocks of all utterances in sorted order, ready for ``alignments.txt``."""
    for utt in sorted(references):
        yield from format_alignment(
            utt, utt2lang[utt], references[utt], hypotheses[utt]
        )
