"""Reads the figures of a row's run from its experiment directory."""

import datetime
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from espnet2_dq.analysis.collect import (
    Scores,
    StageMark,
    read_json,
    read_marks,
    read_scores,
)
from espnet2_dq.analysis.jsonl import read_jsonl
from espnet2_dq.analysis.results import METRICS, MainScore, main_score, rates
from espnet2_dq.analysis.row_record import CODES, TRAININGS, RowRecord
from espnet2_dq.recipe.row_failure import Failure

# Fine-tunings that count, the first that there is: tables.sh's, else run.sh's default.
SYSTEMS = {
    "per": ("phn", "phn_random"),
    "wer": ("char", "char_random"),
    "cer": ("char", "char_random"),
}
_PLACES = ("--work_dir", "--python", "--data_root", "--cpc_lists")
# Keys of config.yaml that decide what a training does; the rest names places.
_DECIDING = (
    *("objective", "frontend", "frontend_conf", "preencoder", "preencoder_conf"),
    *("encoder", "encoder_conf", "model_conf", "ctc_conf", "time_mask"),
    *("channel_mask", "batch_seconds", "crop_seconds", "accum_grad"),
    *("length_multiple_s", "language_power", "max_epoch", "num_iters_per_epoch"),
    *("grad_clip", "optim", "optim_conf", "scheduler", "scheduler_conf"),
    "supervised_langs",
)


def record_of(
    exp: Path,
    row: str,
    seed: int,
    scale: str,
    *,
    source: Path | None = None,
    systems: Mapping[str, str] | None = None,
    failure: Failure | None = None,
    dump: Path | None = None,
    environment: Mapping[str, Any] | None = None,
) -> RowRecord:
    """Read the figures of a run from its directory.

    Args:
        exp: ``exp/<tag>`` of the row.
        row: Its id.
        seed: Of its trainings.
        scale: Of its configuration.
        source: Directory of scores, if another row's run holds them (TransCoder).
        systems: Metric -> system (``score_<system>``) that counts, by default
            :data:`SYSTEMS`.
        failure: How it ended, if not well.
        dump: Sets of stage 3, where stage 5 has left no hours in ``exp``.
        environment: ``recipe.environment``, when the record is made.
    """
    found = _main_scores(read_scores(source or exp), systems or {})
    metrics = read_json(exp / "analysis" / "metrics.json")
    marks = _marks_of(read_marks([exp, exp / "model"]), found)
    if source is not None:
        marks += [m for m in read_marks([source]) if m.name in _scored(found)]
    names = [*TRAININGS, *(f"finetune_{main.system}" for main in found.values())]
    trainings = {name: _training(exp / name) for name in dict.fromkeys(names)}
    return RowRecord(
        row=row,
        seed=seed,
        scale=scale,
        state="failed" if failure else "ok",
        kind=failure.kind if failure else "",
        cause=_without_paths(failure.cause, exp) if failure else "",
        stage=failure.stage if failure else "",
        rates={metric: _rate(main) for metric, main in found.items()},
        codes=_codes(metrics),
        by_language=_by_language(metrics),
        active={key: metrics[key] for key in ("acn", "agn") if key in metrics},
        alignment=str(metrics.get("alignment", "")),
        trainings={name: values for name, values in trainings.items() if values},
        corpus_hours=_corpus_hours(exp, dump),
        seconds={mark.name: round(mark.seconds, 1) for mark in marks},
        date=max((mark.started for mark in marks), default=_date_of(exp)),
        environment=_versions(environment or {}),
        commands=tuple(_commands(exp / "commands.txt")),
    )


def _main_scores(scores: Scores, systems: Mapping[str, str]) -> dict[str, MainScore]:
    """The score of each metric that counts; other fine-tunings are never guessed."""
    found = {}
    for metric in METRICS:
        names = [systems[metric]] if metric in systems else SYSTEMS[metric]
        there = [name for name in names if metric in _metrics_of(scores, name)]
        main = main_score({n: scores[n] for n in there[:1]}, metric)
        if main is not None:
            found[metric] = main
    return found


def _metrics_of(scores: Scores, system: str) -> set[str]:
    return {metric for sets in scores.get(system, {}).values() for metric in sets}


def _rate(main: MainScore) -> dict[str, Any]:
    by_language = rates(main.section)
    average = by_language.pop("average")
    return {
        "languages": {k: round(v, 6) for k, v in by_language.items()},
        "average": round(average, 6),
        "ci95": [round(v, 6) for v in main.section.get("ci95", [])],
        "set": main.set_name,
        "system": main.system,
    }


