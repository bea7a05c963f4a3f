"""Tiny wav2vec 2.0 models, and Hugging Face's twin, for tests."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.ssl.supervision import SupervisionConfig
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig

SHAPES = [[12, 10, 5], *[[12, 3, 2]] * 4, *[[12, 2, 2]] * 2]


def wav2vec2_config(*, large: bool = False, **model_conf: Any) -> dict[str, Any]:
    """Raw waveforms, three layers, dropout off; ``large`` is pre-norm, LayerNorm."""
    return {
        "objective": "wav2vec2",
        "frontend": "waveform",
        "frontend_conf": {
            "channels": 12,
            "norm_mode": "layer_norm" if large else "group_norm",
            "bias": large,
            "normalize_audio": large,
        },
        "preencoder": "linear",
        "preencoder_conf": {},
        "encoder": "dq_transformer",
        "encoder_conf": {
            "output_size": 24,
            "attention_heads": 4,
            "linear_units": 48,
            "num_blocks": 3,
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "layer_drop_rate": 0.0,
            "normalize_before": large,
            "positional": {"style": "wav2vec2", "kernel": 16, "groups": 2},
        },
        "model_conf": {
            "quantizer": {"groups": 2, "codes": 10, "dim": 12},
            "final_dim": 8,
            "negatives": 7,
            "dropout_input": 0.0,
            "dropout_features": 0.0,
            **model_conf,
        },
    }


def make_wav2vec2(seed: int = 0, *, large: bool = False, **model_conf: Any) -> Any:
    """The model, every parameter moved away from its symmetric start."""
    torch.manual_seed(seed)
    config = wav2vec2_config(large=large, **model_conf)
    model = build_ssl_model(config, updates_total=100)
    with torch.no_grad():  # biases and norms start at 0 and 1: they must matter too
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def collated(model: Any, items: list[Any]) -> dict[str, Any]:
    """Batch of items with span masks, without ``counts``, and the counts."""
    collate = Collate(model.frame_grid.num_frames, 0, SpanMaskConfig())
    batch: dict[str, Any] = collate(items)[1]
    return batch


UNISPEECH = {"phoneme": "mixed", "tokens": 6, "dropout": 0.0, "codebook_gradient": True}


def make_unispeech(*, large: bool = False, **conf: Any) -> Any:
    """:func:`make_wav2vec2` with supervision, to which some keys of ``conf`` belong."""
    names = {field.name for field in dataclasses.fields(SupervisionConfig)}
    supervision = {**UNISPEECH, **{k: v for k, v in conf.items() if k in names}}
    rest = {k: v for k, v in conf.items() if k not in names}
    return make_wav2vec2(large=large, transpose=True, supervision=supervision, **rest)


def labelled(
    batch: dict[str, Any], phonemes: Sequence[list[int]], replaced: bool | None = None
) -> dict[str, Any]:
    """The batch with labels: ids ``phonemes`` of each utterance, ``[]`` for none.

    ``replaced`` says which frames are codewords; ``None`` takes two of three.
    """
    lengths = torch.tensor([len(row) for row in phonemes])
    phn = torch.full((len(phonemes), max(1, int(lengths.max()))), -1)
    for row, ids in enumerate(phonemes):
        phn[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    frames = batch["span_mask"]
    mix = (torch.arange(frames.shape[1]) % 3 > 0).expand_as(frames).clone()
    if replaced is not None:
        mix = torch.full_like(frames, replaced)
    languages = torch.zeros(len(phonemes), 1, dtype=torch.long)
    return {
        **batch,
        "lang": languages,
        "phn": phn,
        "phn_lengths": lengths,
        "mix_frames": mix,
        "mix_utterance": languages.flatten().bool(),
    }


def to_fairseq_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our names as fairseq's, written down independently of the rename tables."""
    renamed = {}
    for name, value in weights.items():
        new = name
        for ours, theirs in (
            ("encoder.mask_embedding", "mask_emb"),
            ("frontend.final_norm.", "layer_norm."),
            ("preencoder.linear_out.", "post_extract_proj."),
            ("encoder.pos_conv.conv.bias", "encoder.pos_conv.0.bias"),
            (
                "encoder.pos_conv.conv.parametrizations.weight.original0",
                "encoder.pos_conv.0.weight_g",
            ),
            (
                "encoder.pos_conv.conv.parametrizations.weight.original1",
                "encoder.pos_conv.0.weight_v",
            ),
            ("encoder.blocks.", "encoder.layers."),
            ("quantizer.codevectors", "quantizer.vars"),
        ):
            if new.startswith(ours):
                new = theirs + new.removeprefix(ours)
        if new.startswith("frontend.layers."):
            number, rest = new.removeprefix("frontend.layers.").split(".", 1)
            rest = rest.replace("conv.", "0.")
            norm = "2." if value.dim() == 1 and number == "0" else "2.1."
            rest = rest.replace("layer_norm.", norm)
            new = f"feature_extractor.conv_layers.{number}.{rest}"
        renamed[new] = value
    return renamed


FAIRSEQ_MODEL = {
    "_name": "wav2vec2",
    "extractor_mode": "default",
    "conv_feature_layers": "[(12, 10, 5)] + [(12, 3, 2)] * 4 + [(12,2,2)] + [(12,2,2)]",
    "conv_bias": False,
    "encoder_layers": 3,
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "conv_pos": 16,
    "conv_pos_groups": 2,
    "final_dim": 8,
    "latent_vars": 10,
    "latent_groups": 2,
    "latent_dim": 12,
}
