"""Look at every sound file before anything is computed (stage 2)."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool
from espnet2_dq.data.checks import (
    CheckOptions,
    check_set,
    log_report,
    warn_one_language,
    write_report,
)
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.probing import ProbeCache


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = CheckOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder with the sets")
    add("--sets", nargs="+", default=["train dev test"], help="names of the sets")
    add(
        "--out",
        type=Path,
        default=Path("dump/check"),
        help="writes OUT/<set>/{reject.tsv,summary.json}; the sets stay as they are",
    )
    add(
        "--decode_share",
        type=float,
        default=defaults.decode_share,
        help="share of the files that are decoded, chosen by utterance id",
    )
    add("--decode_all", type=str_to_bool, default=False, help="decode every file")
    add("--shortest_s", type=float, default=defaults.shortest_s, help="reject below")
    add("--longest_s", type=float, default=defaults.longest_s, help="reject above")
    add(
        "--max_reject_ratio",
        type=float,
        default=defaults.max_reject_ratio,
        help="stop when more than this share of a set is rejected",
    )
    add("--nj", type=int, default=defaults.workers, help="threads that read files")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, check set by set."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        options = CheckOptions(
            decode_share=1.0 if args.decode_all else args.decode_share,
            shortest_s=args.shortest_s,
            longest_s=args.longest_s,
            max_reject_ratio=args.max_reject_ratio,
            workers=args.nj,
        )
        cache = ProbeCache(args.data / ".probe_cache.tsv")
        reports = []
        for name in split_words(args.sets):
            directory = KaldiDir.read(args.data / name)
            reports.append(check_set(directory, name, options, cache))
            log_report(reports[-1])
            if name == "train":
                warn_one_language(reports[-1])
        for report in reports:
            write_report(report, args.out / report.name, options.max_reject_ratio)

    return run_command("check_data", work)


if __name__ == "__main__":
    sys.exit(main())
