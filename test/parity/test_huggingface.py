"""Our encoder holds Hugging Face (and fairseq) checkpoints exactly.

Random small configurations, weights moved through the rename tables; no download.
"""

import re
from typing import Any

import pytest
import torch
from torch import nn

from espnet2_dq.encoder.build import build_front
from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.interop.load import load_weights

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (12,) * 7,
    "num_conv_pos_embedding_groups": 2,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("Wav2Vec2", {"num_conv_pos_embeddings": 16}),
    "base_odd_kernel": ("Wav2Vec2", {"num_conv_pos_embeddings": 15}),
    "large": (
        "Wav2Vec2",
        {
            "num_conv_pos_embeddings": 16,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "conv_bias": True,
        },
    ),
    "data2vec": (
        "Data2VecAudio",
        {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7},
    ),
    "data2vec_even_kernel": (
        "Data2VecAudio",
        {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 8},
    ),
}
LENGTHS = torch.tensor([9000, 5600])


class Front(nn.Module):
    """Frontend, projection and encoder under the names every model of ours uses."""

    def __init__(self, conf: dict[str, Any]) -> None:
        super().__init__()
        self.frontend, self.preencoder, self.encoder = build_front(conf)

    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> EncoderOutput:
        assert self.preencoder is not None
        feats, lengths = self.preencoder(*self.frontend(speech, lengths))
        return self.encoder.extract(feats, lengths)


def _huggingface(kind: str) -> nn.Module:
    torch.manual_seed(0)
    family, extra = KINDS[kind]
    config = getattr(transformers, f"{family}Config")(**SIZES, **extra)
    model: nn.Module = getattr(transformers, f"{family}Model")(config).eval()
    with torch.no_grad():  # biases and norms start at 0 and 1: they must matter too
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _ours(kind: str) -> Front:
    family, extra = KINDS[kind]
    large = extra.get("do_stable_layer_norm", False)
    positional: dict[str, Any] = {
        "style": "wav2vec2",
        "kernel": extra["num_conv_pos_embeddings"],
        "groups": 2,
    }
    if family == "Data2VecAudio":
        positional = {
            "style": "data2vec",
            "kernel": extra["conv_pos_kernel_size"],
            "depth": extra["num_conv_pos_embeddings"],
            "groups": 2,
            "mask_between": False,
        }
    torch.manual_seed(1)
    conf = {
        "frontend_conf": {
            "channels": 12,
            "norm_mode": "group_norm" if kind.startswith("base") else "layer_norm",
            "bias": large,
            "normalize_audio": False,
        },
        "encoder_conf": {
            "output_size": 24,
            "attention_heads": 4,
            "linear_units": 48,
            "num_blocks": 3,
            "normalize_before": large,
            "positional": positional,
        },
    }
    return Front(conf).eval()


def _speech() -> torch.Tensor:
    torch.manual_seed(2)
    speech = torch.randn(2, 9000)
    speech[1, 5600:] = 0.0
    return speech


def _run_huggingface(
    model: nn.Module, speech: torch.Tensor, padded: bool
) -> list[torch.Tensor]:
    """Encoder input, blocks but the last, final output.

    The last hidden state of a pre-norm model is normalised or not, depending on the
    transformers release: taken from ``last_hidden_state`` instead.
    """
    mask = (torch.arange(9000) < LENGTHS[:, None]).long() if padded else None
    with torch.no_grad():
        out = model(speech, attention_mask=mask, output_hidden_states=True)
    return [*out.hidden_states[:-1], out.last_hidden_state]


def _assert_equal(mine: EncoderOutput, theirs: list[torch.Tensor]) -> None:
    states = [mine.encoder_input, *mine.layers[:-1], mine.output]
    assert len(states) == len(theirs) == 4
    for index, count in enumerate(mine.lengths.tolist()):
        for ours, other in zip(states, theirs, strict=True):
            difference = (ours[index, :count] - other[index, :count]).abs().max()
            assert difference < 1e-5


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_same_hidden_states(kind: str, padded: bool) -> None:
    model, ours, speech = _huggingface(kind), _ours(kind), _speech()
    report = load_weights(ours, model.state_dict(), min_fraction=1.0)
    assert report.missing == report.unexpected == []
    assert report.mismatched == {}
    lengths = LENGTHS if padded else torch.tensor([9000, 9000])
    with torch.no_grad():
        mine = ours(speech, lengths)
    _assert_equal(mine, _run_huggingface(model, speech, padded))


@pytest.mark.parametrize("kind", ["data2vec", "data2vec_even_kernel"])
def test_masked_stack_equals_each_utterance_alone(kind: str) -> None:
    """Our default does not have the pad leak of the stacked convolutions."""
    model, ours, speech = _huggingface(kind), _ours(kind), _speech()
    load_weights(ours, model.state_dict())
    ours.encoder.pos_conv.mask_between = True
    with torch.no_grad():
        mine = ours(speech, LENGTHS)
        for index, (samples, frames) in enumerate(
            zip(LENGTHS.tolist(), mine.lengths.tolist(), strict=True)
        ):
            alone = model(speech[index : index + 1, :samples]).last_hidden_state[0]
            assert (mine.output[index, :frames] - alone).abs().max() < 1e-5


# Hugging Face -> fairseq, written down independently of the tables under test
TO_FAIRSEQ = [
    (r"^masked_spec_embed$", "mask_emb"),
    (r"^(feature_extractor\.conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.pos_conv_embed\.layers\.(\d+)\.conv\.", r"encoder.pos_conv.\1.0."),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^(encoder\.layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"^(encoder\.layers\.\d+)\.feed_forward\.intermediate_dense\.", r"\1.fc1."),
    (r"^(encoder\.layers\.\d+)\.feed_forward\.output_dense\.", r"\1.fc2."),
]


@pytest.mark.parametrize("below_head", [False, True])
@pytest.mark.parametrize("kind", ["base", "large", "data2vec"])
def test_fairseq_names_give_the_same(kind: str, below_head: bool) -> None:
    model, ours, speech = _huggingface(kind), _ours(kind), _speech()
    norm = r"\1.2." if kind == "base" else r"\1.2.1."
    table = [
        *TO_FAIRSEQ,
        (r"^(feature_extractor\.conv_layers\.\d+)\.layer_norm\.", norm),
    ]
    weights = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        weights[("w2v_encoder.w2v_model." if below_head else "") + name] = value
    assert not set(weights) & set(ours.state_dict()) - {
        "encoder.layer_norm.weight",
        "encoder.layer_norm.bias",
    }
    report = load_weights(ours, weights, min_fraction=1.0)
    assert report.missing == report.unexpected == []
    assert report.mismatched == {}
    with torch.no_grad():
        mine = ours(speech, LENGTHS)
    _assert_equal(mine, _run_huggingface(model, speech, padded=True))
