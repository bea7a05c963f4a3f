"""Scores of one decoded set: per language, on average, pooled, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_dq.errors import DataError
from espnet2_dq.score.bootstrap import (
    Difference,
    Groups,
    RateSamples,
    interval95,
    paired_difference,
    resample,
)
from espnet2_dq.score.error_rates import (
    characters_to_words,
    count_corpus,
    group_by_language,
    pool,
)

Transcripts = Mapping[str, Sequence[str]]
# What the first metric of a unit is: the one that the paper reports.
METRICS = {"phn": ("per",), "char": ("wer", "cer")}


@dataclass(frozen=True)
class ScoreOptions:
    """How rates are averaged and resampled.

    Attributes:
        average_languages: Languages in the average (None: all). The paper's average
            leaves English out.
        samples: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """

    average_languages: tuple[str, ...] | None = None
    samples: int = 1000
    seed: int = 0


def metric_tokens(metric: str, transcripts: Transcripts) -> dict[str, list[str]]:
    """What ``metric`` counts: the tokens as they are, or words joined from them."""
    convert = characters_to_words if metric == "wer" else list
    return {utt: convert(tokens) for utt, tokens in transcripts.items()}


def average_over(groups: Groups, options: ScoreOptions) -> list[str]:
    """Languages that enter the average.

    Raises:
        DataError: A wanted language that the set does not hold.
    """
    if options.average_languages is None:
        return list(groups)
    absent = [lang for lang in options.average_languages if lang not in groups]
    if absent:
        raise DataError(
            f"average over {' '.join(absent)}: the set has {' '.join(groups)} only"
        )
    return list(options.average_languages)


def average_rate(groups: Groups, languages: Sequence[str]) -> float:
    """Unweighted mean of corpus-level rates over languages ("Avg" in the paper)."""
    return float(np.mean([pool(groups[lang]).rate for lang in languages]))


def score(
    metric: str,
    references: Transcripts,
    hypotheses: Transcripts,
    utt2lang: Mapping[str, str],
    options: ScoreOptions,
) -> tuple[dict[str, Any], Groups]:
    """Score one metric.

    Returns:
        The section of ``scores.json`` and the counts by language and utterance.

    Raises:
        DataError: Missing or extra hypotheses, or a language without references.
    """
    groups = count_groups(metric, references, hypotheses, utt2lang)
    languages = average_over(groups, options)
    for lang, counts in groups.items():
        if pool(counts).reference == 0:
            raise DataError(
                f"language '{lang}': {len(counts)} references, all empty; leave the "
                "language out or give its transcripts"
            )
    samples = resample(groups, samples=options.samples, seed=options.seed)
    total = pool({lang: pool(counts) for lang, counts in groups.items()})
    section: dict[str, Any] = {
        "metric": metric,
        "languages": {lang: _language(groups, lang, samples) for lang in groups},
        "average": average_rate(groups, languages),
        "average_languages": languages,
        "ci95": list(interval95(samples.average(languages))),
        "pooled": total.rate,
        "pooled_ci95": list(interval95(samples.pooled)),
        "pooled_counts": total.as_dict(),
    }
    return section, groups


def count_groups(
    metric: str,
    references: Transcripts,
    hypotheses: Transcripts,
    utt2lang: Mapping[str, str],
) -> Groups:
    """Counts by language and utterance of what ``metric`` counts."""
    counts = count_corpus(
        metric_tokens(metric, references), metric_tokens(metric, hypotheses)
    )
    return group_by_language(counts, utt2lang)


def _language(groups: Groups, lang: str, samples: RateSamples) -> dict[str, Any]:
    total = pool(groups[lang])
    return {
        "rate": total.rate,
        **total.as_dict(),
        "utterances": len(groups[lang]),
        "ci95": list(interval95(samples.languages[lang])),
    }


def compare(a: Groups, b: Groups, options: ScoreOptions) -> Difference:
    """Difference of the averages of two systems, ``a`` minus ``b``, paired."""
    languages = average_over(a, options)
    return paired_difference(
        a,
        b,
        lambda groups: average_rate(groups, languages),
        lambda samples: samples.average(languages),
        samples=options.samples,
        seed=options.seed,
    )


def table(section: Mapping[str, Any]) -> str:
    """The scores as a table for people; rates in percent."""
    head = f"{'language':<10} {section['metric'].upper():>7} {'95 % interval':>15}"
    head += f" {'ref':>8} {'sub':>7} {'del':>7} {'ins':>7} {'utts':>6}"
    lines = [head]
    for lang, row in section["languages"].items():
        lines.append(
            _row(lang, row["rate"], row["ci95"])
            + f" {row['ref']:>8} {row['sub']:>7} {row['del']:>7} {row['ins']:>7}"
            + f" {row['utterances']:>6}"
        )
    lines.append(_row("average", section["average"], section["ci95"]))
    lines.append(_row("pooled", section["pooled"], section["pooled_ci95"]))
    return "\n".join(lines)


def _row(name: str, rate: float, ci95: Sequence[float]) -> str:
    span = f"{100 * ci95[0]:.2f}-{100 * ci95[1]:.2f}"
    return f"{name:<10} {100 * rate:>7.2f} {span:>15}"
