"""The paper's tables with our figures beside the published ones."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from espnet2_dq.analysis.published import (
    PublishedRow,
    PublishedTable,
    published_tables,
)
from espnet2_dq.analysis.row_record import CODES, RowRecord
from espnet2_dq.analysis.seed_statistics import (
    Ordering,
    Stat,
    compare_orderings,
    stat_of,
)
from espnet2_dq.recipe.rows import Row

# Languages of the averages: all but English; and the three of Table III's first one.
EIGHT = ("es", "fr", "it", "ky", "tt", "nl", "ru", "sv")
THREE = ("es", "fr", "it")
AVERAGE = "Avg"
# Row that Tables I and V show.
CODES_BY_LANGUAGE = "dq_sd"
_COMPARED = {
    "II": [AVERAGE],
    "III": ["Avg3", "Avg8"],
    "IV": ["LP", "PP", "LNMI", "PNMI"],
    "V": ["PP", "PNMI"],
    "VI": ["PER", "LNMI", "PNMI"],
}
Figure = Callable[[RowRecord], float | None]


@dataclass(frozen=True)
class Line:
    """One row of a table, published and ours.

    Attributes:
        label: As in the paper.
        row: Id of our row.
        published: By column; empty for a row of our own.
        outcome: Published outcome without numbers.
        ours: By column.
        controls: The same for shuffled codes, where there is such a control.
        runs: All records of the row, failed ones included.
        expect: Kind of failure that ``outcome`` stands for.
    """

    label: str
    row: str
    published: Mapping[str, float]
    outcome: str
    ours: Mapping[str, Stat]
    controls: Mapping[str, Stat]
    runs: Sequence[RowRecord]
    expect: str = ""

    @property
    def finished(self) -> list[RowRecord]:
        """Runs that ended well."""
        return [run for run in self.runs if run.state == "ok"]

    @property
    def failed(self) -> list[RowRecord]:
        """Runs that did not."""
        return [run for run in self.runs if run.state != "ok"]

    @property
    def mixed(self) -> bool:
        """Whether seeds differ in more than the seed: their mean mixes settings."""
        names = {name for run in self.finished for name in run.trainings}
        return any(
            len(
                {
                    run.trainings[n]["config"]
                    for run in self.finished
                    if n in run.trainings
                }
            )
            > 1
            for n in names
        )

    def budget(self, name: str) -> Stat | None:
        """``updates``, ``audio_hours`` or ``wall_seconds`` over the finished runs."""
        return stat_of([float(getattr(run, name)) for run in self.finished])


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: ``I`` to ``VI``; ``""`` for our own rows.
        title: What it shows.
        columns: Heads.
        lines: Its rows.
        orderings: Whether the rows come in the same order, by column.
        by_language: Whether its lines are languages and not systems.
    """

    number: str
    title: str
    columns: list[str]
    lines: list[Line]
    orderings: list[Ordering] = field(default_factory=list)
    by_language: bool = False


def paper_tables(
    rows: Mapping[str, Row], records: Sequence[RowRecord]
) -> list[PaperTable]:
    """All tables, and one of the rows that the paper does not have.

    Args:
        rows: All rows by id.
        records: Of one scale.
    """
    tables = []
    for number, published in published_tables().items():
        if number in ("I", "V"):
            lines = _language_lines(published, records)
        else:
            lines = _system_lines(published, rows, records)
        tables.append(
            PaperTable(
                number=number,
                title=published.title,
                columns=published.columns,
                lines=lines,
                orderings=[_ordering(lines, c) for c in _COMPARED.get(number, [])],
                by_language=number in ("I", "V"),
            )
        )
    return [*tables, _own_rows(rows, records)]


def _system_lines(
    table: PublishedTable, rows: Mapping[str, Row], records: Sequence[RowRecord]
) -> list[Line]:
    number = table.number
    by_label = {r.tables[number]: r for r in rows.values() if number in r.tables}
    lines = []
    for published in table.rows:
        row = by_label.get(published.label)
        runs = [r for r in records if row is not None and r.row == row.id]
        lines.append(
            _line(
                published.label,
                row.id if row is not None else "",
                {c: _FIGURES[number](c) for c in table.columns},
                runs,
                published,
                row.expect if row is not None else "",
            )
        )
    return lines


