"""The figures of one row and seed as one small JSON file, to keep and to commit."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from espnet2_dq.analysis.collect import read_json
from espnet2_dq.config import from_mapping
from espnet2_dq.data.tables import write_lines

CODES = ("lp", "pp", "lnmi", "pnmi", "sp", "snmi")
TRAININGS = ("first", "pretrain")


@dataclass(frozen=True)
class RowRecord:
    """One run of one row; what it does not have is empty.

    Attributes:
        row: Id of the row.
        seed: Of its trainings.
        scale: ``smoke``, ``mini`` or ``base``.
        state: ``ok``, or ``failed`` with ``kind`` and ``cause``.
        kind: ``collapse``, ``explosion`` or ``error``.
        cause: Last error line.
        stage: Where it failed.
        rates: ``per wer cer`` -> ``languages average ci95 set system``; shares.
        codes: ``lp pp lnmi pnmi``, and ``sp snmi``, what the utterances' codes say
            about speakers -> ``joint control groups group_controls``.
        by_language: Language -> ``pp pnmi`` -> ``joint control``.
        active: ``acn`` and ``agn`` by quantizer.
        alignment: Where the phones of ``pp`` and ``pnmi`` come from.
        trainings: ``first pretrain finetune_*`` -> ``updates updates_total audio_hours
            loss config`` (digest of what decides, without the seed).
        corpus_hours: Speech to pretrain on, by language.
        seconds: Wall time by stage.
        date: When its last stage was started (or failed, if it was the first).
        environment: Versions, commit, processor.
        commands: What was typed, without the machine's paths.
    """

    row: str
    seed: int
    scale: str
    state: Literal["ok", "failed"] = "ok"
    kind: Literal["", "collapse", "explosion", "error"] = ""
    cause: str = ""
    stage: str = ""
    rates: Mapping[str, Any] = field(default_factory=dict)
    codes: Mapping[str, Any] = field(default_factory=dict)
    by_language: Mapping[str, Any] = field(default_factory=dict)
    active: Mapping[str, Any] = field(default_factory=dict)
    alignment: str = ""
    trainings: Mapping[str, Any] = field(default_factory=dict)
    corpus_hours: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """``dq_sd_s0.json``."""
        return f"{self.row}_s{self.seed}.json"

    @property
    def updates(self) -> int:
        """Updates of pretraining, of both stages where there are two."""
        return sum(self.trainings.get(n, {}).get("updates", 0) for n in TRAININGS)

    @property
    def audio_hours(self) -> float:
        """Hours of audio that pretraining has seen."""
        return sum(self.trainings.get(n, {}).get("audio_hours", 0) for n in TRAININGS)

    @property
    def wall_seconds(self) -> float:
        """Wall time of all stages."""
        return float(sum(self.seconds.values()))

    def write(self, folder: Path) -> Path:
        """Write into ``folder``; the newest run of a row and seed stands there.

        A run that is recorded again keeps the versions that it was made with.
        """
        path = folder / self.file_name
        content = asdict(self)
        before = read_json(path)
        if self.date and before.get("date") == self.date:
            content["environment"] = before["environment"]
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_lines(path, text.splitlines())
        return path


def read_record(path: Path) -> RowRecord:
    """Read what :meth:`RowRecord.write` wrote.

    Raises:
        ConfigError: Keys that no record has.
    """
    return from_mapping(RowRecord, read_json(path), str(path))


def read_records(folder: Path) -> list[RowRecord]:
    """All records of a scale, by row and seed."""
    found = [read_record(path) for path in sorted(folder.glob("*_s[0-9]*.json"))]
    return sorted(found, key=lambda record: (record.row, record.seed))
