"""Build the ``mini`` corpus (stage 1 with ``--corpus mini``)."""

import argparse
import logging
import sys
from pathlib import Path

from espnet2_dq.data.mini import LANGUAGES, MiniOptions, build_mini, smoke_options
from espnet2_dq.errors import DQError


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = MiniOptions()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT/<set>/")
    parser.add_argument("--langs", nargs="+", default=list(LANGUAGES))
    parser.add_argument("--train_hours", type=float, default=defaults.train_hours)
    parser.add_argument("--dev_minutes", type=float, default=defaults.dev_minutes)
    parser.add_argument("--test_minutes", type=float, default=defaults.test_minutes)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--scale", choices=["full", "smoke"], default="full")
    parser.add_argument(
        "--recorded",
        choices=["auto", "yes", "no"],
        default=defaults.recorded,
        help="recorded human prompts: where they can be had, or fail, or never",
    )
    parser.add_argument(
        "--recorded_dir", default="", help="folder with the Debian packages or files"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, build, report."""
    args = get_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        options = MiniOptions(
            langs=tuple(args.langs),
            train_hours=args.train_hours,
            dev_minutes=args.dev_minutes,
            test_minutes=args.test_minutes,
            seed=args.seed,
            recorded=args.recorded,
            recorded_dir=args.recorded_dir,
        )
        if args.scale == "smoke":
            options = smoke_options(options)
        build_mini(args.out, options)
    except DQError as error:
        logging.error("prepare_mini: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
