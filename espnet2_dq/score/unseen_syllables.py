"""Recall of syllables that the training text never shows.

A syllable head cannot write them: they are not in its token list. Graphemes can spell
them, which is what the hierarchical model is for. Counted are running Hangul syllables
of the references that never occur in the training text; one is recovered when the
alignment of the characters without spaces pairs it with the same syllable.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_dq.score.alignment import align
from espnet2_dq.score.bootstrap import interval95, resample
from espnet2_dq.score.error_rates import ErrorCounts, check_same_utterances
from espnet2_dq.score.korean import KoreanScoreOptions


@dataclass(frozen=True)
class UnseenCounts:
    """Unseen syllables of one utterance, with repetitions.

    Attributes:
        reference: Those of the reference.
        recovered: Those of them that the hypothesis has in their place.
        hypothesis: All that the hypothesis holds, right or wrong.
    """

    reference: Counter[str]
    recovered: Counter[str]
    hypothesis: Counter[str]


def seen_syllables(texts: Iterable[str]) -> frozenset[str]:
    """The Hangul syllables of the training texts, which come normalised.

    >>> sorted(seen_syllables(["가 나", "TV 가"]))
    ['가', '나']
    """
    return frozenset(c for c in set().union(*texts) if _is_syllable(c))


def _is_syllable(character: str) -> bool:
    """One of the 11,172; neither jamo nor other letters."""
    return unicodedata.name(character, "").startswith("HANGUL SYLLABLE")


def count_unseen(reference: str, hypothesis: str, seen: frozenset[str]) -> UnseenCounts:
    """Count the unseen syllables of one utterance.

    >>> counts = count_unseen("뷁 가", "뷁가쀍", frozenset("가"))
    >>> counts.reference.total(), counts.recovered.total(), counts.hypothesis.total()
    (1, 1, 2)

    Args:
        reference: Normalised text.
        hypothesis: Normalised text.
        seen: Syllables of the training texts.
    """

    def unseen(text: str) -> Counter[str]:
        return Counter(c for c in text if _is_syllable(c) and c not in seen)

    pairs = align(reference.replace(" ", ""), hypothesis.replace(" ", ""))
    correct = (p.reference for p in pairs if p.operation == "equal" and p.reference)
    return UnseenCounts(unseen(reference), unseen("".join(correct)), unseen(hypothesis))


def score_unseen(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    seen: frozenset[str],
    options: KoreanScoreOptions,
) -> dict[str, Any]:
    """Recall, precision and counts over a corpus.

    Args:
        references: Normalised texts by utterance.
        hypotheses: Normalised texts of the same utterances.
        seen: Syllables of the training texts.
        options: Of the bootstrap, over the utterances that hold an unseen syllable.

    Returns:
        ``recall`` and its ``ci95`` (None where the references hold none),
        ``precision`` (None where the hypotheses hold none), running counts
        ``reference recovered hypothesis``, ``types`` and ``recovered_types``,
        ``utterances`` with unseen syllables, and ``missed``, the ten most frequent.

    Raises:
        DataError: Missing or extra hypotheses.
    """
    check_same_utterances(references, hypotheses)
    counts = {
        utt: count_unseen(references[utt], hypotheses[utt], seen) for utt in references
    }
    holding = {utt: c for utt, c in counts.items() if c.reference}
    wanted = sum((c.reference for c in counts.values()), Counter[str]())
    found = sum((c.recovered for c in counts.values()), Counter[str]())
    written = sum(c.hypothesis.total() for c in counts.values())
    missed = sorted((wanted - found).items(), key=lambda item: (-item[1], item[0]))
    return {
        "recall": found.total() / wanted.total() if wanted else None,
        "ci95": _interval(holding, options) if wanted else None,
        "precision": found.total() / written if written else None,
        "reference": wanted.total(),
        "recovered": found.total(),
        "hypothesis": written,
        "types": len(wanted),
        "recovered_types": len(found),
        "utterances": len(holding),
        "missed": [syllable for syllable, _ in missed[:10]],
    }


def _interval(
    holding: Mapping[str, UnseenCounts], options: KoreanScoreOptions
) -> list[float]:
    """95 % of resampled recalls: one minus the rate of syllables not recovered.

    Utterances without unseen syllables are not drawn: a resample of such alone would
    have no recall.
    """
    lost = {
        utt: ErrorCounts(
            substitutions=c.reference.total() - c.recovered.total(),
            reference=c.reference.total(),
        )
        for utt, c in holding.items()
    }
    samples = resample({"ko": lost}, samples=options.samples, seed=options.seed)
    return list(interval95(1 - samples.pooled))
