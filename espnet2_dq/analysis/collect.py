"""Reads what a run has left on disk; what is not there is empty, never invented."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_dq.analysis.corpus import CorpusSummary, read_corpus
from espnet2_dq.analysis.jsonl import read_jsonl
from espnet2_dq.analysis.modes import ModeRow, read_modes
from espnet2_dq.data.tables import read_table

STAGES = (
    "data",
    "check",
    "filter",
    "units",
    "stats",
    "pretrain",
    "analyse",
    "subset",
    "finetune",
    "decode",
    "score",
    "report",
    "pack",
)
# system (phn, phn_random, char, ...) -> set -> metric (per, wer, cer) -> section
Scores = dict[str, dict[str, dict[str, dict[str, Any]]]]


@dataclass(frozen=True)
class StageMark:
    """A stage that ended well, as its done-mark tells.

    Attributes:
        name: ``06_pretrain``; several may share a number (one per set of units).
        command: Words of the command.
        seconds: Wall time.
        started: ISO date and time, or "".
        host: Machine, or "".
    """

    name: str
    command: list[str]
    seconds: float
    started: str
    host: str

    @property
    def number(self) -> int:
        """The stage's number, 0 if its name has none."""
        head = self.name.partition("_")[0]
        return int(head) if head.isdigit() else 0


@dataclass
class Run:
    """Everything known about one experiment.

    Attributes:
        tag: Name of the experiment.
        exp: Its directory.
        scores: By system, set and metric.
        metrics: ``analysis/metrics.json`` or empty.
        code_maps: Name -> PNG file of a code heat map.
        training: ``pretrain`` and each ``finetune_*`` -> records of ``log.jsonl``.
        probe: Records of ``probe.jsonl``.
        corpus: Sets, hours, speakers, rejects.
        marks: Done-marks in order of stages.
        commands: What the user typed.
        configs: Name -> text of ``config.yaml``.
        modes: Korean: a row for each system, set and decoding mode.
        posteriors: Korean: folder of the posteriors of dev, for a picture.
        references: Korean: texts of dev.
    """

    tag: str
    exp: Path
    scores: Scores = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    code_maps: dict[str, Path] = field(default_factory=dict)
    training: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    probe: list[dict[str, Any]] = field(default_factory=list)
    corpus: CorpusSummary = field(default_factory=CorpusSummary)
    marks: list[StageMark] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    configs: dict[str, str] = field(default_factory=dict)
    modes: list[ModeRow] = field(default_factory=list)
    posteriors: Path | None = None
    references: dict[str, str] = field(default_factory=dict)


def collect(exp: Path, *, data: Path, dump: Path) -> Run:
    """Read a run.

    Args:
        exp: ``exp/<tag>``.
        data: Where stage 1 wrote its sets.
        dump: Where stage 3 wrote its sets.
    """
    trained = [
        path
        for path in (exp / "pretrain", *sorted(exp.glob("finetune_*")))
        if path.is_dir()
    ]
    logs = {path.name: read_jsonl(path / "log.jsonl") for path in trained}
    marks = read_marks([data, dump, exp])
    posteriors = next(iter(sorted(exp.glob("decode_*/posteriors/dev"))), None)
    dev_text = dump / "dev" / "text"
    return Run(
        tag=exp.name,
        exp=exp,
        scores=read_scores(exp),
        metrics=read_json(exp / "analysis" / "metrics.json"),
        code_maps=_code_maps(exp / "analysis"),
        training={name: records for name, records in logs.items() if records},
        probe=read_jsonl(exp / "pretrain" / "probe.jsonl"),
        corpus=read_corpus(data, dump, _corpus_command(marks)),
        marks=marks,
        commands=_lines(exp / "commands.txt"),
        configs={
            path.name: (path / "config.yaml").read_text(encoding="utf-8")
            for path in trained
            if (path / "config.yaml").is_file()
        },
        modes=read_modes(exp, read_json),
        posteriors=posteriors,
        references=read_table(dev_text) if posteriors and dev_text.is_file() else {},
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if missing or broken."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}


def read_marks(areas: list[Path]) -> list[StageMark]:
    """Done-marks below ``<area>/.done``, in order of their numbered names."""
    marks = []
    for path in sorted(p for area in areas for p in area.glob(".done/*.json")):
        content = read_json(path)
        if "command" in content:
            marks.append(
                StageMark(
                    name=str(content.get("stage", path.stem)),
                    command=[str(word) for word in content["command"]],
                    seconds=float(content.get("seconds", 0.0)),
                    started=str(content.get("started", "")),
                    host=str(content.get("host", "")),
                )
            )
    return sorted(marks, key=lambda mark: mark.name)


def _corpus_command(marks: list[StageMark]) -> list[str]:
    return next((mark.command for mark in marks if mark.number == 1), [])


def _code_maps(folder: Path) -> dict[str, Path]:
    names = {"language": "language_codes.png", "phone": "phone_codes.png"}
    return {k: folder / name for k, name in names.items() if (folder / name).is_file()}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def read_scores(exp: Path) -> Scores:
    """Sections of every ``score_<system>/**/scores.json``.

    A section is an object with ``metric``, ``languages`` and ``average``
    (``bin.score``). Its set is the innermost name around it that is not a metric: a
    key of the file, else the folder below ``score_<system>``.
    """
    scores: Scores = {}
    for path in sorted(exp.glob("score_*/**/scores.json")):
        system, *below = path.relative_to(exp).parts[:-1]
        outer = below[-1] if below else "test"
        for name, section in _sections(read_json(path), outer):
            sets = scores.setdefault(system.removeprefix("score_"), {})
            sets.setdefault(name, {})[str(section["metric"])] = section
    return scores


def _sections(node: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return
    if {"metric", "languages", "average"} <= node.keys():
        yield name, node
        yield from _sections(node.get("other_metrics"), name)
        return
    for key, value in node.items():
        inner = name if key in ("per", "wer", "cer", "metrics", "sets") else str(key)
        yield from _sections(value, inner)
