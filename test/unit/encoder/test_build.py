"""build_front: names, defaults and errors."""

from typing import Any

import pytest
import torch

from espnet2_dq.encoder.build import build_front
from espnet2_dq.errors import ConfigError

SMALL: dict[str, Any] = {
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 32,
    "num_blocks": 1,
    "positional": {"kernel": 8, "groups": 2},
}


@pytest.mark.parametrize(
    ("frontend", "conf"), [("waveform", {"channels": 8}), ("log_mel", {"n_mels": 20})]
)
def test_front_runs_end_to_end(frontend: str, conf: dict[str, Any]) -> None:
    parts = {
        "frontend": frontend,
        "frontend_conf": conf,
        "preencoder": "linear",
        "preencoder_conf": {},
        "encoder": "dq_transformer",
        "encoder_conf": SMALL,
        "optim": "adam",
    }
    front, preencoder, encoder = build_front(parts)
    assert preencoder is not None
    feats, lengths = front(torch.randn(2, 4000), torch.tensor([4000, 3000]))
    out, lengths, _ = encoder(*preencoder(feats, lengths))
    assert out.shape == (2, 12, 16)
    assert lengths.tolist() == [12, 9]


def test_no_preencoder_needs_equal_sizes() -> None:
    parts = {"preencoder": None, "encoder_conf": SMALL}
    assert build_front({**parts, "frontend_conf": {"channels": 16}})[1] is None
    with pytest.raises(ConfigError, match="preencoder: linear"):
        build_front({**parts, "frontend_conf": {"channels": 8}})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"frontend": "wavform"}, "Did you mean 'waveform'"),
        ({"encoder": "conformer"}, "dq_transformer"),
        ({"preencoder": "sinc"}, "linear"),
        ({"frontend_conf": {"chanels": 8}}, "Did you mean 'channels'"),
        ({"encoder_conf": {"num_block": 8}}, "Did you mean 'num_blocks'"),
        ({"encoder_conf": {"input_size": 8}}, "unknown key 'input_size'"),
        ({"preencoder_conf": {"output_dim": 8}}, "output_size"),
    ],
)
def test_errors_name_the_nearest_key(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_front({"encoder_conf": SMALL, **parts})
