"""Korean scores as lines for people; rates in percent."""

from collections.abc import Mapping, Sequence
from typing import Any


def summary_lines(scores: Mapping[str, Any]) -> list[str]:
    """The table of ``summary.txt``.

    Args:
        scores: What ``scores.json`` holds: ``metrics``, ``unseen_syllables``,
            ``text_rule``, ``utterances``, ``empty_hypotheses``.
    """
    lines = [
        f"text rule: {scores['text_rule'] or 'not known (no text_rule)'}",
        f"utterances: {scores['utterances']}, of these {scores['empty_hypotheses']} "
        "with an empty hypothesis",
        f"{'metric':<17} {'%':>7} {'95 % interval':>15}"
        f" {'ref':>8} {'sub':>7} {'del':>7} {'ins':>7}",
    ]
    for metric, row in scores["metrics"].items():
        lines.append(
            f"{metric:<17} {_percent(row['rate'])} {_span(row['ci95']):>15}"
            f" {row['ref']:>8} {row['sub']:>7} {row['del']:>7} {row['ins']:>7}"
        )
    lines += _baseline_lines(scores["metrics"])
    if scores["unseen_syllables"] is not None:
        lines += _unseen_lines(scores["unseen_syllables"])
    return lines


def _baseline_lines(metrics: Mapping[str, Any]) -> list[str]:
    return [
        f"{metric} minus baseline: {100 * row['baseline']['difference']:+.2f} points, "
        f"95 % interval {100 * row['baseline']['ci95'][0]:+.2f} to "
        f"{100 * row['baseline']['ci95'][1]:+.2f}"
        for metric, row in metrics.items()
        if "baseline" in row
    ]


def _unseen_lines(unseen: Mapping[str, Any]) -> list[str]:
    """Recall of syllables that the training text does not hold."""
    if unseen["recall"] is None:
        return [
            "unseen syllables: none in the references, "
            f"{unseen['hypothesis']} in the hypotheses"
        ]
    return [
        f"unseen syllables: recall {_percent(unseen['recall']).strip()} % "
        f"({_span(unseen['ci95'])}), {unseen['recovered']} of {unseen['reference']} "
        f"running, {unseen['recovered_types']} of {unseen['types']} different; "
        f"{unseen['hypothesis']} written{_precision(unseen)}"
    ]


def _precision(unseen: Mapping[str, Any]) -> str:
    if unseen["precision"] is None:
        return ""
    return f", {_percent(unseen['precision']).strip()} % of these right"


def _percent(rate: float) -> str:
    return f"{100 * rate:>7.2f}"


def _span(ci95: Sequence[float]) -> str:
    return f"{100 * ci95[0]:.2f}-{100 * ci95[1]:.2f}"
