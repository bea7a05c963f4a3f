"""``metrics.json`` of stage 7: what the quantizers' codes say about labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.analysis.agreement import agreement_with_exact
from espnet2_dq.analysis.alignments import Alignments, exact_alignments
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.labels import (
    LANGUAGES,
    SPEAKERS,
    phone_labels,
    utterance_labels,
)
from espnet2_dq.analysis.purity import (
    QuantizerScores,
    Scores,
    joint_code,
    score_quantizer,
)
from espnet2_dq.data.rejects import count_kinds
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import DataError

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Quantizers:
    """What is known of the quantizers beside their codes.

    Attributes:
        clusters: Codes per group of ``language`` and ``phoneme``, where known.
        target: Table that the utterance-level quantizer is meant to follow.
    """

    clusters: Mapping[str, int] = field(default_factory=dict)
    target: str = LANGUAGES


def measure(
    table: CodeTable,
    data_dir: Path | str,
    *,
    grid: FrameGrid | None = None,
    alignments: Alignments | None = None,
    quantizers: Quantizers | None = None,
) -> dict[str, Any]:
    """All metrics of a data directory.

    Args:
        table: Codes of its utterances and frames.
        data_dir: ``utt2lang``, ``utt2spk``, ``utt2num_samples``.
        grid: Of the model's frontend.
        alignments: Phone times; by default the directory's own.
        quantizers: Sizes and target.

    Returns:
        ``lnmi lp pnmi pp`` (see :func:`_part`), ``cluster_purity acn agn
        items_per_code`` by quantizer; ``target`` and ``utterance_codes``: what the
        utterances' codes say about the table that they are meant to follow, and about
        each table; ``per_language`` (Table V); ``alignment*``, ``agreement`` with exact
        ones; ``notes``: what is missing here, and why. A missing number is ``None``.

    Raises:
        DataError: More clusters than items, a label is missing, or lengths differ.
    """
    quantizers = quantizers or Quantizers()
    aligned = exact_alignments(data_dir) if alignments is None else alignments
    metrics: dict[str, Any] = {
        "data_dir": str(data_dir),
        "utterances": len(table.utterances),
        "frames": int(table.lengths.sum()),
        "alignment": aligned.kind,
        "alignment_source": aligned.source,
        "alignment_rejects": count_kinds(aligned.rejects),
        "alignment_missing": aligned.missing,
        "permutation_seeds": list(SEEDS),
    }
    metrics |= dict.fromkeys(("lnmi", "lp", "pnmi", "pp", "target", "agreement"))
    for name in ("cluster_purity", "acn", "agn", "items_per_code"):
        metrics[name] = {"language": None, "phoneme": None}
    languages = utterance_labels(table.utterances, data_dir)
    metrics["utterance_codes"] = {}
    metrics["per_language"] = {
        lang: {"utterances": int(count)}
        for lang, count in zip(*np.unique(languages, return_counts=True), strict=True)
    }
    metrics["notes"] = aligned.notes()
    if table.language is None:
        metrics["notes"].append("no language quantizer in this model: no LNMI, LP")
    else:
        _utterance_part(metrics, table.utterances, table.language, quantizers)
    if table.phoneme is None:
        metrics["notes"].append("no phoneme quantizer in this model: no PNMI, PP")
    elif aligned.kind == "none":
        _usage(metrics, "phoneme", table.phoneme)
        metrics["notes"].append(
            f"no aligned phones ({data_dir}/phn.ctm, --alignments or --align_with): no"
            " PNMI, PP"
        )
    else:
        frame_language = np.repeat(languages, table.lengths)
        frames = _Frames(table, frame_language, grid or FrameGrid())
        _phoneme_part(metrics, frames, aligned, quantizers)
    return metrics


def _utterance_part(
    metrics: dict[str, Any],
    utterances: list[str],
    codes: np.ndarray,
    quantizers: Quantizers,
) -> None:
    """Codes of utterances against languages, speakers, and their target."""
    data_dir = Path(metrics["data_dir"])
    for name in dict.fromkeys((LANGUAGES, SPEAKERS, quantizers.target)):
        if name == SPEAKERS != quantizers.target and not (data_dir / name).is_file():
            metrics["notes"].append(f"no {name}: codes not compared with speakers")
            continue
        labels = utterance_labels(utterances, data_dir, name)
        scores = score_quantizer(labels, codes, seeds=SEEDS)
        metrics["utterance_codes"][name] = {
            "labels": len(np.unique(labels)),
            "nmi": _part(scores, _nmi),
            "purity": _part(scores, _purity),
            "cluster_purity": _cluster_purity(scores),
        }
    by_language = metrics["utterance_codes"][LANGUAGES]
    metrics["lnmi"], metrics["lp"] = by_language["nmi"], by_language["purity"]
    metrics["cluster_purity"]["language"] = by_language["cluster_purity"]
    own = metrics["utterance_codes"][quantizers.target]
    metrics["target"] = {"table": quantizers.target, **own}
    _usage(metrics, "language", codes)
    if by_language["labels"] < 2:
        metrics["notes"].append("one language only: LNMI has no meaning, LP is 1")
    what = f"labels in {quantizers.target}"
    _check_clusters(metrics, quantizers, "language", len(codes), own["labels"], what)


@dataclass(frozen=True)
class _Frames:
    """Codes, and the language ``(N,)`` of each frame."""

    table: CodeTable
    languages: np.ndarray
    grid: FrameGrid


def _phoneme_part(
    metrics: dict[str, Any],
    frames: _Frames,
    aligned: Alignments,
    quantizers: Quantizers,
) -> None:
    assert frames.table.phoneme is not None
    phones, known = phone_labels(frames.table, aligned.phones, frames.grid)
    if not known.any():
        metrics["notes"].append(
            f"{aligned.source} holds none of the utterances: no PNMI, PP"
        )
        return
    if not known.all():
        share = 100 * float(known.mean())
        metrics["notes"].append(
            f"PNMI and PP over the {share:.1f} % of frames with alignments"
        )
    if aligned.kind != "exact":
        metrics["agreement"] = agreement_with_exact(
            phones, known, frames.table, metrics["data_dir"], frames.grid
        )
    phones, codes = phones[known], frames.table.phoneme[known]
    languages = frames.languages[known]
    scores = score_quantizer(phones, codes, seeds=SEEDS)
    metrics["pnmi"] = _part(scores, _nmi)
    metrics["pp"] = _part(scores, _purity)
    metrics["phones"] = len(np.unique(phones))
    metrics["silence_share"] = float((phones == "sil").mean())
    metrics["cluster_purity"]["phoneme"] = _cluster_purity(scores)
    _usage(metrics, "phoneme", codes)
    _check_clusters(
        metrics, quantizers, "phoneme", len(codes), metrics["phones"], "phones"
    )
    for lang, row in metrics["per_language"].items():
        chosen = languages == lang
        if not chosen.any():
            continue
        own = score_quantizer(phones[chosen], codes[chosen], seeds=SEEDS)
        row["frames"] = int(chosen.sum())
        row["phones"] = len(np.unique(phones[chosen]))
        row["pnmi"] = _part(own, _nmi)
        row["pp"] = _part(own, _purity)
        row["acn"] = own.joint.active
        row["agn"] = [group.active for group in own.groups]
        row["items_per_code"] = own.joint.items_per_code


def _check_clusters(
    metrics: dict[str, Any],
    quantizers: Quantizers,
    name: str,
    items: int,
    labels: int,
    what: str,
) -> None:
    """Refuse clusters that cannot be judged; warn of too few or too many.

    Few utterances are a warning only: a quantizer of speakers may have more clusters
    than a small test set has utterances, while its frames are many.

    Raises:
        DataError: More clusters than frames.
    """
    clusters = quantizers.clusters.get(name)
    if clusters is None:
        return
    if clusters > items and name == "phoneme":
        raise DataError(
            f"{metrics['data_dir']}: {clusters} clusters per group of the phoneme"
            f" quantizer for {items} frames with a phone: purity would say nothing;"
            " analyse a larger set, or pretrain with model_conf.phoneme.clusters of"
            f" {items} or fewer"
        )
    if clusters > items:
        metrics["notes"].append(
            f"warning: {clusters} clusters per group of the {name} quantizer for"
            f" {items} utterances: purity and NMI say nothing, analyse a larger set"
        )
    if clusters < labels:
        metrics["notes"].append(
            f"warning: {clusters} clusters per group of the {name} quantizer, fewer"
            f" than the {labels} {what}: no group can tell all of them apart"
        )


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
