"""A pretraining directory with a small real model of random weights."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_dq.ssl.build import build_ssl_model

CONFIG: dict[str, Any] = {
    "frontend": "log_mel",
    "frontend_conf": {"n_mels": 20},
    "encoder": "dq_transformer",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 3,
        "positional": {"style": "wav2vec2", "kernel": 5, "groups": 2, "depth": 1},
    },
    "model_conf": {
        "regression": {"top_k": 2},
        "language": {"layers": [1], "student_layer": 1, "clusters": 4},
        "phoneme": {"layers": [2], "student_layer": 2, "clusters": 6},
    },
}


def write_exp(folder: Path, *, quantizers: bool = True, **language: Any) -> Path:
    """Write ``config.yaml``, ``latest.pth`` and two lines of ``log.jsonl``.

    Args:
        folder: Is made.
        quantizers: Whether the branches are on.
        language: Further keys of ``model_conf.language``.
    """
    config = json.loads(json.dumps(CONFIG))
    config["model_conf"]["language"] |= language
    for name in ("language", "phoneme"):
        config["model_conf"][name]["enable"] = quantizers
    torch.manual_seed(0)
    model = build_ssl_model(config)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(model.state_dict(), folder / "latest.pth")
    rows = [{"update": u, "loss": 3.0 - u, "lr": 0.1} for u in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder
