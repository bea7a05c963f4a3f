"""Settings of a fairseq wav2vec 2.0 checkpoint -> our configuration keys."""

import re
from collections.abc import Mapping
from typing import Any

from espnet2_dq.errors import CheckpointError, ConfigError

# fairseq's Wav2Vec2Config; checkpoints hold all keys, old ones not the newest
DEFAULTS: dict[str, Any] = {
    "extractor_mode": "default",
    "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2",
    "conv_bias": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "pos_conv_depth": 1,
    "final_dim": 0,
    "latent_vars": 320,
    "latent_groups": 2,
    "latent_dim": 0,
}
# Variants that our model does not have.
FIXED: dict[str, Any] = {
    "activation_fn": "gelu",
    "quantize_input": False,
    "target_glu": False,
    "quantizer_depth": 1,
}
NORM_MODES = {"default": "group_norm", "layer_norm": "layer_norm"}
_ITEM = re.compile(
    r"\[\s*((?:\(\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\)\s*,?\s*)+)\]\s*(?:\*\s*(\d+))?"
)
_TRIPLE = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")


def fairseq_architecture(
    settings: Mapping[str, Any], name: str
) -> dict[str, Any] | None:
    """Our architecture of a checkpoint.

    Args:
        settings: ``args`` (old) and ``cfg`` (new) of the checkpoint, as plain data.
        name: The file, for messages.

    Returns:
        As ``hf_config.read_hf_config``; ``None`` if the file has no settings.

    Raises:
        ConfigError: A variant that our model does not have.
    """
    flat = _flatten(settings)
    if "encoder_layers" not in flat and "encoder_embed_dim" not in flat:
        return None
    values = {**DEFAULTS, **{k: v for k, v in flat.items() if v is not None}}
    for key, only in FIXED.items():
        if values.get(key, only) != only:
            raise ConfigError(f"{name}: {key} is {values[key]!r}; only {only!r} fits")
    if values["extractor_mode"] not in NORM_MODES:
        raise ConfigError(f"{name}: extractor_mode is {values['extractor_mode']!r}")
    front = {
        "norm_mode": NORM_MODES[values["extractor_mode"]],
        "shapes": parse_conv_layers(str(values["conv_feature_layers"]), name),
        "bias": bool(values["conv_bias"]),
        "normalize_output": True,
    }
    normalise = flat.get("normalize")
    if normalise is not None:
        front["normalize_audio"] = bool(normalise)
    final_dim = values["final_dim"] or values["encoder_embed_dim"]
    return {
        "frontend": "waveform",
        "frontend_conf": front,
        "preencoder": "linear",
        "preencoder_conf": {},
        "encoder": "dq_transformer",
        "encoder_conf": _encoder_conf(values),
        "model_conf": {
            "quantizer": {
                "groups": values["latent_groups"],
                "codes": values["latent_vars"],
                "dim": values["latent_dim"] or final_dim,
            },
            "final_dim": final_dim,
        },
        "normalisation_unknown": normalise is None,
    }


def _encoder_conf(values: Mapping[str, Any]) -> dict[str, Any]:
    depth = int(values["pos_conv_depth"])
    kernel = int(values["conv_pos"])
    place: dict[str, Any] = {"style": "wav2vec2", "kernel": kernel, "depth": 1}
    if depth > 1:  # the kernels of a stack share the width
        place = {"style": "data2vec", "kernel": max(3, kernel // depth), "depth": depth}
    place["groups"] = values["conv_pos_groups"]
    return {
        "output_size": values["encoder_embed_dim"],
        "attention_heads": values["encoder_attention_heads"],
        "linear_units": values["encoder_ffn_embed_dim"],
        "num_blocks": values["encoder_layers"],
        "normalize_before": bool(values["layer_norm_first"]),
        "positional": place,
        "dropout_rate": values["dropout"],
        "attention_dropout_rate": values["attention_dropout"],
        "activation_dropout_rate": values["activation_dropout"],
        "layer_drop_rate": values["encoder_layerdrop"],
    }


def parse_conv_layers(text: str, name: str) -> list[list[int]]:
    """``[(512,10,5)] + [(512,3,2)] * 4`` -> triples; fairseq evaluates it, we do not.

    Raises:
        CheckpointError: Another form.
    """
    shapes: list[list[int]] = []
    for item in text.split("+"):
        found = _ITEM.fullmatch(item.strip())
        if found is None:
            raise CheckpointError(
                f"{name}: conv_feature_layers is {text!r}; expected the form"
                " [(channels, kernel, stride)] * times + ..."
            )
        triples = [[int(n) for n in t] for t in _TRIPLE.findall(found.group(1))]
        shapes += triples * int(found.group(2) or 1)
    return shapes


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of model and task settings, whatever the age of the file."""
    flat: dict[str, Any] = {}
    old = settings.get("args")
    if isinstance(old, Mapping):
        flat.update(old)
    new = settings.get("cfg")
    if isinstance(new, Mapping):
        for section in ("task", "model"):
            if isinstance(new.get(section), Mapping):
                flat.update(new[section])
    # a fine-tuned model keeps the pretraining's settings inside
    inner = flat.get("w2v_args")
    if isinstance(inner, Mapping):
        nested = {"args": inner, "cfg": inner}
        flat.update(_flatten(nested))
    return flat
