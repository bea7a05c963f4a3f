"""Options that say which frozen features to look at."""

import argparse
from pathlib import Path


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command."""
    add = parser.add_argument
    add(
        "--exp",
        type=Path,
        help="pretraining directory; or one of fine-tuning or Hugging Face, or a"
        " fairseq .pt",
    )
    add(
        "--network",
        choices=("student", "teacher", "untrained", "log_mel"),
        default="student",
        help="of EXP; log_mel needs no model",
    )
    add("--checkpoint", default="latest.pth", help="weights in a pretraining directory")
    add("--device", default="cpu", help="torch device")
    add("--batch_s", type=float, default=30.0, help="padded seconds in a batch")
    add("--seed", type=int, default=0, help="of every random choice")
