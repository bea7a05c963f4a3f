"""Hours, language shares, batch size in hours, and what the run will cost (stage 5)."""

import argparse
import json
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.bin.training import add_overlay_options
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.stats import format_summary, summary
from espnet2_dq.data.tables import write_lines
from espnet2_dq.recipe.overlay import merged_config, read_yaml


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--dump", type=Path, required=True, help="folder of the sets")
    add("--sets", nargs="+", default=["train", "dev", "test"], help="train set first")
    add("--config", type=Path, required=True, help="training configuration")
    add_overlay_options(parser)
    add("--out", type=Path, help="JSON file to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, count, print, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        config = read_yaml(args.config)
        if args.overlay is not None:
            config = merged_config(args.config, args.overlay, args.overlay_size).values
        sets = {n: KaldiDir.read(args.dump / n) for n in split_words(args.sets)}
        power = float(config.get("language_power", 0.5))
        content = summary(sets, config, power)
        print(format_summary(content))
        if args.out:
            write_lines(args.out, [json.dumps(content, indent=1, ensure_ascii=False)])

    return run_command("stats", work)


if __name__ == "__main__":
    sys.exit(main())
