"""Build the Korean ``mini`` corpus (stage 1 with ``--corpus mini``).

Writes a corpus in KsponSpeech's layout, reads it as a real copy of KsponSpeech is read,
and writes synthetic English, from which the mini run trains its source model.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from espnet2_dq.bin import prepare_ksponspeech
from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.mini_korean import (
    KoreanOptions,
    build_mini_korean,
    smoke_options,
)
from espnet2_dq.errors import DataError
from espnet2_dq.text.kspon_transcription import RULES

_SIZES = {
    "train_hours": "hours of Korean speech for training",
    "dev_minutes": "minutes of dev",
    "clean_minutes": "minutes of eval_clean",
    "other_minutes": "minutes of eval_other, which is faster and noisier",
}
_ENGLISH_MINUTES = 4.0  # of dev, and of test


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = KoreanOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("data"),
        help="writes OUT/{train,dev,test_clean,test_other}/ and OUT/english/",
    )
    add(
        "--corpus",
        type=Path,
        default=None,
        help="where the corpus is built (default: OUT/corpora/KsponSpeech_mini)",
    )
    add("--rule", choices=RULES, default=RULES[0], help="as in prepare_ksponspeech")
    for name, text in _SIZES.items():
        add(f"--{name}", type=float, default=getattr(defaults, name), help=text)
    add("--english_hours", type=float, default=1.5, help="of English; 0: none")
    add("--seed", type=int, default=defaults.seed, help="of sentences and speakers")
    add(
        "--scale",
        choices=["full", "smoke"],
        default="full",
        help="smoke: seconds of speech per set",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, build, read."""
    args = get_parser().parse_args(argv)
    return run_command("prepare_mini_korean", lambda: _build(args))


def _build(args: argparse.Namespace) -> None:
    sizes = {name: getattr(args, name) for name in _SIZES}
    options = KoreanOptions(**sizes, seed=args.seed)
    if args.scale == "smoke":
        options = smoke_options(options)
    corpus = args.corpus or args.out / "corpora" / "KsponSpeech_mini"
    build_mini_korean(corpus, options)
    if args.english_hours > 0:
        _build_english(args)
    command = ["--corpus", str(corpus), "--out", str(args.out), "--rule", args.rule]
    if prepare_ksponspeech.main(command) != 0:
        raise DataError(f"{corpus}: not read; the message above says why")


def _build_english(args: argparse.Namespace) -> None:
    """In a process of its own: what eSpeak says depends on what it said before."""
    command = [sys.executable, "-m", "espnet2_dq.bin.prepare_mini"]
    command += ["--langs", "en", "--recorded", "no", "--scale", args.scale]
    command += ["--out", str(args.out / "english"), "--seed", str(args.seed)]
    command += ["--train_hours", str(args.english_hours)]
    for name in ("dev_minutes", "test_minutes"):
        command += [f"--{name}", str(_ENGLISH_MINUTES)]
    sys.stdout.flush()
    if subprocess.run(command, check=False).returncode != 0:
        raise DataError(
            f"{args.out / 'english'}: not built; the message above says why"
        )


if __name__ == "__main__":
    sys.exit(main())
