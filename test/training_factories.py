"""Tiny pretraining configurations and batches for tests."""

from typing import Any

import numpy as np

from espnet2_dq.data.batches import Draw


def make_config(**model_conf: Any) -> dict[str, Any]:
    """Describe a four-layer model on 16 mel channels, dropout off, branches on."""
    return {
        "frontend": "log_mel",
        "frontend_conf": {"n_mels": 16},
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 32,
            "num_blocks": 4,
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "layer_drop_rate": 0.0,
            "positional": {"style": "wav2vec2", "kernel": 5, "groups": 4, "depth": 1},
        },
        "model_conf": {
            "regression": {"top_k": 3},
            "language": {
                "layers": [1, 2],
                "student_layer": 2,
                "clusters": 3,
                "predictor_layers": 1,
            },
            "phoneme": {
                "layers": [3],
                "student_layer": 3,
                "clusters": 8,
                "predictor_layers": 1,
                "negatives": 0,
            },
            **model_conf,
        },
    }


def make_items(*lengths: int, **streams: Any) -> list[Any]:
    """Noise of so many samples each, as the dataset hands it to the collate."""
    rng = np.random.default_rng(0)
    return [
        (
            Draw(f"utt{i}"),
            {"speech": rng.standard_normal(n).astype(np.float32), **streams},
        )
        for i, n in enumerate(lengths)
    ]
