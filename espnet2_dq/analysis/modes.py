"""Decoding modes of a Korean run: rates by system, test set and mode."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = ("cer", "cer_no_space", "wer", "swer_kwav2vec", "swer_ksponspeech")
MODES = ("greedy_syllable", "greedy_grapheme", "merge", "rescore", "joint")
HEADS = ("CER", "CER without spaces", "WER", "sWER (K-wav2vec)", "sWER (KsponSpeech)")


@dataclass(frozen=True)
class ModeRow:
    """Scores of one mode on one set.

    Attributes:
        system: ``multi``, ``syllable``, ``grapheme_random``, ...
        set_name: Test set.
        mode: Decoding mode.
        scores: What ``scores.json`` holds (``bin.score_korean``).
        decoding: What ``rtf.json`` holds; empty if it is gone.
    """

    system: str
    set_name: str
    mode: str
    scores: dict[str, Any]
    decoding: dict[str, Any]

    @property
    def recall(self) -> float | None:
        """Share of syllables unknown to training that were recovered."""
        unseen = self.scores.get("unseen_syllables") or {}
        recall: float | None = unseen.get("recall")
        return recall

    @property
    def search_rtf(self) -> float | None:
        """Seconds of search per second of audio; the encoder is not in it."""
        seconds = self.decoding.get("parts_s", {}).get("search")
        audio = self.decoding.get("audio_s")
        return None if seconds is None or not audio else seconds / audio


def read_modes(exp: Path, read_json: Any) -> list[ModeRow]:
    """Rows of every ``score_<system>/<set>/<mode>/scores.json`` of unit ``korean``.

    Args:
        exp: ``exp/<tag>``.
        read_json: Path -> object, empty if missing or broken.
    """
    rows = []
    for path in sorted(exp.glob("score_*/*/*/scores.json")):
        scores = read_json(path)
        if scores.get("unit") != "korean":
            continue
        folder, set_name, mode = path.relative_to(exp).parts[:3]
        system = folder.removeprefix("score_")
        decoded = exp / f"decode_{system}" / set_name / mode / "rtf.json"
        rows.append(ModeRow(system, set_name, mode, scores, read_json(decoded)))
    known = {mode: place for place, mode in enumerate(MODES)}
    return sorted(
        rows,
        key=lambda r: (r.system, r.set_name, known.get(r.mode, len(known)), r.mode),
    )


def mode_results(rows: Sequence[ModeRow]) -> dict[str, Any]:
    """System -> set -> mode -> rates, for ``results.json``."""
    found: dict[str, Any] = {}
    for row in rows:
        sets = found.setdefault(row.system, {})
        rates = {name: m["rate"] for name, m in row.scores["metrics"].items()}
        sets.setdefault(row.set_name, {})[row.mode] = {
            **rates,
            "unseen_syllable_recall": row.recall,
            "rtf": row.decoding.get("rtf"),
            "search_rtf": row.search_rtf,
            "options": row.decoding.get("options", {}),
            "text_rule": row.scores.get("text_rule"),
        }
    return found


def mode_table(rows: Sequence[ModeRow]) -> str:
    """The modes for the terminal, in percent."""
    width = max([len(f"{row.system} {row.set_name}") for row in rows], default=0)
    lines = [
        f"{'':<{width}} {'mode':<16} {'CER':>6} {'CER-sp':>6} {'WER':>6} {'sWER':>6}"
        f" {'sWER-K':>6} {'unseen':>6}   [%]"
    ]
    for row in rows:
        name = f"{row.system} {row.set_name}"
        values = [_rate(row.scores["metrics"], metric) for metric in METRICS]
        cells = " ".join(f"{_percent(value):>6}" for value in (*values, row.recall))
        lines.append(f"{name:<{width}} {row.mode:<16} {cells}")
    lines.append(
        "sWER as K-wav2vec computes it, sWER-K as KsponSpeech does; unseen: recall of "
        "syllables that training has not"
    )
    return "\n".join(lines)


def _rate(metrics: Mapping[str, Any], name: str) -> float | None:
    return metrics[name]["rate"] if name in metrics else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
