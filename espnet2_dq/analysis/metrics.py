"""``metrics.json`` of stage 7: what the quantizers' codes say about labels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.frame_labels import (
    has_alignments,
    label_frames,
    phone_table,
    read_alignments,
)
from espnet2_dq.analysis.purity import (
    QuantizerScores,
    Scores,
    joint_code,
    score_quantizer,
)
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import DataError

SEEDS = (0, 1, 2)


def language_labels(table: CodeTable, data_dir: Path | str) -> np.ndarray:
    """Language of each utterance of ``table`` ``(U,)``, from ``utt2lang``."""
    path = Path(data_dir) / "utt2lang"
    langs = read_table(path)
    absent = [utt for utt in table.utterances if utt not in langs]
    if absent:
        raise DataError(f"{path}: '{absent[0]}' of wav.scp has no language there")
    return np.array([langs[utt] for utt in table.utterances])


def phone_labels(
    table: CodeTable, data_dir: Path | str, grid: FrameGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Phone of every frame and which frames have one.

    Returns:
        Labels ``(N,)`` strings, and ``(N,)`` bool: False for the frames of
        utterances that ``phn.ctm`` does not hold (recorded speech beside synthetic).
    """
    alignments = read_alignments(data_dir)
    names = phone_table(alignments.values())
    ids = {name: i for i, name in enumerate(names)}
    labels, known = [], []
    for utt, frames in zip(table.utterances, table.lengths.tolist(), strict=True):
        segments = alignments.get(utt, [])
        labels.append(label_frames(segments, frames, ids, grid=grid))
        known.append(np.full(frames, utt in alignments))
    return np.array(names)[np.concatenate(labels)], np.concatenate(known)


def measure(
    table: CodeTable, data_dir: Path | str, *, grid: FrameGrid | None = None
) -> dict[str, Any]:
    """All metrics of a data directory.

    Returns:
        ``lnmi lp pnmi pp`` (see :func:`_part`), ``cluster_purity acn agn
        items_per_code`` by quantizer, ``per_language``, ``alignment`` (``exact`` or
        ``none``) and ``notes``: what is missing here, and why. A missing number is
        ``None``.
    """
    metrics: dict[str, Any] = {
        "data_dir": str(data_dir),
        "utterances": len(table.utterances),
        "frames": int(table.lengths.sum()),
        "alignment": "exact" if has_alignments(data_dir) else "none",
        "permutation_seeds": list(SEEDS),
    }
    metrics |= dict.fromkeys(("lnmi", "lp", "pnmi", "pp"))
    for name in ("cluster_purity", "acn", "agn", "items_per_code"):
        metrics[name] = {"language": None, "phoneme": None}
    languages = language_labels(table, data_dir)
    per_language: dict[str, dict[str, Any]] = {
        lang: {"utterances": int(count)}
        for lang, count in zip(*np.unique(languages, return_counts=True), strict=True)
    }
    notes: list[str] = []
    if table.language is None:
        notes.append("no language quantizer in this model: no LNMI, LP")
    else:
        _language_part(metrics, per_language, notes, languages, table.language)
    if table.phoneme is None:
        notes.append("no phoneme quantizer in this model: no PNMI, PP")
    elif metrics["alignment"] == "none":
        _usage(metrics, "phoneme", table.phoneme)
        notes.append(
            f"no aligned phones ({data_dir}/phn.ctm): no PNMI, PP; only exact"
            " alignments are used so far"
        )
    else:
        _phoneme_part(metrics, per_language, notes, table, languages, data_dir, grid)
    return {**metrics, "per_language": per_language, "notes": notes}


def _language_part(
    metrics: dict[str, Any],
    per_language: dict[str, dict[str, Any]],
    notes: list[str],
    languages: np.ndarray,
    codes: np.ndarray,
) -> None:
    scores = score_quantizer(languages, codes, seeds=SEEDS)
    metrics["lnmi"] = _part(scores, _nmi)
    metrics["lp"] = _part(scores, _purity)
    metrics["cluster_purity"]["language"] = _cluster_purity(scores)
    _usage(metrics, "language", codes)
    if len(per_language) < 2:
        notes.append("one language only: LNMI has no meaning, LP is 1")


