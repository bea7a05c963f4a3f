"""Stage 12: one HTML file that shows a run, and ``results.json`` beside it."""

import base64
import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from espnet2_dq.analysis.collect import STAGES, Run
from espnet2_dq.analysis.figures import plot_probe, plot_training, save_figure
from espnet2_dq.analysis.modes import HEADS, mode_table
from espnet2_dq.analysis.modes import METRICS as MODE_METRICS
from espnet2_dq.analysis.results import METRICS, main_score, results
from espnet2_dq.data.tables import write_lines

NOT_RUN = "not run"
# A stage's mark is written when it has ended: ours cannot be there yet.
_NO_MARK_YET = {"report": "wrote this page", "pack": "not run before this page"}


@dataclass(frozen=True)
class Picture:
    """An image inside the page."""

    source: str
    description: str
    caption: str


@dataclass(frozen=True)
class StageRow:
    """One line of the table of stages; without ``seconds``, ``started`` says why."""

    number: int
    name: str
    seconds: float | None
    started: str
    command: str


def write_report(run: Run, out: Path, environment: Mapping[str, Any]) -> Path:
    """Write ``index.html`` and ``results.json``.

    Args:
        run: What is on disk.
        out: Folder of the two files.
        environment: Versions, commit and machine (``recipe.environment``).

    Returns:
        Path of ``index.html``.
    """
    found = results(run)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(out / "results.json", text.splitlines())
    write_lines(out / "index.html", render(run, found, environment).splitlines())
    return out / "index.html"


def render(run: Run, found: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """The page as HTML without any outside resource."""
    templates = {
        name: (files(__package__) / "templates" / name).read_text(encoding="utf-8")
        for name in ("report.html", "style.html")
    }
    engine = jinja2.Environment(
        loader=jinja2.DictLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    engine.filters |= {
        "percent": _percent,
        "number": _number,
        "duration": duration,
        "control": _control,
    }
    page: str = engine.get_template("report.html").render(
        run=run,
        results=found,
        environment=environment,
        score_tables=score_tables(run),
        stages=stage_rows(run),
        training=_training_pictures(run),
        probe=_probe_picture(run),
        code_maps=_code_maps(run),
        mode_metrics=dict(zip(MODE_METRICS, HEADS, strict=True)),
        posteriors=_posterior_picture(run),
        total_seconds=sum(mark.seconds for mark in run.marks),
    )
    return page


# ------------------------------------------------------------------ tables


@dataclass(frozen=True)
class ScoreTable:
    """Rates by language for one metric: a column for each system and set.

    Attributes:
        metric: ``per``, ``wer`` or ``cer``.
        columns: Head of each column.
        rows: Language -> section row of each column, or ``None``.
        average: Section of each column.
    """

    metric: str
    columns: list[str]
    rows: dict[str, list[dict[str, Any] | None]]
    average: list[dict[str, Any]]


def score_tables(run: Run) -> list[ScoreTable]:
    """One table for each metric that was scored."""
    tables = []
    for metric in METRICS:
        columns = [
            (f"{system}, {name}", metrics[metric])
            for system, sets in run.scores.items()
            for name, metrics in sets.items()
            if metric in metrics
        ]
        languages = sorted({lang for _, c in columns for lang in c["languages"]})
        if columns:
            tables.append(
                ScoreTable(
                    metric=metric,
                    columns=[head for head, _ in columns],
                    rows={
                        lang: [c["languages"].get(lang) for _, c in columns]
                        for lang in languages
                    },
                    average=[c for _, c in columns],
                )
            )
    return tables


def stage_rows(run: Run) -> list[StageRow]:
    """Every stage, those without a mark as not run."""
    rows = []
    for number, name in enumerate(STAGES, start=1):
        marks = [mark for mark in run.marks if mark.number == number]
        rows += [
            StageRow(number, m.name, m.seconds, m.started, shlex.join(m.command))
            for m in marks
        ]
        if not marks:
            why = _NO_MARK_YET.get(name, NOT_RUN)
            rows.append(StageRow(number, f"{number:02d}_{name}", None, why, ""))
    return rows


def plain_table(run: Run) -> str:
    """The main table for the terminal: modes of a Korean run, else PER, else WER."""
    if run.modes:
        return mode_table(run.modes)
    for metric in METRICS:
        main = main_score(run.scores, metric)
        if main is None:
            continue
        width = max(8, *(len(lang) for lang in main.section["languages"]))
        lines = [f"{metric.upper()} [%] of {main.system} on {main.set_name}"]
        for lang, row in main.section["languages"].items():
            lines.append(f"  {lang:<{width}} {100 * row['rate']:6.2f}")
        average = 100 * main.section["average"]
        return "\n".join([*lines, f"  {'average':<{width}} {average:6.2f}"])
    return "PER: not run"


# ----------------------------------------------------------------- pictures


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    save_figure(figure, buffer, vector=True)
    return _data_uri(buffer.getvalue(), "svg+xml")


def _training_pictures(run: Run) -> list[Picture]:
    pictures = []
    for name, records in run.training.items():
        figure = plot_training(records, name)
        if figure is not None:
            last = records[-1]
            loss = last.get("loss")
            end = "" if loss is None else f"; loss {loss:.4g} at the end"
            pictures.append(
                Picture(
                    _svg(figure),
                    f"Curves over updates of {name}: losses and gauges",
                    f"{name}: {last['update']} updates{end}",
                )
            )
    return pictures


def _probe_picture(run: Run) -> Picture | None:
    figure = plot_probe(run.probe)
    if figure is None:
        return None
    return Picture(
        _svg(figure),
        "Accuracy of a linear frame-phone probe by update and by layer",
        "Linear probe on frozen features, frames of speakers it has not seen. It"
        " should rise with updates, and end above update 0 (random weights).",
    )


def _posterior_picture(run: Run) -> Picture | None:
    if run.posteriors is None:
        return None
    from espnet2_dq.analysis.posterior_picture import posterior_picture

    drawing = posterior_picture(run.posteriors, run.references)
    if drawing is None:
        return None
    return Picture(
        _data_uri(drawing.encode("utf-8"), "svg+xml"),
        "Posteriors of the grapheme and the syllable head along time",
        "An utterance of dev: probability of each token along time, blank in grey. The"
        " line above is the reference.",
    )


def _code_maps(run: Run) -> list[Picture]:
    return [
        Picture(
            _data_uri(path.read_bytes(), "png"),
            f"Heat map of the probability of each {name} given the joint code",
            f"P({name}|code). Each column is a joint code in use. A clear diagonal:"
            f" codes stand for one {name} each; high values along one row only: most"
            " codes stand for the most frequent one.",
        )
        for name, path in run.code_maps.items()
    ]


# ------------------------------------------------------------------ filters


def _percent(value: float | None, digits: int = 1) -> str:
    return NOT_RUN if value is None else f"{100 * value:.{digits}f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _control(part: Mapping[str, Any], group: int | None = None) -> str:
    """``0.181 [0.115]``: a value and its permutation control."""
    if group is None:
        value, control = part["joint"], part["permutation"]["joint"]
    else:
        value = part["groups"][group]
        control = part["permutation"]["groups"][group]
    return f"{_number(value)} [{_number(control)}]"


def duration(seconds: float | None) -> str:
    """``75`` -> ``1 min 15 s``."""
    if seconds is None:
        return NOT_RUN
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
