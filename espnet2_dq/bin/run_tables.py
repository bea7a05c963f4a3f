"""Run rows of the paper's tables, several at a time, then write the tables.

What is done is skipped; a row that fails does not stop the others, its cause becomes an
entry of the tables. Run in the recipe's directory (tables.sh).
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.bin.tables import (
    MARKDOWN,
    RESULTS,
    make_record,
    missing_figures,
    render,
)
from espnet2_dq.errors import ConfigError, DQError
from espnet2_dq.recipe.environment import environment
from espnet2_dq.recipe.row_failure import Failure
from espnet2_dq.recipe.rows import TABLE_FILE, Scale, TableFile, read_tables
from espnet2_dq.recipe.table_plan import Place, RowRun, plan_row, shared_steps
from espnet2_dq.recipe.table_runs import (
    LOG_NAME,
    is_done,
    run_rows,
    run_shared,
    say,
)

EXIT_ROWS_FAILED = 3


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--scale", default="smoke", help="smoke (seconds), mini or base")
    add(
        "--rows", nargs="+", default=[], help="rows, as 'data2vec dq_sd' (default: all)"
    )
    add("--seeds", nargs="+", default=["0"], help="seeds, as '0 1 2'")
    add("--jobs", type=int, default=0, help="rows at a time; 0: cores / threads of one")
    add("--work_dir", type=Path, help="of data, dump, units, exp (default: scale's)")
    add("--run_options", default="", help="for every run.sh, as '--ngpu 2 --size base'")
    add("--retry", type=str_to_bool, default=False, help="run again what has collapsed")
    add("--dry_run", type=str_to_bool, default=False, help="print what would run")
    add("--tables", type=Path, default=TABLE_FILE, help="all rows and scales")
    add("--results", type=Path, default=RESULTS, help="folder of all scales' records")
    add("--markdown", type=Path, default=MARKDOWN, help="report to put the tables in")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, run, write; exit code 0 also with collapsed rows."""
    args = get_parser().parse_args(argv)
    codes = [0]

    def work() -> None:
        codes[0] = _run(args)

    return run_command("tables", work) or codes[0]


def _run(args: argparse.Namespace) -> int:
    tables = read_tables(args.tables)
    scale = tables.scale(args.scale)
    given = shlex.split(args.run_options)
    place = Place(scale, args.work_dir or Path(scale.work_dir), tuple(given))
    rows = tables.selected(split_words(args.rows))
    seeds = read_seeds(args.seeds)

    def planned() -> list[RowRun]:
        return [plan_row(row, seed, place, tables) for seed in seeds for row in rows]

    runs = planned()
    waiting = [run for run in runs if args.retry or not is_done(run)]
    if args.dry_run:
        show_plan(runs, waiting, shared_steps(rows, place))
        return 0
    if waiting:
        code = run_shared(shared_steps(rows, place), threads=scale.threads)
        if code:
            raise ConfigError(f"the data that all rows share: exit code {code}")
        # Digests hold the data's, which exist only now.
        waiting = [run for run in planned() if args.retry or not is_done(run)]
    done = {run.name for run in runs} - {run.name for run in waiting}
    if done:
        say(f"done before: {' '.join(sorted(done))}")
    return run_and_write(args, tables, place, waiting)


def run_and_write(
    args: argparse.Namespace, tables: TableFile, place: Place, runs: list[RowRun]
) -> int:
    """Run, record each row when it has ended, write the tables.

    Returns:
        Exit code: a row failed by an error, or a signal ended us.
    """
    folder = args.results / place.scale.name

    def keep(run: RowRun, failure: Failure | None) -> Failure | None:
        return keep_record(run, failure, tables, place, folder)

    outcome = run_rows(
        runs,
        args.jobs or default_jobs(place.scale),
        threads=place.scale.threads,
        on_end=keep,
    )
    if outcome.signal:
        return 128 + outcome.signal
    render(tables, place.scale.name, args.results, None, args.markdown)
    for name in outcome.errors:
        failure = outcome.failures[name]
        logging.error("failed: %s: %s\n  log: %s", name, failure.cause, failure.log)
    return EXIT_ROWS_FAILED if outcome.errors else 0


def keep_record(
    run: RowRun, failure: Failure | None, tables: TableFile, place: Place, folder: Path
) -> Failure | None:
    """Write the record of a run that has ended.

    Returns:
        How it ended; an error if it ended well but without its figures.
    """
    scale, dump, log = place.scale.name, place.work_dir / "dump", run.exp / LOG_NAME
    row, seed = run.row.id, run.seed
    try:
        record = make_record(run.exp, row, seed, scale, tables, dump, failure)
        lacking = missing_figures(run.row, record)
        if failure is None and lacking:
            cause = f"ended well, but has no {', '.join(lacking)}"
            failure = Failure("error", cause, "", str(log))
            record = make_record(run.exp, row, seed, scale, tables, dump, failure)
        record.write(folder)
    except (DQError, OSError, ValueError, KeyError, TypeError) as error:
        cause = f"its figures cannot be read: {type(error).__name__}: {error}"
        return Failure("error", cause, "", str(log))
    return failure


def read_seeds(words: list[str]) -> list[int]:
    """Whole numbers.

    Raises:
        ConfigError: Something else.
    """
    found = split_words(words)
    for word in found:
        if not word.isdigit():
            raise ConfigError(f"--seeds: '{word}' is not a whole number")
    return list(dict.fromkeys(int(word) for word in found))


def default_jobs(scale: Scale) -> int:
    """As many as the cores allow; one where a run has the machine for itself."""
    return max(1, environment().cores // scale.threads) if scale.threads else 1


def show_plan(
    runs: list[RowRun], waiting: list[RowRun], shared: list[list[str]]
) -> None:
    """Print the commands, without running any."""
    names = {run.name for run in waiting}
    for words in shared if waiting else []:
        print(shlex.join(words))
    for run in runs:
        print(f"{run.name}: {'run' if run.name in names else 'skip (done)'}")
        for words in run.steps if run.name in names else []:
            print(f"  {shlex.join(words)}")


if __name__ == "__main__":
    sys.exit(main())
