"""The metrics of stage 7 as lines for people, each number with its controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from espnet2_dq.analysis.labels import LANGUAGES


def summary_lines(metrics: Mapping[str, Any]) -> Sequence[str]:
    """Lines of what :func:`espnet2_dq.analysis.metrics.measure` returned."""
    source = metrics.get("alignment_source")
    lines = [
        f"{metrics['utterances']} utterances, {metrics['frames']} frames,"
        f" alignment: {metrics['alignment']}{f' ({source})' if source else ''}"
    ]
    agreement = metrics.get("agreement")
    if agreement is not None:
        lines.append(
            f"agreement with exact alignments: {_percent(agreement['share'])} of"
            f" {agreement['frames']} frames, {_percent(agreement['share_of_speech'])}"
            f" of those with speech; NMI {_show(agreement['nmi'])}, reversed"
            f" {_show(agreement['nmi_reversed'])}"
        )
    for key, name in (("lnmi", "language"), ("pnmi", "phoneme")):
        if metrics[key] is not None:
            for metric in (key, key.replace("nmi", "p")):
                head, part = f"{metric.upper():<4}", metrics[metric]
                lines.append(f"{head} {_values(part)}; {_usage(metrics, name)}")
    target = (metrics.get("target") or {}).get("table")
    for table, part in (metrics.get("utterance_codes") or {}).items():
        if table != LANGUAGES:
            name = f"{table} (target)" if table == target else table
            lines.append(f"{name}: NMI {_values(part['nmi'])}")
            lines.append(f"{name}: purity {_values(part['purity'])}")
    return [*lines, *(f"note: {note}" for note in metrics["notes"])]


def _values(part: Mapping[str, Any]) -> str:
    groups = " ".join(
        f"g{i} {_show(value)} [{_show(control)}]"
        for i, (value, control) in enumerate(
            zip(part["groups"], part["permutation"]["groups"], strict=True), start=1
        )
    )
    return (
        f"joint {_show(part['joint'])} [permutation"
        f" {_show(part['permutation']['joint'])}, majority {_show(part['majority'])}];"
        f" {groups}"
    )


def _usage(metrics: Mapping[str, Any], name: str) -> str:
    return (
        f"codes used {metrics['acn'][name]} (per group {metrics['agn'][name]}),"
        f" {metrics['items_per_code'][name]:.1f} items each"
    )


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
