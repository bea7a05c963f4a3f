"""Writes the tables: a part of RESULTS.md, ``results.json``, and a page."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from espnet2_dq.analysis import table_words as words
from espnet2_dq.analysis.paper_tables import Line, PaperTable, paper_tables
from espnet2_dq.analysis.published import source
from espnet2_dq.analysis.row_record import RowRecord
from espnet2_dq.analysis.seed_statistics import Stat
from espnet2_dq.data.tables import write_lines
from espnet2_dq.errors import DataError
from espnet2_dq.recipe.rows import Row, Scale

OURS = (
    "Ours: mean ± standard deviation over seeds, in brackets the same for shuffled"
    " codes. Every run that ended well counts; failed runs are listed."
)


def write_tables(
    rows: Mapping[str, Row],
    scale: Scale,
    records: Sequence[RowRecord],
    out: Path,
    markdown: Path | None = None,
) -> Path:
    """Write ``index.html`` and ``results.json``, and the scale's part of a report.

    Args:
        rows: All rows by id.
        scale: Of the records.
        records: All runs of this scale; each counts, and failed ones are listed.
        out: Folder of the two files.
        markdown: RESULTS.md: only what stands between the scale's markers is replaced.

    Returns:
        Path of ``index.html``.
    """
    tables = paper_tables(rows, records) if scale.figures else []
    content = as_json(scale, tables, records)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(out / "results.json", text.splitlines())
    page = out / "index.html"
    write_lines(page, as_html(rows, scale, tables, records).splitlines())
    if markdown is not None:
        part = as_markdown(rows, scale, tables, records)
        write_lines(markdown, replace_part(markdown, scale.name, part))
    return page


# -------------------------------------------------------------------- Markdown


def as_markdown(
    rows: Mapping[str, Row],
    scale: Scale,
    tables: Sequence[PaperTable],
    records: Sequence[RowRecord],
) -> list[str]:
    """The part of RESULTS.md, without its markers."""
    lines = [f"### The paper's tables at scale `{scale.name}`", "", scale.note]
    if tables:
        lines += ["Published figures: as printed. Ours: mean ± standard deviation over"]
        lines += [
            "seeds, in brackets shuffled codes; every run that ended well counts."
        ]
    for table in tables:
        lines += _markdown_table(table)
    lines += ["", f"#### All runs at scale `{scale.name}`", ""]
    lines += _grid(words.RUN_HEADS, [words.run_cells(run) for run in records])
    missing = [name for name in rows if name not in {run.row for run in records}]
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    lines += ["", *(f"    {x}" for x in words.make_commands(scale.name, records))]
    where = f"`results/{scale.name}/ROW_sSEED.json`"
    return [*lines, "", f"What was typed for each run, and all its figures: {where}."]


def _markdown_table(table: PaperTable) -> list[str]:
    first = "language" if table.by_language else "row"
    lines = ["", f"#### {words.head_of(table)}", ""]
    if table.number:
        outcome = ["outcome"] if any(line.outcome for line in table.lines) else []
        body = [
            [x.label, *(words.published_cell(x, c) for c in table.columns)]
            + [x.outcome for _ in outcome]
            for x in table.lines
        ]
        lines += [*_grid(["published", *table.columns, *outcome], body), ""]
    heads = [f"ours: {first}", *table.columns]
    body = [_our_cells(table, line) for line in table.lines]
    if not table.by_language:
        heads += [*words.BUDGET_HEADS, "runs"]
        for cells, line in zip(body, table.lines, strict=True):
            cells += [*words.budget_cells(line), words.state_of(line)]
    return [*lines, *_grid(heads, body), *_comparison(table)]


def _our_cells(table: PaperTable, line: Line) -> list[str]:
    name = line.label if table.by_language else f"{line.label} (`{line.row}`)"
    return [name, *(words.our_cell(line, column) for column in table.columns)]


def _comparison(table: PaperTable) -> list[str]:
    """Agreement with the paper; pairs of languages only as a number (page: all)."""
    lines = [f"- {ending}" for ending in words.outcome_words(table)]
    for ordering in table.orderings:
        lines.append(f"- Order by {words.ordering_words(ordering)}")
        if not table.by_language:
            pairs = words.disagreement_words(ordering)
            lines += [f"  - {pair}" for pair in pairs]
    return ["", *lines] if lines else []


def _grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [heads, ["---"] * len(heads), *body]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def replace_part(path: Path, name: str, part: Sequence[str]) -> list[str]:
    """The lines of a file with the part between two markers replaced.

    The markers are ``<!-- tables NAME -->`` and ``<!-- end of tables NAME -->``; they
    are added at the end of a file that has none.

    Raises:
        DataError: Only one of the markers, or the second before the first.
    """
    begin, end = f"<!-- tables {name} -->", f"<!-- end of tables {name} -->"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    places = [i for i, line in enumerate(lines) if line.strip() in (begin, end)]
    found = [lines[i].strip() for i in places]
    if not found:
        return [*lines, *([""] if lines else []), begin, *part, end]
    if found != [begin, end]:
        raise DataError(
            f"{path}: expected the line '{begin}' and after it '{end}', each once;"
            f" found {found}"
        )
    return [*lines[: places[0] + 1], *part, *lines[places[1] :]]


# ------------------------------------------------------------------------ page


def as_html(
    rows: Mapping[str, Row],
    scale: Scale,
    tables: Sequence[PaperTable],
    records: Sequence[RowRecord],
) -> str:
    """The page, without any outside resource."""
    templates = {
        name: (files(__package__) / "templates" / name).read_text(encoding="utf-8")
        for name in ("tables.html", "style.html")
    }
    engine = jinja2.Environment(
        loader=jinja2.DictLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page: str = engine.get_template("tables.html").render(
        scale=scale,
        tables=tables,
        records=records,
        source=source(),
        ours=OURS,
        words=words,
        missing=[name for name in rows if name not in {run.row for run in records}],
    )
    return page


# ------------------------------------------------------------------------ JSON


def as_json(
    scale: Scale, tables: Sequence[PaperTable], records: Sequence[RowRecord]
) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "scale": scale.name,
        "source": source(),
        "tables": {t.number or "own": _json_table(t) for t in tables},
        "runs": [
            {
                "row": run.row,
                "seed": run.seed,
                "state": run.state,
                "kind": run.kind,
                "cause": run.cause,
                "updates": run.updates,
                "audio_hours": round(run.audio_hours, 4),
                "wall_seconds": round(run.wall_seconds, 1),
                "date": run.date,
            }
            for run in records
        ],
    }


def _json_table(table: PaperTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "rows": [
            {
                "label": line.label,
                "row": line.row,
                "published": dict(line.published),
                "outcome": line.outcome,
                "ours": {c: _json_stat(s) for c, s in line.ours.items()},
                "controls": {c: _json_stat(s) for c, s in line.controls.items()},
                "seeds": [run.seed for run in line.finished],
                "failed": {run.seed: run.cause for run in line.failed},
                "mixed_configurations": line.mixed,
            }
            for line in table.lines
        ],
        "orderings": {
            o.column: {
                "rows": o.rows,
                "kendall_tau": o.tau,
                "p_value": o.p_value,
                "pairs": o.pairs,
                "disagreements": [vars(pair) for pair in o.disagreements],
            }
            for o in table.orderings
        },
    }


def _json_stat(stat: Stat) -> dict[str, Any]:
    return {"mean": stat.mean, "sd": stat.sd, "n": stat.n, "values": list(stat.values)}