def _codes(metrics: Mapping[str, Any]) -> dict[str, Any]:
    speakers = (metrics.get("utterance_codes") or {}).get("utt2spk") or {}
    parts = {key: metrics.get(key) for key in CODES}
    parts |= {"sp": speakers.get("purity"), "snmi": speakers.get("nmi")}
    return {key: _code(part) for key, part in parts.items() if part}


def _code(part: Mapping[str, Any]) -> dict[str, Any]:
    shuffled = part.get("permutation") or {}
    return {
        "joint": _round(part["joint"]),
        "control": _round(shuffled.get("joint")),
        "groups": [_round(v) for v in part.get("groups", [])],
        "group_controls": [_round(v) for v in shuffled.get("groups", [])],
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _by_language(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Only languages whose phones are known."""
    found = {}
    for lang, values in (metrics.get("per_language") or {}).items():
        parts = {key: _code(values[key]) for key in ("pp", "pnmi") if values.get(key)}
        if parts:
            found[lang] = {k: _joint(v) for k, v in parts.items()}
    return found


def _joint(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("joint", "control")}


def _training(folder: Path) -> dict[str, Any]:
    """Updates and audio from ``log.jsonl``; empty if there was no training."""
    log = read_jsonl(folder / "log.jsonl")
    config = folder / "config.yaml"
    if not log or not config.is_file():
        return {}
    before, seconds = 0, 0.0
    for line in log:
        seconds += line["audio_s_per_update"] * (line["update"] - before)
        before = line["update"]
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    deciding = {key: content[key] for key in _DECIDING if key in content}
    text = json.dumps(deciding, sort_keys=True, default=str)
    return {
        "updates": before,
        "updates_total": log[-1].get("updates_total", before),
        "audio_hours": round(seconds / 3600, 4),
        "loss": log[-1].get("loss"),
        "config": hashlib.blake2b(text.encode(), digest_size=6).hexdigest(),
    }


def _marks_of(
    marks: Sequence[StageMark], found: Mapping[str, MainScore]
) -> list[StageMark]:
    """Stages of pretraining and of the systems whose scores count.

    The TransCoder's own have no number.
    """
    wanted = _scored(found)
    return [m for m in marks if m.number in (0, 5, 6, 7) or m.name in wanted]


def _scored(found: Mapping[str, MainScore]) -> set[str]:
    """Names of the stages from which the scores come."""
    names = set()
    for main in found.values():
        names.add(f"09_finetune_{main.system}")
        for stage in ("10_decode", "10_merge", "11_score"):
            names.add(f"{stage}_{main.system}_{main.set_name}")
    return names


def _corpus_hours(exp: Path, dump: Path | None) -> dict[str, float]:
    """Hours of train by language, from stage 5 or stage 3."""
    sets = list((read_json(exp / "stats.json").get("sets") or {}).values())
    hours = sets[0]["hours"] if sets else {}
    if not hours and dump is not None:
        rows = read_json(dump / "language_shares.json").get("languages", [])
        hours = {row["lang"]: row["hours"] for row in rows}
    return {lang: round(value, 4) for lang, value in hours.items()}


def _date_of(exp: Path) -> str:
    """When a run that has ended no stage wrote its last line."""
    times = [
        path.stat().st_mtime for path in (*exp.glob("*.log"), *exp.glob("*/*.log"))
    ]
    if not times:
        return ""
    last = datetime.datetime.fromtimestamp(max(times), datetime.UTC)
    return last.isoformat(timespec="seconds")


def _versions(environment: Mapping[str, Any]) -> dict[str, Any]:
    if not environment:
        return {}
    packages = environment["packages"]
    kept = {key: packages[key] for key in ("espnet2_dq", "espnet", "torch", "numpy")}
    names = ("python", "commit", "dirty", "cpu", "cores", "gpus")
    return {**kept, **{name: environment[name] for name in names}}


def _commands(path: Path) -> list[str]:
    """What was typed, each command once, without the options that name places."""
    if not path.is_file():
        return []
    typed = [shlex.split(x) for x in path.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(shlex.join(_plain(words)) for words in typed if words))


def _plain(words: Sequence[str]) -> list[str]:
    """One value for each option, the last (a recipe's defaults stand before)."""
    options: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        options.pop(name, None)
        options[name] = value if equals else next(rest, "")
    kept = {name: value for name, value in options.items() if name not in _PLACES}
    return [words[0], *(word for pair in kept.items() for word in pair)]


def _without_paths(cause: str, exp: Path) -> str:
    """The cause without where this machine keeps its experiments."""
    for path in (exp, exp.resolve()):
        above = [folder.parent for folder in path.parents if folder.name == "exp"]
        for folder in (path, *above[:1]):
            if folder != Path():
                cause = cause.replace(f"{folder}/", "")
    return cause
