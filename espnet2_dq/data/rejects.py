"""Reasons why utterances are left out, counted and bounded.

A reason is ``kind: detail``. The kind ``excluded`` marks what the user's own choice
leaves out (a speaker shared between splits, a clip that a release lacks); it is
listed but is no fault of the corpus.
"""

from collections import Counter
from collections.abc import Sequence

from espnet2_dq.errors import DataError

EXCLUDED = "excluded"
Reject = tuple[str, str]


def kind_of(reason: str) -> str:
    """The kind of a reason.

    >>> kind_of("truncated: 10 of 20 bytes")
    'truncated'
    """
    return reason.partition(":")[0]


def count_kinds(rejects: Sequence[Reject]) -> dict[str, int]:
    """How many rejects there are of each kind, the most frequent first."""
    return dict(Counter(kind_of(reason) for _, reason in rejects).most_common())


def faults(rejects: Sequence[Reject]) -> list[Reject]:
    """Rejects that are the corpus' fault, not the user's choice."""
    return [reject for reject in rejects if kind_of(reject[1]) != EXCLUDED]


def format_kinds(rejects: Sequence[Reject]) -> str:
    """Counts in one line, as ``3 truncated, 1 missing file``."""
    return ", ".join(f"{n} {kind}" for kind, n in count_kinds(rejects).items())


def require_few_rejects(
    name: str, kept: int, rejects: Sequence[Reject], max_ratio: float, listed_in: str
) -> None:
    """Stop when more than ``max_ratio`` of the utterances are faulty.

    Raises:
        DataError: With counts by kind, the first five, and what to do.
    """
    bad = faults(rejects)
    total = kept + len(bad)
    if not bad or len(bad) <= max_ratio * total:
        return
    first = "\n".join(f"  {utt}: {reason}" for utt, reason in bad[:5])
    raise DataError(
        f"{name}: {len(bad)} of {total} utterances are rejected "
        f"({len(bad) / total:.1%}, allowed {max_ratio:.1%}): {format_kinds(bad)}.\n"
        f"{first}\nAll are listed in {listed_in}. Repair the corpus, or accept the "
        f"loss with --max_reject_ratio {min(1.0, len(bad) / total + 0.001):.3f}"
    )
