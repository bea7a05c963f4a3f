"""KsponSpeech (a local copy) to Kaldi data directories (stage 1)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.ksponspeech import KsponOptions, prepare_ksponspeech
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.sets import write_sets
from espnet2_dq.text.kspon_transcription import PERCENT, RULES


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = KsponOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--corpus",
        type=Path,
        required=True,
        help="folder with KsponSpeech_01..05, KsponSpeech_eval, KsponSpeech_scripts; "
        "it is only read",
    )
    add(
        "--out",
        type=Path,
        default=Path("data"),
        help="writes OUT/{train,dev,test_clean,test_other}/",
    )
    add(
        "--rule",
        choices=RULES,
        default=defaults.rule,
        help="which half of a dual transcription (70%%)/(칠 십 퍼센트) is kept: the "
        "first or the second. Error rates under different rules do not compare",
    )
    add(
        "--percent",
        choices=PERCENT,
        default=defaults.percent,
        help="a '%%' in a phonetic reading: reject the utterance, or drop the sign",
    )
    add(
        "--max_train_characters",
        type=int,
        default=defaults.max_train_characters,
        help="longer texts leave train (never dev and test); 0: no limit",
    )
    add("--max_reject_ratio", type=float, default=0.01, help="more faults stop")
    add("--nj", type=int, default=8, help="threads that read files")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, prepare, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = KsponOptions(
            args.rule, args.percent, args.max_train_characters, args.nj
        )
        cache = ProbeCache(args.out / ".probe_cache.tsv")
        sets = prepare_ksponspeech(args.corpus, options, cache)
        source = f"{args.corpus.name} ({options.text_rule})"
        write_sets(sets, args.out, args.max_reject_ratio, source)

    return run_command("prepare_ksponspeech", work)


if __name__ == "__main__":
    sys.exit(main())
