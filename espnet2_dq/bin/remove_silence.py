"""Write copies of data directories whose sounds have no long silences."""

import argparse
import logging
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.silence import SilenceOptions, choose_sets, shorten_set
from espnet2_dq.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = SilenceOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of sets; it is only read")
    add("--out", type=Path, required=True, help="writes OUT/<set>/ and OUT/audio/")
    add("--sets", nargs="+", default=[], help="sets to copy (default: all)")
    add(
        "--only",
        nargs="+",
        default=[],
        help="remove silences from these sets only; the others are copied as they are. "
        "A model should be tested as it was trained: by default all are shortened",
    )
    add("--top_db", type=float, default=defaults.top_db, help="below the loudest frame")
    add("--nj", type=int, default=defaults.workers, help="threads")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, shorten, write."""
    args = get_parser().parse_args(argv)
    return run_command("remove_silence", lambda: _remove(args))


def _remove(args: argparse.Namespace) -> None:
    if args.out.resolve() == args.data.resolve():
        raise DataError(f"{args.out}: --out must not be --data; take another folder")
    present = [path.parent.name for path in sorted(args.data.glob("*/wav.scp"))]
    names = split_words(args.sets) or present
    if not names or set(names) - set(present):
        raise DataError(
            f"{args.data}: no set {' '.join(sorted(set(names) - set(present)))}; there "
            f"are: {' '.join(present) or 'none (no folder with a wav.scp)'}"
        )
    chosen = choose_sets(names, split_words(args.only))
    options = SilenceOptions(top_db=args.top_db, workers=args.nj)
    for name in names:
        directory = KaldiDir.read(args.data / name)
        if name not in chosen:
            logging.info("%s: copied as it is (--only)", name)
            directory.write(args.out / name)
            continue
        shortened = shorten_set(directory, args.out / "audio" / name, name, options)
        shortened.directory.write(args.out / name)
        logging.info("%s: %s", name, shortened.describe())


if __name__ == "__main__":
    sys.exit(main())
