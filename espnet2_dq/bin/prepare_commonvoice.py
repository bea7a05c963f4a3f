"""CommonVoice (a local copy, 6.0 or later) to Kaldi data directories (stage 1)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.commonvoice import (
    LISTED,
    SPLITS,
    TRAIN_SOURCES,
    CommonVoiceOptions,
    prepare_commonvoice,
)
from espnet2_dq.data.commonvoice_release import find_release, find_split_lists
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.sets import write_sets
from espnet2_dq.data.tables import write_lines


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
    add(
        "--split_lists",
        "--cpc_lists",
        default="",
        help="folder of clip lists: <lang>_<split>.txt, <lang>/<split>.txt or the CPC "
        "1-hour splits as unpacked. Lists replace dev and test; the clips of train's "
        "join train, and OUT/finetune_ids.txt names them for stage 8",
    )
    for name in SPLITS:
        add(
            f"--list_{name}",
            default="",
            help=f"the list of {name} alone; {{lang}} stands for the language",
        )
    add(
        "--train_only_listed",
        type=str_to_bool,
        default=False,
        help="train holds nothing but its list",
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
    """Split -> path pattern, from the folder and the single lists."""
    lists = find_split_lists(Path(args.split_lists)) if args.split_lists else {}
    for name in SPLITS:
        if getattr(args, f"list_{name}"):
            lists[name] = getattr(args, f"list_{name}")
    return lists


def write_finetune_ids(train: KaldiDir, path: Path) -> None:
    """Write the utterances of train that a list names; without one, no file stays."""
    sources = train.extra["utt2source"]
    listed = sorted(utt for utt, source in sources.items() if source == LISTED)
    if listed:
        write_lines(path, listed)
    else:
        path.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """Parse, prepare, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = CommonVoiceOptions(
            langs=split_words(args.langs),
            train_sources=split_words(args.train_sources),
            lists=find_lists(args),
            train_only_listed=args.train_only_listed,
            allow_overlap=args.allow_overlap,
            workers=args.nj,
        )
        cache = ProbeCache(args.out / ".probe_cache.tsv")
        release = find_release(args.corpus, options.langs)
        sets = prepare_commonvoice(release, options, cache)
        write_finetune_ids(sets["train"], args.out / "finetune_ids.txt")
        write_sets(sets, args.out, args.max_reject_ratio, release.name)

    return run_command("prepare_commonvoice", work)


if __name__ == "__main__":
    sys.exit(main())
