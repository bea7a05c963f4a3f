"""ClovaCall (a local copy) to Kaldi data directories (stage 1)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.clovacall import ClovaOptions, prepare_clovacall
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.sets import write_sets


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = ClovaOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--corpus",
        type=Path,
        required=True,
        help="folder with {train,test}_ClovaCall.json and wavs_{train,test}/; it is "
        "only read",
    )
    add("--out", type=Path, default=Path("data"), help="writes OUT/{train,dev,test}/")
    add(
        "--dev_utterances",
        type=int,
        default=defaults.dev_utterances,
        help="utterances taken from train for dev, which the corpus lacks",
    )
    add("--seed", type=int, default=defaults.seed, help="chooses them")
    add("--max_reject_ratio", type=float, default=0.01, help="more faults stop")
    add("--nj", type=int, default=8, help="threads that read sound headers")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, prepare, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = ClovaOptions(args.dev_utterances, args.seed, args.nj)
        cache = ProbeCache(args.out / ".probe_cache.tsv")
        sets = prepare_clovacall(args.corpus, options, cache)
        source = f"{args.corpus.name} ({options.text_rule})"
        write_sets(sets, args.out, args.max_reject_ratio, source)

    return run_command("prepare_clovacall", work)


if __name__ == "__main__":
    sys.exit(main())
