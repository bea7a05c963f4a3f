"""A tiny CTC model and batch, as fixtures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.asr.ctc_model import CTCModel

TOKENS = ["<blank>", "<unk>", "a", "b", "c", "d"]


def tiny_config(**changes: Any) -> dict[str, Any]:
    """Configuration without dropout; ``changes`` replace whole sections."""
    config: dict[str, Any] = {
        "frontend": "log_mel",
        "frontend_conf": {"n_mels": 20},
        "preencoder": "linear",
        "preencoder_conf": {},
        "encoder": "dq_transformer",
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 32,
            "num_blocks": 2,
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "layer_drop_rate": 0.0,
            # An even kernel over 8 channels a group is wrong in bfloat16 in some CPUs'
            # matrix units (oneDNN): see test_bfloat16_backbone_stays_close.
            "positional": {"kernel": 7, "groups": 2},
        },
        "token_list": TOKENS,
        "ctc_conf": {},
        "model_conf": {},
        "time_mask": {"prob": 0.65},
    }
    return {**config, **changes}


@pytest.fixture
def make_model() -> Callable[..., CTCModel]:
    def make(**changes: Any) -> CTCModel:
        torch.manual_seed(0)
        return build_ctc_model(tiny_config(**changes))

    return make


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Three utterances of 49, 30 and 12 frames."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([16000, 9680, 3920])
    speech = torch.randn(3, 16000, generator=generator)
    speech[torch.arange(16000) >= lengths[:, None]] = 0.0
    text = torch.tensor([[2, 3, 3, 4], [5, 2, -1, -1], [4, -1, -1, -1]])
    return {
        "speech": speech,
        "speech_lengths": lengths,
        "text": text,
        "text_lengths": torch.tensor([4, 2, 1]),
    }
