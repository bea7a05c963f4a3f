"""Spacing of hypotheses made that of the reference, for sWER.

Korean writers disagree on where spaces go, so WER is also given with the hypothesis
spaced as the reference. Two definitions are in use, and they differ (METHODS 7.7):

* K-wav2vec aligns the two strings with the space as an ordinary character. Spaces
  that the alignment inserts go, those that it deletes come; so a space costs as much
  as a letter, and may be aligned with one.
* KsponSpeech's authors, and ESPnet after them, attach the space to the character that
  follows. Only characters are aligned, and one that is recognised takes the spacing of
  its partner.

Both walk back through the same table with the same preferences, which rapidfuzz's
alignment does not have; hence a table of our own.
"""

import math
from collections.abc import Sequence

Pair = tuple[int | None, int | None]


def kwav2vec_spacing(reference: str, hypothesis: str) -> str:
    """Respace a hypothesis as K-wav2vec does.

    >>> kwav2vec_spacing("그건", "그 거 는"), kwav2vec_spacing("가다나", "가 나")
    ('그거는', '가 나')

    Args:
        reference: Normalised text (NFC, single spaces).
        hypothesis: Normalised text.

    Returns:
        The hypothesis with other spaces.
    """
    letters = []
    for i, j in align_backwards(reference, hypothesis):
        if j is None:
            letters.append(" " if i is not None and reference[i] == " " else "")
        elif i is not None or hypothesis[j] != " ":
            letters.append(hypothesis[j])
    return " ".join("".join(letters).split())


def ksponspeech_spacing(reference: str, hypothesis: str) -> str:
    """Respace a hypothesis as KsponSpeech's authors and ESPnet do.

    >>> ksponspeech_spacing("그건", "그 거 는"), ksponspeech_spacing("가다나", "가 나")
    ('그 거 는', '가나')

    Args:
        reference: Normalised text (NFC, single spaces).
        hypothesis: Normalised text.

    Returns:
        The hypothesis with other spaces.
    """
    theirs, ours = _attach_spaces(reference), _attach_spaces(hypothesis)
    pairs = align_backwards([c for _, c in theirs], [c for _, c in ours])
    spaced = []
    for i, j in pairs:
        if j is None:
            continue
        spaces, character = ours[j]
        if i is not None and theirs[i][1] == character:
            spaces = theirs[i][0]
        spaced.append(spaces + character)
    return "".join(spaced).strip()


def _attach_spaces(text: str) -> list[tuple[str, str]]:
    """Characters with what stands before them; a text begins with a space.

    >>> _attach_spaces("가 나다")
    [(' ', '가'), (' ', '나'), ('', '다')]
    """
    before = " " + text
    return [
        (" " if before[i] == " " else "", character)
        for i, character in enumerate(text)
        if character != " "
    ]


def align_backwards(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """Align with the fewest errors, choosing from the end.

    A match or substitution is taken where it is as good as the rest; else a deletion,
    unless an insertion is strictly better. This is the order of Kaldi's
    ``align-text``, from which both definitions come.

    >>> align_backwards("ab", "b")
    [(0, None), (1, 0)]

    Returns:
        Pairs of positions in both, in order; None: nothing there.
    """
    table = _edit_table(reference, hypothesis)
    i, j = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while i or j:
        deletion = table[i - 1][j] + 1 if i else math.inf
        insertion = table[i][j - 1] + 1 if j else math.inf
        if i and j:
            changed = reference[i - 1] != hypothesis[j - 1]
            if table[i - 1][j - 1] + changed <= min(deletion, insertion):
                i, j = i - 1, j - 1
                pairs.append((i, j))
                continue
        if i and deletion <= insertion:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _edit_table(reference: Sequence[str], hypothesis: Sequence[str]) -> list[list[int]]:
    """Edit distance of all beginnings: ``table[i][j]``."""
    table = [list(range(len(hypothesis) + 1))]
    for i, expected in enumerate(reference, start=1):
        above, left = table[-1], i
        row = [left]
        for j, found in enumerate(hypothesis):
            best = above[j] + (expected != found)
            if above[j + 1] < best:
                best = above[j + 1] + 1
            if left < best:
                best = left + 1
            row.append(best)
            left = best
        table.append(row)
    return table
