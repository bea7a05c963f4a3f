"""The paper's tables: record the figures of runs, and show them beside the published.

Run in the recipe's directory. Every run has a file of its own, which may be committed
(results/SCALE/ROW_sSEED.json): figures of several machines and days add up.
"""

import argparse
import dataclasses
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.errors import DataError
from espnet2_dq.recipe.rows import TABLE_FILE, Row, TableFile, read_tables

if TYPE_CHECKING:
    from espnet2_dq.analysis.row_record import RowRecord
    from espnet2_dq.recipe.row_failure import Failure

RESULTS = Path("results")
MARKDOWN = Path("RESULTS.md")
_RUN_NAME = re.compile(r"(\w+)_s(\d+)")


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--scale", required=True, help="smoke, mini or base")
    add("--tables", type=Path, default=TABLE_FILE, help="all rows and scales")
    add("--exp", type=Path, help="record the runs in EXP/tables_SCALE (tables.sh)")
    add("--record", type=Path, help="record exp/<tag>, a run of one row made by hand")
    add("--row", help="with --record: which row it is")
    add("--seed", type=int, help="with --record: seed of its trainings")
    add("--phn_system", help="with --record: fine-tuning that counts, as phn_0.5m")
    add("--char_system", help="the same for characters")
    add("--dump", type=Path, default=Path("dump"), help="sets of stage 3")
    add("--results", type=Path, default=RESULTS, help="folder of all scales' records")
    add("--out", type=Path, help="index.html, results.json (default: RESULTS/SCALE)")
    add(
        "--markdown",
        type=Path,
        default=MARKDOWN,
        help="report in which the scale's part is replaced",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, record, write."""
    args = get_parser().parse_args(argv)
    return run_command("tables", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    tables = read_tables(args.tables)
    tables.scale(args.scale)
    folder = args.results / args.scale
    if args.record is not None:
        record_by_hand(args, tables).write(folder)
    if args.exp is not None:
        for record in recorded(args.exp, args.scale, tables, args.dump):
            logging.info("%s", record.write(folder))
    render(tables, args.scale, args.results, args.out, args.markdown)


def record_by_hand(args: argparse.Namespace, tables: TableFile) -> "RowRecord":
    """The record of a run that was not made by ``tables.sh``.

    Raises:
        DataError: An option is missing, or there is nothing to record.
    """
    if args.row is None or args.seed is None:
        raise DataError("--record needs --row and --seed")
    if not args.record.is_dir():
        raise DataError(f"--record {args.record}: no such directory")
    tables.row(args.row)
    chosen = {"per": args.phn_system, "wer": args.char_system, "cer": args.char_system}
    record = make_record(
        args.record,
        args.row,
        args.seed,
        args.scale,
        tables,
        args.dump,
        systems={metric: system for metric, system in chosen.items() if system},
    )
    if not record.rates and not record.codes:
        raise DataError(
            f"--record {args.record}: neither scores nor metrics; run stages 7 and 11,"
            " and name a fine-tuning that is not called phn or char (--phn_system)"
        )
    return record


def recorded(exp: Path, scale: str, tables: TableFile, dump: Path) -> list["RowRecord"]:
    """Records of all runs in ``exp/tables_<scale>`` that have ended.

    A run that has not says so in the log and is left out.
    """
    from espnet2_dq.recipe.table_runs import read_state

    found = []
    for folder in sorted((exp / f"tables_{scale}").glob("*_s*")):
        name = _RUN_NAME.fullmatch(folder.name)
        if name is None or name[1] not in tables.rows:
            continue
        state = read_state(folder)
        if state is None:
            logging.info("%s: has not ended", folder)
            continue
        seed = int(name[2])
        found.append(
            make_record(folder, name[1], seed, scale, tables, dump, state.failure)
        )
    return found


def make_record(
    exp: Path,
    row: str,
    seed: int,
    scale: str,
    tables: TableFile,
    dump: Path,
    failure: "Failure | None" = None,
    systems: Mapping[str, str] | None = None,
) -> "RowRecord":
    """The record of one run; the TransCoder's scores lie in the run that it spells."""
    from espnet2_dq.analysis.row_figures import record_of
    from espnet2_dq.recipe.environment import environment

    found = tables.row(row)
    source = None
    if found.flow == "transcoder":
        source = exp.with_name(f"{found.needs}_s{seed}")
        systems = {"per": "", "wer": "transcoder_phn", "cer": "transcoder_phn"}
    record = record_of(
        exp,
        row,
        seed,
        scale,
        source=source,
        systems=systems,
        failure=failure,
        dump=dump,
        environment=environment().as_dict(),
    )
    if found.flow in ("pretrain", "random"):
        return record
    typed = f"./tables.sh --scale {scale} --rows {row} --seeds {seed}"
    return dataclasses.replace(record, commands=(typed,))


def missing_figures(row: Row, record: "RowRecord") -> list[str]:
    """What a row that ended well has to have, and this record has not."""
    wanted = {"phn": "per", "char": "wer"}
    lacking = [wanted[unit] for unit in row.units if wanted[unit] not in record.rates]
    if row.flow == "offline_kmeans" and "pnmi" not in record.codes:
        lacking.append("pnmi")
    return lacking


def render(
    tables: TableFile,
    scale: str,
    results: Path,
    out: Path | None,
    markdown: Path | None,
) -> Path:
    """Write the page, ``results.json`` and the part of RESULTS.md."""
    from espnet2_dq.analysis.row_record import read_records
    from espnet2_dq.analysis.table_files import write_tables

    records = [r for r in read_records(results / scale) if r.row in tables.rows]
    target = out or results / scale
    page = write_tables(tables.rows, tables.scale(scale), records, target, markdown)
    failed = sum(record.state != "ok" for record in records)
    logging.info("%d runs, %d of them failed", len(records), failed)
    logging.info("tables: %s", page)
    return page


if __name__ == "__main__":
    sys.exit(main())
