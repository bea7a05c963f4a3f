"""Records of runs that never were, and experiment directories as runs leave them."""

import json
from pathlib import Path

from espnet2_dq.analysis.row_record import RowRecord

LANGUAGES = ("en", "es", "fr", "it", "ky", "tt", "nl", "ru", "sv")


def make_record(row: str, seed: int = 0, per: float | None = 0.2, **more) -> RowRecord:
    """A run that ended well, the same rate in every language; None: without rates."""
    rates = {}
    if per is not None:
        by_language = dict.fromkeys(LANGUAGES, per)
        rates["per"] = {
            "languages": by_language, "average": per, "ci95": [per, per],
            "set": "test", "system": "phn",
        }  # fmt: skip
    values = {
        "rates": rates,
        "trainings": {
            "pretrain": {
                "updates": 100, "updates_total": 100, "audio_hours": 0.5,
                "loss": 1.0, "config": "abc",
            }
        },
        "seconds": {"06_pretrain": 60.0, "09_finetune_phn": 30.0},
        "date": "2026-11-22T10:00:00+00:00",
        "commands": (f"./run.sh --row {row} --seed {seed}",),
        **more,
    }  # fmt: skip
    return RowRecord(row=row, seed=seed, scale="mini", **values)


def make_failed(row: str, seed: int = 0, kind: str = "collapse") -> RowRecord:
    """A run that did not end well."""
    cause = "CollapseError: phoneme quantizer group 1: uses 1 code | at 30 of 100"
    failed = {"state": "failed", "kind": kind, "cause": cause, "stage": "06_pretrain"}
    return make_record(row, seed, per=None, **failed)


def code(joint: float, control: float = 0.1) -> dict:
    """A figure of the quantizers."""
    return {"joint": joint, "control": control, "groups": [], "group_controls": []}


def section(metric: str, rate: float) -> dict:
    """As ``bin.score`` writes it."""
    return {
        "metric": metric,
        "languages": {lang: {"rate": rate} for lang in LANGUAGES},
        "average": rate,
        "ci95": [rate - 0.01, rate + 0.01],
    }


def make_experiment(exp: Path, *, systems=("phn",), updates=20, **config) -> Path:
    """``exp/<tag>`` as stages 5 to 11 leave it, without any model."""
    for name in ("pretrain", *(f"finetune_{system}" for system in systems)):
        folder = exp / name
        folder.mkdir(parents=True)
        values = {"max_epoch": 2, "seed": 0, "output_dir": str(folder), **config}
        (folder / "config.yaml").write_text(json.dumps(values))
        lines = [
            {"update": u, "updates_total": updates, "audio_s_per_update": 18.0}
            | {"loss": 3.0}
            for u in range(10, updates + 1, 10)
        ]
        (folder / "log.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    for system in systems:
        metric = "wer" if system.startswith("char") else "per"
        folder = exp / f"score_{system}" / "test"
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps(section(metric, 0.25)))
    _write_marks(exp, systems)
    return exp


def _write_marks(exp: Path, systems) -> None:
    names = {"06_pretrain": 60.0, "07_analyse": 5.0}
    for system in systems:
        names[f"09_finetune_{system}"] = 30.0
        names[f"10_decode_{system}_test"] = 3.0
        names[f"11_score_{system}_test"] = 1.0
        names[f"11_score_{system}_test_rec"] = 1000.0
    (exp / ".done").mkdir()
    for hour, (name, seconds) in enumerate(names.items()):
        mark = {
            "stage": name, "command": ["python"], "seconds": seconds,
            "started": f"2026-11-22T{hour:02d}:00:00+00:00",
        }  # fmt: skip
        (exp / ".done" / f"{name}.json").write_text(json.dumps(mark))
