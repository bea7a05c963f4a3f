"""Choose utterances: labelled ones for fine-tuning (stage 8), languages (stage 6)."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.commonvoice_release import read_clip_list
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.subset import (
    describe,
    labelled,
    match_glob,
    match_list,
    take_minutes,
)
from espnet2_dq.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("dump/train"), help="set to choose from")
    add("--out", type=Path, required=True, help="as dump/finetune_1h")
    add("--minutes", type=float, default=0, help="minutes per language; 0 takes all")
    add("--hours", type=float, default=0, help="the same in hours")
    add("--langs", nargs="+", default=[], help="languages; default: all in --data")
    add("--not_langs", nargs="+", default=[], help="all languages but these")
    add(
        "--unlabelled",
        type=str_to_bool,
        default=False,
        help="utterances without a transcript count, too (to pretrain on)",
    )
    add("--match", default="", help="shell pattern on utterance ids, as 'es-*'")
    add(
        "--list",
        nargs="+",
        default=[],
        help="files with utterance or clip ids, one a line; {lang} stands for every "
        "language (the CPC 1-hour lists, for example)",
    )
    add("--seed", type=int, default=0, help="choice of speakers and utterances")
    add(
        "--allow_less",
        type=str_to_bool,
        default=False,
        help="take all of a language that has fewer minutes, or listed ids, than asked",
    )
    return parser


def check_options(args: argparse.Namespace) -> float:
    """Minutes per language.

    Raises:
        DataError: Nothing that narrows the set, or contradicting options.
    """
    if args.minutes and args.hours:
        raise DataError("--minutes and --hours: give one of the two")
    minutes = float(args.minutes or args.hours * 60)
    if minutes < 0:
        raise DataError(f"--minutes {minutes}: must not be negative")
    if args.langs and args.not_langs:
        raise DataError("--langs and --not_langs: give one of the two")
    langs = args.langs or args.not_langs
    if not (minutes or args.match or args.list or langs):
        raise DataError(
            "give --minutes, --hours, --match, --list or --langs (or --not_langs)"
        )
    return minutes


def choose_languages(directory: KaldiDir, args: argparse.Namespace) -> list[str]:
    """Languages to keep.

    Raises:
        DataError: One that is not there.
    """
    named = split_words(args.langs) or split_words(args.not_langs)
    unknown = sorted(set(named) - set(directory.languages))
    if unknown:
        option = "--langs" if args.langs else "--not_langs"
        raise DataError(
            f"{option}: {' '.join(unknown)} not in {args.data}, which has "
            f"{' '.join(directory.languages)}"
        )
    if args.not_langs:
        return [lang for lang in directory.languages if lang not in named]
    return named or directory.languages


def choose_listed(
    rows: Sequence[Utterance], args: argparse.Namespace
) -> list[Utterance]:
    """Utterances that the lists name; ids that match nothing are counted.

    Raises:
        DataError: A list of which nothing, or without --allow_less not all, is here.
    """
    chosen: dict[str, Utterance] = {}
    langs = split_words(args.langs) or sorted({u.lang for u in rows})
    patterns = [
        p.replace("{lang}", x) for p in args.list for x in (langs if "{" in p else [""])
    ]
    for path in patterns:
        wanted = read_clip_list(Path(path))
        found, missing = match_list(rows, wanted)
        chosen.update({u.utt: u for u in found})
        logging.info("%s: %d of %d ids found", path, len(found), len(wanted))
        if missing and not (args.allow_less and found):
            raise DataError(
                f"{path}: {len(missing)} of {len(wanted)} ids are not among the "
                f"labelled utterances of {args.data}, first '{missing[0]}'; see its "
                "reject.tsv, or go on without them with --allow_less true"
            )
    return list(chosen.values())


def choose(directory: KaldiDir, args: argparse.Namespace) -> list[Utterance]:
    """Apply languages, list, pattern and minutes, in this order.

    Raises:
        DataError: A language that is not there, or nothing chosen.
    """
    minutes = check_options(args)
    rows = list(directory)
    if not args.unlabelled:
        rows = labelled(directory, str(args.data))
    langs = choose_languages(directory, args)
    rows = [u for u in rows if u.lang in langs]
    if args.list:
        rows = choose_listed(rows, args)
    if args.match:
        rows = match_glob(rows, args.match)
    if minutes:
        rows = take_minutes(rows, minutes, seed=args.seed, allow_less=args.allow_less)
    if not rows:
        raise DataError(
            f"{args.data}: 0 utterances chosen of {len(directory)}; ids look like "
            f"'{next(iter(directory)).utt}'"
        )
    return rows


def main(argv: list[str] | None = None) -> int:
    """Parse, choose, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        directory = KaldiDir.read(args.data)
        rows = choose(directory, args)
        directory.subset([u.utt for u in rows]).write(args.out)
        logging.info("%s:\n%s", args.out, describe(rows))

    return run_command("subset", work)


if __name__ == "__main__":
    sys.exit(main())
