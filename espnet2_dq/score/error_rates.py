"""Corpus-level error rates from Levenshtein alignments: PER, CER and WER.

The three differ only in what a token is. The paper's PER counts phonemes without word
boundaries; CER counts characters, ``<space>`` among them; WER counts words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from espnet2_dq.errors import DataError

SPACE = "<space>"


@dataclass(frozen=True)
class ErrorCounts:
    """Edit operations that turn references into hypotheses; counts add up.

    >>> ErrorCounts(1, 0, 0, 4) + ErrorCounts(0, 1, 0, 6)
    ErrorCounts(substitutions=1, deletions=1, insertions=0, reference=10)
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        """Pool two sets of utterances."""
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference + other.reference,
        )

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token; above 1 where insertions outnumber it.

        Raises:
            DataError: There are no reference tokens.
        """
        if self.reference == 0:
            raise DataError(
                f"no reference tokens ({self.insertions} inserted): a rate needs at "
                "least one; check the reference transcripts"
            )
        return self.errors / self.reference

    def as_dict(self) -> dict[str, int]:
        """Short names, as in ``scores.json``."""
        return {
            "sub": self.substitutions,
            "del": self.deletions,
            "ins": self.insertions,
            "ref": self.reference,
        }


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Count the operations of one alignment with the fewest errors.

    Where several alignments have as few, their split into substitutions, deletions
    and insertions is rapidfuzz's choice; the sum is not affected.

    >>> count_errors("a b c".split(), "a x c d".split())
    ErrorCounts(substitutions=1, deletions=0, insertions=1, reference=3)
    """
    tags = [op.tag for op in Levenshtein.editops(list(reference), list(hypothesis))]
    return ErrorCounts(
        tags.count("replace"),
        tags.count("delete"),
        tags.count("insert"),
        len(reference),
    )


def count_corpus(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]]
) -> dict[str, ErrorCounts]:
    """Count errors per utterance, in sorted order of the utterances.

    Raises:
        DataError: The two do not hold the same utterances.
    """
    check_same_utterances(references, hypotheses)
    return {
        utt: count_errors(references[utt], hypotheses[utt])
        for utt in sorted(references)
    }


def check_same_utterances(
    references: Mapping[str, object], hypotheses: Mapping[str, object]
) -> None:
    """Refuse to score when an utterance lacks its hypothesis or its reference."""
    if not references:
        raise DataError("there are no references; decode and score a non-empty set")
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        raise DataError(
            "; ".join(
                f"{len(utts)} of {total} utterances have no {what}: {_some(utts)}"
                for utts, total, what in (
                    (missing, len(references), "hypothesis"),
                    (extra, len(hypotheses), "reference"),
                )
                if utts
            )
            + "; decode the same set again, or score against the set that was decoded"
        )


def _some(utts: Sequence[str], most: int = 10) -> str:
    """The first few names of a list."""
    rest = f" and {len(utts) - most} more" if len(utts) > most else ""
    return " ".join(utts[:most]) + rest


def group_by_language(
    counts: Mapping[str, ErrorCounts], utt2lang: Mapping[str, str]
) -> dict[str, dict[str, ErrorCounts]]:
    """Split per-utterance counts by language, both sorted.

    Raises:
        DataError: An utterance without a language.
    """
    unknown = sorted(counts.keys() - utt2lang.keys())
    if unknown:
        raise DataError(f"utt2lang has no language for {_some(unknown)}; add it")
    groups: dict[str, dict[str, ErrorCounts]] = {}
    for utt in sorted(counts):
        groups.setdefault(utt2lang[utt], {})[utt] = counts[utt]
    return dict(sorted(groups.items()))


def pool(counts: Mapping[str, ErrorCounts]) -> ErrorCounts:
    """Sum over utterances: a corpus-level count."""
    return sum(counts.values(), ErrorCounts())


def characters_to_words(tokens: Sequence[str]) -> list[str]:
    """Join character tokens into words at ``<space>``; empty words vanish.

    >>> characters_to_words("h i <space> <space> y o u".split())
    ['hi', 'you']
    """
    words: list[list[str]] = [[]]
    for token in tokens:
        if token == SPACE:
            words.append([])
        else:
            words[-1].append(token)
    return ["".join(word) for word in words if word]
