"""Drop unusable utterances and print the language balance (stage 3)."""

import argparse
import logging
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.balance import format_shares, language_shares, write_shares
from espnet2_dq.data.ctm import read_rejects
from espnet2_dq.data.filter import FilterRules, filter_dir
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.rejects import format_kinds


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    rules = FilterRules()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder with the sets")
    add("--sets", nargs="+", default=["train dev test"], help="names of the sets")
    add(
        "--check",
        type=Path,
        default=Path("dump/check"),
        help="folder of the check stage's <set>/reject.tsv",
    )
    add("--out", type=Path, default=Path("dump"), help="writes OUT/<set>/")
    add(
        "--min_duration_s",
        type=float,
        default=rules.min_duration_s,
        help="drop shorter utterances; 0 is off",
    )
    add(
        "--max_duration_s",
        type=float,
        default=rules.max_duration_s,
        help="drop longer utterances; 0 is off",
    )
    add(
        "--max_characters_per_s",
        type=float,
        default=rules.max_characters_per_s,
        help="drop faster transcripts, for which CTC has too few frames; 0 is off",
    )
    add(
        "--keep_unlabelled",
        type=str_to_bool,
        default=rules.keep_unlabelled,
        help="keep utterances of train with an empty transcript, for pretraining",
    )
    add(
        "--filter_test",
        type=str_to_bool,
        default=False,
        help="apply the bounds to test sets, too (changes what scores mean)",
    )
    add(
        "--balance_power",
        type=float,
        default=0.5,
        help="exponent of the language balance in the printed table: 1 as in the "
        "corpus, 0.5 as in the paper, 0 uniform",
    )
    return parser


def rules_for(name: str, args: argparse.Namespace) -> FilterRules:
    """Bounds of one set: test sets keep every utterance that can be scored."""
    if name.startswith("test") and not args.filter_test:
        return FilterRules(0, 0, 0, keep_unlabelled=False)
    return FilterRules(
        args.min_duration_s,
        args.max_duration_s,
        args.max_characters_per_s,
        keep_unlabelled=args.keep_unlabelled and name == "train",
    )


def main(argv: list[str] | None = None) -> int:
    """Parse, filter set by set, print the balance of train."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        for name in split_words(args.sets):
            directory = KaldiDir.read(args.data / name)
            checked = read_rejects(args.check / name / "reject.tsv")
            kept = filter_dir(directory, rules_for(name, args), checked, name)
            kept.write(args.out / name)
            dropped = kept.rejects[len(directory.rejects) :]
            hours = sum(kept.hours().values())
            logging.info(
                "%s: %d of %d utterances, %.2f h; dropped: %s",
                args.out / name,
                len(kept),
                len(directory),
                hours,
                format_kinds(dropped) or "none",
            )
            if name == "train":
                report_balance(kept, args)

    return run_command("filter_data", work)


def report_balance(train: KaldiDir, args: argparse.Namespace) -> None:
    """Print and write the share of each language."""
    counts = dict.fromkeys(train.languages, 0)
    for utterance in train:
        counts[utterance.lang] += 1
    shares = language_shares(train.hours(), counts, args.balance_power)
    logging.info("language balance, exponent %g:", args.balance_power)
    logging.info("%s", format_shares(shares))
    write_shares(args.out / "language_shares.json", shares, args.balance_power)


if __name__ == "__main__":
    sys.exit(main())
