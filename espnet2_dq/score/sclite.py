"""Check of our counts against NIST sclite, where it is on PATH.

sclite minimises 4 S + 3 D + 3 I, not S + D + I: with many errors its alignment can
have more errors than ours. What must agree exactly is the number of reference tokens
and that weighted sum, which no choice between equal alignments changes.
"""

import logging
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from espnet2_dq.errors import DataError
from espnet2_dq.score.error_rates import ErrorCounts

_DELETION, _INSERTION, _SUBSTITUTION = 3, 3, 4
_SUM = re.compile(r"\|\s*Sum\s*\|\s*(\d+)\s+(\d+)\s*\|((?:\s+\d+){6})\s*\|")


def find_sclite() -> str | None:
    """Path of sclite, or None where there is none."""
    return shutil.which("sclite")


def run_sclite(
    program: str, reference: Path, hypothesis: Path, report: Path
) -> ErrorCounts:
    """Score two ``.trn`` files.

    Args:
        program: Path of sclite.
        reference: Reference transcripts.
        hypothesis: Transcripts to score.
        report: Receives all that sclite prints: sums by speaker and alignments.

    Raises:
        DataError: sclite fails or prints no sum.
    """
    command = [program, "-r", str(reference), "trn", "-h", str(hypothesis), "trn"]
    # -s: without it, sclite takes a letter and its capital for the same token
    command += ["-i", "rm", "-s", "-e", "utf-8", "-o", "rsum", "pralign", "stdout"]
    done = subprocess.run(command, capture_output=True, check=False)
    output = done.stdout.decode("utf-8", errors="replace")
    report.write_text(output, encoding="utf-8")
    found = _SUM.search(output)
    if done.returncode != 0 or found is None:
        error = done.stderr.decode("utf-8", errors="replace").strip()
        raise DataError(
            f"{' '.join(command)}: exit code {done.returncode}, "
            f"{error[-300:] or 'no line with the sum'}; see {report}"
        )
    _, sub, deleted, inserted, _, _ = (int(n) for n in found[3].split())
    return ErrorCounts(sub, deleted, inserted, int(found[2]))


def sclite_cost(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]]
) -> int:
    """The smallest 4 S + 3 D + 3 I of a corpus."""
    return sum(
        Levenshtein.distance(
            list(reference),
            list(hypotheses[utt]),
            weights=(_INSERTION, _DELETION, _SUBSTITUTION),
        )
        for utt, reference in references.items()
    )


def check_against_sclite(
    counts: ErrorCounts,
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    ours: ErrorCounts,
) -> None:
    """Compare sclite's sums with ours.

    Args:
        counts: What sclite counted.
        references: Reference tokens by utterance.
        hypotheses: Hypothesis tokens by utterance.
        ours: Our pooled counts.

    Raises:
        DataError: They cannot come from the same transcripts.
    """
    cost = (
        _SUBSTITUTION * counts.substitutions
        + _DELETION * counts.deletions
        + _INSERTION * counts.insertions
    )
    expected = sclite_cost(references, hypotheses)
    if (counts.reference, cost) != (ours.reference, expected):
        raise DataError(
            f"sclite disagrees: {counts.reference} reference tokens at cost {cost} "
            f"(sub {counts.substitutions}, del {counts.deletions}, ins "
            f"{counts.insertions}), ours {ours.reference} at cost {expected}; "
            "ref.trn and hyp.trn do not hold what was scored, or sclite was run "
            "with other options"
        )
    logging.info(
        "sclite agrees: %.2f %% (ours %.2f %%; sclite weighs a substitution 4, a "
        "deletion or insertion 3)",
        100 * counts.rate,
        100 * ours.rate,
    )