def _phoneme_part(
    metrics: dict[str, Any],
    per_language: dict[str, dict[str, Any]],
    notes: list[str],
    table: CodeTable,
    languages: np.ndarray,
    data_dir: Path | str,
    grid: FrameGrid | None,
) -> None:
    assert table.phoneme is not None
    phones, known = phone_labels(table, data_dir, grid or FrameGrid())
    if not known.any():
        notes.append(f"{data_dir}/phn.ctm holds none of the utterances: no PNMI, PP")
        return
    frame_language = np.repeat(languages, table.lengths)
    if not known.all():
        share = 100 * float(known.mean())
        notes.append(f"PNMI and PP over the {share:.1f} % of frames with alignments")
    phones, codes = phones[known], table.phoneme[known]
    frame_language = frame_language[known]
    scores = score_quantizer(phones, codes, seeds=SEEDS)
    metrics["pnmi"] = _part(scores, _nmi)
    metrics["pp"] = _part(scores, _purity)
    metrics["phones"] = len(np.unique(phones))
    metrics["silence_share"] = float((phones == "sil").mean())
    metrics["cluster_purity"]["phoneme"] = _cluster_purity(scores)
    _usage(metrics, "phoneme", codes)
    for lang, row in per_language.items():
        chosen = frame_language == lang
        if not chosen.any():
            continue
        own = score_quantizer(phones[chosen], codes[chosen], seeds=SEEDS)
        row["frames"] = int(chosen.sum())
        row["phones"] = len(np.unique(phones[chosen]))
        row["pnmi"] = _part(own, _nmi)
        row["pp"] = _part(own, _purity)
        row["acn"] = own.joint.active
        row["items_per_code"] = own.joint.items_per_code


def _part(
    scores: QuantizerScores,
    pick: Callable[[Scores], tuple[float | None, float | None, float | None]],
) -> dict[str, Any]:
    """``joint``, ``groups``, and the controls beside them.

    ``permutation`` has the same two for shuffled codes (mean over seeds);
    ``majority`` is what a quantizer with a single code would get.
    """
    joint, shuffled, one_code = pick(scores.joint)
    return {
        "joint": joint,
        "groups": [pick(group)[0] for group in scores.groups],
        "permutation": {
            "joint": shuffled,
            "groups": [pick(group)[1] for group in scores.groups],
        },
        "majority": one_code,
    }


def _nmi(scores: Scores) -> tuple[float | None, float | None, float | None]:
    return scores.nmi, scores.permutation_nmi, None if scores.nmi is None else 0.0


def _purity(scores: Scores) -> tuple[float | None, float | None, float | None]:
    return scores.purity, scores.permutation_purity, scores.majority


def _cluster_purity(scores: QuantizerScores) -> dict[str, Any]:
    return {
        "joint": scores.joint.cluster_purity,
        "groups": [group.cluster_purity for group in scores.groups],
    }


def _usage(metrics: dict[str, Any], name: str, codes: np.ndarray) -> None:
    """ACN, AGN (METHODS 6) and items per active joint code; ``codes (N, G)``."""
    active = len(np.unique(joint_code(codes)))
    metrics["acn"][name] = active
    metrics["agn"][name] = [len(np.unique(group)) for group in codes.T]
    metrics["items_per_code"][name] = len(codes) / active


def summary_lines(metrics: Mapping[str, Any]) -> Sequence[str]:
    """The metrics as lines for people, each number with its controls."""
    lines = [
        f"{metrics['utterances']} utterances, {metrics['frames']} frames,"
        f" alignment: {metrics['alignment']}"
    ]
    for key, name in (("lnmi", "language"), ("pnmi", "phoneme")):
        if metrics[key] is not None:
            lines.append(_summary(metrics, key, name))
            lines.append(_summary(metrics, key.replace("nmi", "p"), name))
    return [*lines, *(f"note: {note}" for note in metrics["notes"])]


def _summary(metrics: Mapping[str, Any], key: str, name: str) -> str:
    part = metrics[key]
    groups = " ".join(
        f"g{i} {_show(value)} [{_show(control)}]"
        for i, (value, control) in enumerate(
            zip(part["groups"], part["permutation"]["groups"], strict=True), start=1
        )
    )
    return (
        f"{key.upper():<4} joint {_show(part['joint'])}"
        f" [permutation {_show(part['permutation']['joint'])},"
        f" majority {_show(part['majority'])}]; {groups}; codes used"
        f" {metrics['acn'][name]} (per group {metrics['agn'][name]}),"
        f" {metrics['items_per_code'][name]:.1f} items each"
    )


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