def _language_lines(table: PublishedTable, records: Sequence[RowRecord]) -> list[Line]:
    """Tables I and V: a line for each language."""
    runs = [r for r in records if r.row == CODES_BY_LANGUAGE]
    if table.number == "I":
        runs = [r for r in records if r.corpus_hours][:1]
    return [
        _line(
            published.label,
            CODES_BY_LANGUAGE,
            {c: _of_language(published.label, c) for c in table.columns},
            runs,
            published,
        )
        for published in table.rows
    ]


def _own_rows(rows: Mapping[str, Row], records: Sequence[RowRecord]) -> PaperTable:
    """Rows that stand in no table of the paper."""
    columns = ["PER", "LP", "PP", "LNMI", "PNMI", "SP", "SNMI"]
    lines = [
        _line(
            row.title,
            row.id,
            {c: _FIGURES["VI"](c) for c in columns},
            [r for r in records if r.row == row.id],
        )
        for row in rows.values()
        if not row.tables
    ]
    return PaperTable("", "Rows that the paper does not have", columns, lines)


def _line(
    label: str,
    row: str,
    figures: Mapping[str, tuple[Figure, Figure | None]],
    runs: Sequence[RowRecord],
    published: PublishedRow | None = None,
    expect: str = "",
) -> Line:
    finished = [run for run in runs if run.state == "ok"]
    ours, controls = {}, {}
    for column, (figure, control) in figures.items():
        found = stat_of([figure(run) for run in finished])
        if found is not None:
            ours[column] = found
        shuffled = stat_of([control(run) for run in finished]) if control else None
        if shuffled is not None:
            controls[column] = shuffled
    values = published.values if published else {}
    outcome = published.outcome if published else ""
    return Line(label, row, values, outcome, ours, controls, list(runs), expect)


def _ordering(lines: Sequence[Line], column: str) -> Ordering:
    compared = [line for line in lines if line.label != AVERAGE]
    return compare_orderings(
        column,
        {x.label: x.published[column] for x in compared if column in x.published},
        {x.label: x.ours[column].mean for x in compared if column in x.ours},
    )


def digits_of(column: str) -> int:
    """Digits behind the point: percentages and hours 2, shares 3."""
    return 3 if column.lower() in CODES else 2


# ------------------------------------------------------------------ figures


def error_rate(
    record: RowRecord, metric: str, languages: Sequence[str]
) -> float | None:
    """Mean rate over languages in percent; ``None`` if one of them is missing."""
    found = record.rates.get(metric, {}).get("languages", {})
    if any(lang not in found for lang in languages):
        return None
    return 100 * statistics.fmean(found[lang] for lang in languages)


def _rate_column(metric: str, column: str) -> tuple[Figure, Figure | None]:
    languages = {AVERAGE: EIGHT, "Avg8": EIGHT, "Avg3": THREE}.get(column, (column,))
    return lambda record: error_rate(record, metric, languages), None


def _code_column(column: str) -> tuple[Figure, Figure | None]:
    """LP, PP, LNMI, PNMI, SP, SNMI of the joint codes, and of shuffled ones."""
    key = column.lower()
    if key not in CODES:
        return _rate_column("per", AVERAGE)
    return (
        lambda record: record.codes.get(key, {}).get("joint"),
        lambda record: record.codes.get(key, {}).get("control"),
    )


def _of_language(lang: str, column: str) -> tuple[Figure, Figure | None]:
    """Hours (Table I) or PP and PNMI (Table V) of one language, or their average."""
    if column == "hours":
        return lambda record: record.corpus_hours.get(lang), None
    languages = EIGHT if lang == AVERAGE else (lang,)

    def part(name: str) -> Figure:
        def figure(record: RowRecord) -> float | None:
            values = [
                record.by_language.get(x, {}).get(column.lower(), {}).get(name)
                for x in languages
            ]
            return None if None in values else statistics.fmean(values)

        return figure

    return part("joint"), part("control")


_FIGURES: dict[str, Callable[[str], tuple[Figure, Figure | None]]] = {
    "II": lambda column: _rate_column("per", column),
    "III": lambda column: _rate_column("wer", column),
    "IV": _code_column,
    "VI": _code_column,
}
