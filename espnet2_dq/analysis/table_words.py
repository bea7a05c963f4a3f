"""Cells, states and orderings of the paper's tables in words, for page and Markdown."""

from collections.abc import Sequence

from espnet2_dq.analysis.paper_tables import Line, PaperTable, digits_of
from espnet2_dq.analysis.row_record import RowRecord
from espnet2_dq.analysis.seed_statistics import Ordering, Stat

NOT_RUN, EMPTY = "not run", "–"


def published_cell(line: Line, column: str) -> str:
    """A number as printed, but for zeros at its end."""
    value = line.published.get(column)
    return EMPTY if value is None else f"{value:g}"


def stat_cell(stat: Stat | None, digits: int) -> str:
    """``19.05 ± 0.16``; the mean alone with one seed.

    >>> stat_cell(Stat((1.0, 2.0)), 2), stat_cell(Stat((1.0,)), 1), stat_cell(None, 1)
    ('1.50 ± 0.71', '1.0', '–')
    """
    if stat is None:
        return EMPTY
    spread = "" if stat.sd is None else f" ± {stat.sd:.{digits}f}"
    return f"{stat.mean:.{digits}f}{spread}"


def our_cell(line: Line, column: str) -> str:
    """Mean and spread, in brackets the mean of shuffled codes, in one line."""
    return " ".join(filter(None, our_parts(line, column)))


def our_parts(line: Line, column: str) -> tuple[str, str]:
    """The mean; and what goes smaller: spread, and the mean of shuffled codes."""
    digits, stat = digits_of(column), line.ours.get(column)
    mean, _, spread = stat_cell(stat, digits).partition(" ")
    control = line.controls.get(column)
    bracket = "" if control is None else f"[{control.mean:.{digits}f}]"
    return mean, " ".join(filter(None, (spread, bracket)))


def state_of(line: Line) -> str:
    """How the row's runs ended, in a few words."""
    parts = []
    if line.finished:
        seeds = " ".join(str(run.seed) for run in line.finished)
        parts.append(f"seeds {seeds}" if len(line.finished) > 1 else f"seed {seeds}")
    parts += [failure_words(run) for run in line.failed]
    if line.mixed:
        parts.append("seeds differ in their configuration")
    return "; ".join(parts) or NOT_RUN


def failure_words(run: RowRecord) -> str:
    """``seed 0: collapse in 06_pretrain: CollapseError: ...``."""
    where = f" in {run.stage}" if run.stage else ""
    return f"seed {run.seed}: {run.kind}{where}: {run.cause}"


def duration_words(seconds: float | None) -> str:
    """``75`` -> ``1 min 15 s``."""
    if seconds is None:
        return EMPTY
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def budget_cells(line: Line) -> list[str]:
    """Seeds, hours of audio, updates, wall time: means over the finished runs."""
    if not line.finished:
        return [str(len(line.finished)), EMPTY, EMPTY, EMPTY]
    hours, updates = line.budget("audio_hours"), line.budget("updates")
    wall = line.budget("wall_seconds")
    return [
        str(len(line.finished)),
        stat_cell(Stat((hours.mean,)) if hours else None, 2),
        stat_cell(Stat((updates.mean,)) if updates else None, 0),
        duration_words(wall.mean if wall else None),
    ]


BUDGET_HEADS = ("seeds", "audio [h]", "updates", "wall time")


def ordering_words(ordering: Ordering) -> str:
    """How far the order of the rows agrees by one figure."""
    count = len(ordering.rows)
    head = f"{ordering.column}: rows with both figures: {count}"
    if ordering.pairs == 0:
        return f"{head}; no order to compare."
    tau = ""
    if ordering.tau is not None and ordering.p_value is not None:
        tau = f"; Kendall's tau {ordering.tau:.2f} (p {ordering.p_value:.2g})"
    wrong = len(ordering.disagreements)
    return f"{head}{tau}; pairs that disagree: {wrong} of {ordering.pairs}."


def disagreement_words(ordering: Ordering) -> list[str]:
    """Each pair that disagrees, with both differences."""
    digits = digits_of(ordering.column)
    return [
        f"{pair.a} minus {pair.b}: published {pair.published:+.{digits}f},"
        f" ours {pair.ours:+.{digits}f}"
        for pair in ordering.disagreements
    ]


def outcome_words(table: PaperTable) -> list[str]:
    """Rows that did not end well in the paper: what became of ours."""
    found = []
    for line in table.lines:
        if not line.outcome or not line.runs:
            continue
        alike = sum(run.kind == line.expect for run in line.failed)
        found.append(
            f"{line.label}: published {line.outcome}; the same in {alike} of"
            f" {len(line.runs)} runs of ours ({state_of(line)})"
        )
    return found


def head_of(table: PaperTable) -> str:
    """``Table II: Phoneme error rate [%]``."""
    return f"Table {table.number}: {table.title}" if table.number else table.title


def run_cells(run: RowRecord) -> list[str]:
    """One run: row, seed, how it ended, budget, date, versions."""
    versions = run.environment
    ended = "ok" if run.state == "ok" else failure_words(run).partition(": ")[2]
    return [
        run.row,
        str(run.seed),
        ended,
        f"{run.audio_hours:.2f}",
        str(run.updates),
        duration_words(run.wall_seconds),
        run.date[:10] or EMPTY,
        f"ESPnet {versions['espnet']}, {versions['commit']}" if versions else EMPTY,
    ]


RUN_HEADS = (
    "row",
    "seed",
    "ended",
    "audio [h]",
    "updates",
    "wall time",
    "date",
    "recorded with",
)


def commands_of(records: Sequence[RowRecord]) -> list[str]:
    """What was typed, once."""
    typed = [command for run in records for command in run.commands]
    return list(dict.fromkeys(typed))


def make_commands(scale: str, records: Sequence[RowRecord]) -> list[str]:
    """``make tables`` for what is there: rows with the same seeds together."""
    seeds: dict[str, list[int]] = {}
    for run in records:
        seeds.setdefault(run.row, []).append(run.seed)
    together: dict[tuple[int, ...], list[str]] = {}
    for row, found in seeds.items():
        together.setdefault(tuple(sorted(found)), []).append(row)
    return [
        f'make tables SCALE={scale} ROWS="{" ".join(rows)}"'
        f' SEEDS="{" ".join(map(str, found))}"'
        for found, rows in together.items()
    ]
