"""What the decoding entry points share: options, their checks, and how they end."""

import argparse
from pathlib import Path

from espnet2_dq.bin.options import str_to_bool
from espnet2_dq.decode.records import RunStatistics
from espnet2_dq.errors import ConfigError, DataError


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """``--model_dir`` and ``--checkpoint``."""
    add = parser.add_argument
    add("--model_dir", type=Path, help="folder with config.yaml and checkpoints")
    add(
        "--checkpoint",
        help="file or name in MODEL_DIR (default: the best, else latest)",
    )


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Batches, device, and a set that several jobs share."""
    add = parser.add_argument
    add("--batch_seconds", type=float, default=60.0, help="padded audio in a batch")
    add("--ngpu", type=int, default=0, help="0: CPU, 1: GPU")
    add("--job", type=int, default=1, help="this job, from 1")
    add("--num_jobs", type=int, default=1, help="jobs that share the set")
    add("--merge", type=str_to_bool, default=False, help="put the jobs together")
    add(
        "--max_failed_ratio",
        type=float,
        default=0.01,
        help="fail when more than this share of the utterances fails",
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse what no job can decode with.

    Raises:
        ConfigError: No model, or batches without audio.
    """
    if args.model_dir is None:
        raise ConfigError("--model_dir: give the folder that fine-tuning wrote")
    if args.batch_seconds <= 0:
        raise ConfigError(f"--batch_seconds {args.batch_seconds}: must be above 0")


def device_of(ngpu: int) -> str:
    """``cpu`` or ``cuda``; imports torch.

    Raises:
        ConfigError: More GPUs than one job uses, or one where there is none.
    """
    import torch

    if ngpu not in (0, 1):
        raise ConfigError(f"--ngpu {ngpu}: 0 or 1; share a set by --num_jobs")
    if ngpu and not torch.cuda.is_available():
        raise ConfigError("--ngpu 1: torch finds no GPU here; use --ngpu 0")
    return "cuda" if ngpu else "cpu"


def remove_results(folder: Path) -> None:
    """Results of an earlier run must not survive one that fails."""
    for name in ("rtf.json", "hyp"):
        (folder / name).unlink(missing_ok=True)


def check_failed(statistics: RunStatistics, allowed: float, out: Path) -> None:
    """Fail when too many utterances did.

    Raises:
        DataError: More than the share ``allowed``.
    """
    if statistics.failed > allowed * statistics.utterances:
        raise DataError(
            f"{statistics.failed} of {statistics.utterances} utterances failed, more "
            f"than --max_failed_ratio {allowed} allows; the reasons are in "
            f"{out / 'failed.tsv'}"
        )
