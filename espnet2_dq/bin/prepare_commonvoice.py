"""CommonVoice (a local copy, 6.0 or later) to Kaldi data directories (stage 1)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.commonvoice import (
    SPLITS,
    TRAIN_SOURCES,
    CommonVoiceOptions,
    prepare_commonvoice,
)
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.sets import write_sets

CPC_NAMES = {
    "train": "trainSeqs_1.0_uniform_new_version.txt",
    "dev": "valSeqs_1.0_uniform_new_version.txt",
    "test": "testSeqs_uniform_new_version.txt",
}


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, required=True, help="folder with cv-corpus-*/<lang>/")
    add("--langs", nargs="+", required=True, help="languages, as 'en es fr'")
    add("--out", type=Path, default=Path("data"), help="writes OUT/{train,dev,test}/")
    add(
        "--train_sources",
        nargs="+",
        default=["train"],
        help=f"tables that feed train: {' '.join(TRAIN_SOURCES)}; what comes from "
        "other and invalidated is for pretraining and never serves as a label",
    )
    for name in SPLITS:
        add(
            f"--list_{name}",
            default="",
            help=f"file with the clip ids of {name}; {{lang}} stands for the language",
        )
    add(
        "--cpc_lists",
        default="",
        help="folder of the CPC 1-hour splits: dev and test come from its lists "
        "<lang>/{valSeqs_1.0,testSeqs}_uniform_new_version.txt (give its trainSeqs "
        "to stage 8, or here as --list_train)",
    )
    add(
        "--allow_overlap",
        type=str_to_bool,
        default=False,
        help="keep speakers and prompts that two splits share",
    )
    add("--max_reject_ratio", type=float, default=0.01, help="more faults stop")
    add("--nj", type=int, default=8, help="threads that read sound headers")
    return parser


def find_lists(args: argparse.Namespace) -> dict[str, str]:
    """Split -> path pattern, from the CPC folder and the single lists."""
    lists = {}
    if args.cpc_lists:
        for name in ("dev", "test"):
            lists[name] = f"{args.cpc_lists}/{{lang}}/{CPC_NAMES[name]}"
    for name in SPLITS:
        if getattr(args, f"list_{name}"):
            lists[name] = getattr(args, f"list_{name}")
    return lists


def main(argv: list[str] | None = None) -> int:
    """Parse, prepare, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = CommonVoiceOptions(
            langs=split_words(args.langs),
            train_sources=split_words(args.train_sources),
            lists=find_lists(args),
            allow_overlap=args.allow_overlap,
            workers=args.nj,
        )
        cache = ProbeCache(args.out / "probe_cache.tsv")
        sets = prepare_commonvoice(args.corpus, options, cache)
        write_sets(sets, args.out, args.max_reject_ratio)

    return run_command("prepare_commonvoice", work)


if __name__ == "__main__":
    sys.exit(main())
