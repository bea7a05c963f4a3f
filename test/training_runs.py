"""Whole pretraining runs for tests: commands, weights, several processes."""

import socket
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from training_factories import make_config

SCHEDULE = {
    "batch_seconds": 6.0,
    "crop_seconds": 1.5,
    "max_epoch": 3,
    "num_iters_per_epoch": 4,
    "accum_grad": 1,
    "optim": "adamw",
    "optim_conf": {"lr": 1e-3},
    "scheduler": "tristagelr",
    "scheduler_conf": {"warmup_ratio": 0.2, "hold_ratio": 0.4, "decay_ratio": 0.4},
    "num_threads": 1,
    "num_workers": 0,
    "progress_interval": 1,
    "min_free_gb": 0.01,
    "best_model_criterion": [["valid", "loss", "min"]],
}


def command(corpus: Path, output: Path, *options: str, **conf) -> list[str]:
    """Write a configuration; return the arguments of ssl_train."""
    output.mkdir(parents=True, exist_ok=True)
    model_conf = make_config(**conf.pop("model_conf", {}))
    path = output / "given.yaml"
    path.write_text(yaml.safe_dump({**model_conf, **SCHEDULE, **conf}))
    arguments = ["--config", str(path), "--output_dir", str(output)]
    for mode, name in (("train", "train"), ("valid", "dev")):
        arguments += [f"--{mode}_data", str(corpus / name)]
    return [*arguments, *options]


def weights(output: Path, name: str = "latest.pth") -> dict[str, torch.Tensor]:
    return torch.load(output / name, weights_only=True)


def assert_same(one: dict, other: dict, tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if tensor.is_floating_point() and tensor.numel():
            difference = (tensor - other[name]).abs().max()
            assert difference <= tolerance, f"{name}: {difference}"
        else:
            assert torch.equal(tensor, other[name]), name


def run_ranks(arguments: list[str]) -> None:
    """Run ssl_train as two gloo processes; both must end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [
                *[sys.executable, "-m", "espnet2_dq.bin.ssl_train", *arguments],
                *["--dist_world_size", "2", "--dist_rank", str(rank)],
                *["--dist_master_addr", "127.0.0.1", "--dist_master_port", str(port)],
                *["--multiprocessing_distributed", "false"],
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=300)
        assert rank.returncode == 0, errors[-3000:]
