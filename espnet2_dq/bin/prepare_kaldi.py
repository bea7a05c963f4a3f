"""Any Kaldi data directories (train, dev, test*) to those of this recipe (stage 1)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.kaldi_corpus import (
    TEXT_RULES,
    KaldiCorpusOptions,
    prepare_kaldi,
)
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.sets import write_sets


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--data_root",
        type=Path,
        required=True,
        help="folder with train, dev, test*, each with wav.scp [segments] utt2spk "
        "[utt2lang] [text] [phn.ctm]; it is only read",
    )
    add("--out", type=Path, default=Path("data"), help="writes OUT/<set>/")
    add("--lang", default="", help="language of sets without utt2lang")
    add("--langs", nargs="+", default=[], help="keep these languages only")
    add(
        "--rule",
        choices=TEXT_RULES,
        default="none",
        help="plain: drop marks and capitalise Latin letters in Korean transcripts",
    )
    add("--max_reject_ratio", type=float, default=0.01, help="more faults stop")
    add("--nj", type=int, default=8, help="threads that read sound headers")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, read, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = KaldiCorpusOptions(
            lang=args.lang,
            langs=split_words(args.langs),
            rule=args.rule,
            workers=args.nj,
        )
        cache = ProbeCache(args.out / ".probe_cache.tsv")
        sets = prepare_kaldi(args.data_root, args.out, options, cache)
        write_sets(sets, args.out, args.max_reject_ratio, str(args.data_root))

    return run_command("prepare_kaldi", work)


if __name__ == "__main__":
    sys.exit(main())
