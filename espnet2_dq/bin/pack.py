"""Stage 13: pack the pretrained and the fine-tuned models, and check each zip."""

import argparse
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from espnet2_dq.bin.options import make_parser, run_command, str_to_bool
from espnet2_dq.errors import CheckpointError, DataError


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="experiment: exp/<tag>")
    add("--data", type=Path, default=Path("data"), help="sets of stage 1, for the card")
    add("--dump", type=Path, default=Path("dump"), help="sets of stage 3, for the card")
    add("--out", type=Path, help="folder of the zip files (default: EXP/pack)")
    add(
        "--ssl",
        choices=["encoder", "full", "none"],
        default="encoder",
        help="encoder: without teacher, quantizers, predictors; full: with them",
    )
    add("--verify", type=str_to_bool, default=True, help="load each zip and compare")
    add("--wav", type=Path, help="sound to encode in the check (default: noise)")
    add("--check", help=argparse.SUPPRESS)
    add("--original", type=Path, help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, pack, check."""
    args = get_parser().parse_args(argv)
    return run_command("pack", lambda: _check(args) if args.check else _pack(args))


def _pack(args: argparse.Namespace) -> None:
    from espnet2_dq.analysis.collect import collect
    from espnet2_dq.analysis.packing import pack_ctc, pack_ssl

    if not args.exp.is_dir():
        raise DataError(f"{args.exp}: no such experiment; give exp/<tag>")
    run = collect(args.exp, data=args.data, dump=args.dump)
    out = args.out or args.exp / "pack"
    packed = []
    if args.ssl != "none" and (args.exp / "pretrain" / "latest.pth").exists():
        packed.append(pack_ssl(run, out, full=args.ssl == "full"))
    for folder in sorted(args.exp.glob("finetune_*")):
        if (folder / "config.yaml").is_file():
            packed.append(pack_ctc(run, folder, out))
    if not packed:
        raise DataError(f"{args.exp}: nothing to pack; run stage 6 or 9 first")
    for item in packed if args.verify else []:
        _verify(item, args.wav)


def _verify(item: Any, wav: Path | None) -> None:
    """Check in a fresh process; its messages become ours."""
    command = [sys.executable, "-m", "espnet2_dq.bin.pack", "--exp", str(item.source)]
    command += ["--check", item.kind, "--out", str(item.path)]
    command += ["--original", str(item.source)]
    if wav is not None:
        command += ["--wav", str(wav)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip()[-2000:]
        item.path.unlink(missing_ok=True)
        raise CheckpointError(f"{item.path}: failed its check and was removed:\n{last}")
    logging.info("%s", done.stdout.strip().splitlines()[-1])


def _check(args: argparse.Namespace) -> None:
    """The fresh process: ``--out`` is the zip file, ``--check`` what kind it is."""
    import torch

    from espnet2_dq.analysis.pack_check import check

    if args.wav is None:
        generator = torch.Generator().manual_seed(0)
        speech = 0.1 * torch.randn(32000, generator=generator)
    else:
        from espnet2_dq.data.audio import read_audio

        speech = torch.from_numpy(read_audio(args.wav))
    logging.info("%s", check(args.out, args.check, args.original, speech))


if __name__ == "__main__":
    sys.exit(main())
