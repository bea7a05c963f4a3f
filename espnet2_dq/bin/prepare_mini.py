"""Build the ``mini`` corpus (stage 1 with ``--corpus mini``)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.mini import LANGUAGES, MiniOptions, build_mini, smoke_options

_SIZES = {
    "train_hours": "hours of synthetic speech, all languages",
    "dev_minutes": "minutes of dev, all languages",
    "test_minutes": "minutes of test, all languages",
}


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = MiniOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="writes <out>/<set>/")
    add("--langs", nargs="+", default=list(LANGUAGES), help="languages")
    for name, text in _SIZES.items():
        add(f"--{name}", type=float, default=getattr(defaults, name), help=text)
    add("--seed", type=int, default=defaults.seed, help="of sentences and speakers")
    add(
        "--scale",
        choices=["full", "smoke"],
        default="full",
        help="smoke: seconds per language, synthetic only",
    )
    add(
        "--recorded",
        choices=["auto", "yes", "no"],
        default=defaults.recorded,
        help="recorded human prompts: where they can be had, or fail, or never",
    )
    add(
        "--recorded_dir",
        default=defaults.recorded_dir,
        help="folder with the Debian packages asterisk-core-sounds-* or their files",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, build, report."""
    args = get_parser().parse_args(argv)
    return run_command("prepare_mini", lambda: _build(args))


def _build(args: argparse.Namespace) -> None:
    options = MiniOptions(
        langs=tuple(split_words(args.langs)),
        train_hours=args.train_hours,
        dev_minutes=args.dev_minutes,
        test_minutes=args.test_minutes,
        seed=args.seed,
        recorded=args.recorded,
        recorded_dir=args.recorded_dir,
    )
    build_mini(args.out, smoke_options(options) if args.scale == "smoke" else options)


if __name__ == "__main__":
    sys.exit(main())
