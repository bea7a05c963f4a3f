"""Stage 7: what the codes of a pretrained model say about languages and phones."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.alignment_options import add_alignment_options, alignment_source
from espnet2_dq.bin.options import make_parser, run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="pretraining directory")
    add("--data_dir", type=Path, required=True, help="set to analyse: dump/test")
    add("--out", type=Path, required=True, help="metrics.json, codes.npz, figures")
    add("--checkpoint", default="latest.pth", help="weights in EXP")
    add("--device", default="cpu", help="torch device")
    add("--batch_s", type=float, default=60.0, help="padded seconds in a batch")
    add_alignment_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, analyse, report."""
    args = get_parser().parse_args(argv)
    return run_command("analyse", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from espnet2_dq.analysis.stage import analyse

    analyse(
        args.exp,
        args.data_dir,
        args.out,
        checkpoint=args.checkpoint,
        device=args.device,
        batch_s=args.batch_s,
        alignments=alignment_source(args),
    )


if __name__ == "__main__":
    sys.exit(main())
