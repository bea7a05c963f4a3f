"""Stage 4: write transcripts as phonemes, letters or sentencepiece units."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.unit_files import UnitOptions, convert_sets
from espnet2_dq.text.units import KINDS


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = UnitOptions()
    parser = make_parser(__doc__)
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="reads <set>/")
    parser.add_argument("--sets", nargs="+", required=True, help="sets to write")
    parser.add_argument(
        "--train_sets",
        nargs="+",
        default=list(defaults.train_sets),
        help="sets that make the token list",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default=defaults.kind,
        help="bpe: sentencepiece; grapheme, syllable: Korean",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of tokens.txt and report.tsv"
    )
    parser.add_argument(
        "--keep_stress", type=str_to_bool, default=False, help="phonemes with ˈ and ˌ"
    )
    parser.add_argument(
        "--bpe_size", type=int, default=defaults.bpe_size, help="most pieces of bpe"
    )
    parser.add_argument(
        "--min_count", type=int, default=defaults.min_count, help="rarer: <unk>"
    )
    parser.add_argument(
        "--max_reject_ratio",
        type=float,
        default=defaults.max_reject_ratio,
        help="stop when a larger share of a set cannot be written",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, convert, report."""
    args = get_parser().parse_args(argv)
    options = UnitOptions(
        kind=args.kind,
        train_sets=tuple(split_words(args.train_sets)),
        keep_stress=args.keep_stress,
        bpe_size=args.bpe_size,
        min_count=args.min_count,
        max_reject_ratio=args.max_reject_ratio,
    )
    return run_command("units", lambda: _run(args, options))


def _run(args: argparse.Namespace, options: UnitOptions) -> None:
    convert_sets(args.dump, split_words(args.sets), args.out, options)


if __name__ == "__main__":
    sys.exit(main())
