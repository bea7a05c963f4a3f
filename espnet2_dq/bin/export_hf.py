"""Write a wav2vec 2.0 model of ours as a Hugging Face directory."""

import argparse
import logging
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--exp_dir", type=Path, required=True, help="pretraining directory")
    add("--checkpoint", default="latest.pth", help="file in --exp_dir")
    add("--out", type=Path, required=True, help="directory to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, load, write."""
    args = get_parser().parse_args(argv)

    def work() -> None:
        from espnet2_dq.interop.export_hf import export_hf
        from espnet2_dq.ssl.build import load_ssl_model

        model, config = load_ssl_model(args.exp_dir, args.checkpoint)
        folder = export_hf(model, config, args.out)
        logging.info("%s: config.json, model.safetensors, preprocessor_config", folder)

    return run_command("export_hf", work)


if __name__ == "__main__":
    sys.exit(main())
