"""Stage 12: write the report and ``results.json``, print the table of error rates."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="experiment: exp/<tag>")
    add("--data", type=Path, default=Path("data"), help="sets of stage 1")
    add("--dump", type=Path, default=Path("dump"), help="sets of stage 3")
    add("--out", type=Path, help="folder of index.html (default: EXP/report)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, collect, write, print."""
    args = get_parser().parse_args(argv)
    return run_command("report", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from espnet2_dq.analysis.collect import collect
    from espnet2_dq.analysis.report import plain_table, write_report
    from espnet2_dq.errors import DataError
    from espnet2_dq.recipe.environment import environment

    if not args.exp.is_dir():
        raise DataError(f"{args.exp}: no such experiment; give exp/<tag>")
    run = collect(args.exp, data=args.data, dump=args.dump)
    page = write_report(run, args.out or args.exp / "report", environment().as_dict())
    print(plain_table(run))
    print(f"report: {page}")


if __name__ == "__main__":
    sys.exit(main())
