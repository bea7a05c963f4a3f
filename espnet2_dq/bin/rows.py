"""Rows of the paper's tables: list them, or say what one of them needs of run.sh."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.recipe.overlay import overlay_files
from espnet2_dq.recipe.rows import (
    TABLE_FILE,
    Row,
    TableFile,
    overlay_of,
    read_tables,
)


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--tables", type=Path, default=TABLE_FILE, help="all rows")
    add("--row", help="print what run.sh does for this row, one 'KEY VALUE' a line")
    add("--first_stage", default="", help="overlay of a pretraining before the row's")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, look up, print."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        tables = read_tables(args.tables)
        if args.row is None:
            lines = listing(tables)
        else:
            row = tables.row(args.row) if args.row else None
            lines = instructions(row, tables, args.first_stage)
        print("\n".join(lines))

    return run_command("rows", work)


def instructions(
    row: Row | None, tables: TableFile, first_stage: str = ""
) -> list[str]:
    """What ``run.sh --row`` reads (``read_row`` in ``pretraining.sh``).

    Args:
        row: ``None``: no row, a first stage alone.
        tables: All rows.
        first_stage: Goes before the row's own.

    Returns:
        ``flow``; ``overlay`` and ``first_overlay`` with the files that these extend
        as ``input`` and ``first_input``; ``option NAME VALUE``.
    """
    row = row or Row()
    lines = [f"flow {row.flow}"]
    first = row.first_overlay(tables.folder)
    if first_stage:
        first = overlay_of(tables.folder, first_stage)
    overlays = {"": row.overlay(tables.folder) if row.id else None, "first_": first}
    for prefix, overlay in overlays.items():
        if overlay is not None:
            lines.append(f"{prefix}overlay {overlay}")
            lines += [f"{prefix}input {file}" for file in overlay_files(overlay)]
    return lines + [f"option {name} {value}" for name, value in row.options.items()]


def listing(tables: TableFile) -> list[str]:
    """A line per row for people: id, tables, title."""
    width = max((len(name) for name in tables.rows), default=0)
    return [
        f"{row.id:<{width}}  {' '.join(row.tables) or '-':<12}  {row.title}"
        for row in tables.rows.values()
    ]


if __name__ == "__main__":
    sys.exit(main())
