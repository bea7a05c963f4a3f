"""Korean scores of one decoded set: CER, WER, sWER, and recall of unseen syllables.

Texts come normalised (``text.hangul.normalise``: NFC, single spaces). Rates are sums
over the corpus. CER counts spaces as characters, as K-wav2vec does; ``cer_no_space``
does not. Both sWER (``score/spacing.py``) count words of the hypothesis after it has
been given the reference's spaces: ``swer_kwav2vec`` is to be compared with K-wav2vec's
results, ``swer_ksponspeech`` with ESPnet's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_dq.errors import DataError
from espnet2_dq.score.bootstrap import (
    RateSamples,
    interval95,
    paired_difference,
    resample,
)
from espnet2_dq.score.error_rates import (
    ErrorCounts,
    check_same_utterances,
    count_errors,
    pool,
)
from espnet2_dq.score.spacing import ksponspeech_spacing, kwav2vec_spacing

Texts = Mapping[str, str]
Counts = dict[str, ErrorCounts]
_ALL = "ko"  # the bootstrap draws within languages; here there is one


def _characters(reference: str, hypothesis: str) -> ErrorCounts:
    return count_errors(reference, hypothesis)


def _letters(reference: str, hypothesis: str) -> ErrorCounts:
    return count_errors(reference.replace(" ", ""), hypothesis.replace(" ", ""))


def _words(reference: str, hypothesis: str) -> ErrorCounts:
    return count_errors(reference.split(), hypothesis.split())


def _words_kwav2vec(reference: str, hypothesis: str) -> ErrorCounts:
    return _words(reference, kwav2vec_spacing(reference, hypothesis))


def _words_ksponspeech(reference: str, hypothesis: str) -> ErrorCounts:
    return _words(reference, ksponspeech_spacing(reference, hypothesis))


#: Metric -> counts of one normalised pair (reference, hypothesis).
METRICS: dict[str, Callable[[str, str], ErrorCounts]] = {
    "cer": _characters,
    "cer_no_space": _letters,
    "wer": _words,
    "swer_kwav2vec": _words_kwav2vec,
    "swer_ksponspeech": _words_ksponspeech,
}


@dataclass(frozen=True)
class KoreanScoreOptions:
    """How rates are resampled.

    Attributes:
        samples: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """

    samples: int = 1000
    seed: int = 0


def count_metric(metric: str, references: Texts, hypotheses: Texts) -> Counts:
    """Count errors per utterance, in sorted order of the utterances.

    >>> count_metric("wer", {"u": "그건 왜"}, {"u": "그 건 왜"})["u"].errors
    2
    >>> count_metric("swer_kwav2vec", {"u": "그건 왜"}, {"u": "그 건 왜"})["u"].errors
    0

    Args:
        metric: One of ``METRICS``.
        references: Normalised texts.
        hypotheses: Normalised texts; an empty one counts as all deleted.

    Raises:
        DataError: The two do not hold the same utterances.
    """
    check_same_utterances(references, hypotheses)
    count = METRICS[metric]
    return {utt: count(references[utt], hypotheses[utt]) for utt in sorted(references)}


def score_metric(counts: Counts, options: KoreanScoreOptions) -> dict[str, Any]:
    """The section of one metric: rate, counts, 95 % interval over utterances.

    Raises:
        DataError: No reference tokens.
    """
    total = pool(counts)
    if total.reference == 0:
        raise DataError(
            f"{len(counts)} references, all empty: there is nothing to score; give "
            "the transcripts of the set"
        )
    samples = resample({_ALL: counts}, samples=options.samples, seed=options.seed)
    return {
        "rate": total.rate,
        **total.as_dict(),
        "ci95": list(interval95(samples.pooled)),
    }


def compare_metric(
    counts: Counts, baseline: Counts, options: KoreanScoreOptions
) -> dict[str, object]:
    """Difference of rates on the same utterances, paired; below 0: not the baseline."""

    def pooled(samples: RateSamples) -> Any:
        return samples.pooled

    difference = paired_difference(
        {_ALL: counts},
        {_ALL: baseline},
        lambda groups: pool(groups[_ALL]).rate,
        pooled,
        samples=options.samples,
        seed=options.seed,
    )
    return difference.as_dict()


def score_texts(
    references: Texts,
    hypotheses: Texts,
    options: KoreanScoreOptions,
    *,
    baseline: Texts | None = None,
) -> dict[str, dict[str, Any]]:
    """All metrics of one set.

    Args:
        references: Normalised texts by utterance.
        hypotheses: Normalised texts of the same utterances.
        options: Of the bootstrap.
        baseline: Normalised texts of another system or decoding mode.

    Returns:
        Metric -> ``rate sub del ins ref ci95``, and ``baseline`` where there is one:
        this system minus the other.

    Raises:
        DataError: Missing or extra hypotheses, or empty references only.
    """
    sections = {}
    for metric in METRICS:
        counts = count_metric(metric, references, hypotheses)
        sections[metric] = score_metric(counts, options)
        if baseline is not None:
            other = count_metric(metric, references, baseline)
            sections[metric]["baseline"] = compare_metric(counts, other, options)
    return sections
