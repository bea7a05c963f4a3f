"""Hugging Face's ``config.json`` of wav2vec 2.0 <-> our configuration keys.

Only JSON is read and written: transformers is not needed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.architecture import (
    complete,
    conv_shapes,
    default_of,
    positional,
)

MODEL_TYPES = ("wav2vec2", "data2vec-audio")
# Defaults of Wav2Vec2Config: files may leave out what is at its default.
DEFAULTS: dict[str, Any] = {
    "model_type": "wav2vec2",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "layerdrop": 0.1,
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
    "num_codevectors_per_group": 320,
    "num_codevector_groups": 2,
    "codevector_dim": 256,
    "proj_codevector_dim": 256,
    "add_adapter": False,
    "adapter_attn_dim": None,
}
# Data2VecAudioConfig, where it is different; the extractor's norm is not configurable.
DATA2VEC = {
    "num_conv_pos_embeddings": 5,
    "conv_pos_kernel_size": 19,
    "feat_extract_norm": "layer",
}
# What our encoder cannot be configured to do otherwise.
FIXED = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
    "adapter_attn_dim": None,
}
NORM_MODES = {"group": "group_norm", "layer": "layer_norm"}
DROPOUTS = {
    "dropout_rate": "hidden_dropout",
    "attention_dropout_rate": "attention_dropout",
    "activation_dropout_rate": "activation_dropout",
    "layer_drop_rate": "layerdrop",
}


def read_hf_config(path: Path) -> dict[str, Any]:
    """Our architecture of the model that a ``config.json`` describes.

    Args:
        path: The file. ``preprocessor_config.json`` beside it says whether audio is
            normalised; without it ``normalisation_unknown`` is set.

    Returns:
        Architecture keys, and ``model_conf`` with ``quantizer`` and ``final_dim``.

    Raises:
        CheckpointError: No such file, no JSON, another kind of model.
        ConfigError: A setting that our encoder cannot have.
    """
    content = _read_json(path)
    kind = content.get("model_type", DEFAULTS["model_type"])
    extra = DATA2VEC if kind == "data2vec-audio" else {}
    values = {**DEFAULTS, **extra, **content}
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{path}: model_type is {kind!r}; expected one of {list(MODEL_TYPES)}"
        )
    for key, only in FIXED.items():
        if values[key] != only:
            raise ConfigError(f"{path}: {key} is {values[key]!r}; only {only!r} fits")
    shapes = zip(
        values["conv_dim"], values["conv_kernel"], values["conv_stride"], strict=True
    )
    front = {
        "norm_mode": NORM_MODES[values["feat_extract_norm"]],
        "shapes": [list(shape) for shape in shapes],
        "bias": values["conv_bias"],
        "normalize_output": True,
    }
    normalise = _do_normalize(path.parent)
    if normalise is not None:
        front["normalize_audio"] = normalise
    return {
        "frontend": "waveform",
        "frontend_conf": front,
        "preencoder": "linear",
        "preencoder_conf": {},
        "encoder": "dq_transformer",
        "encoder_conf": _encoder_conf(values),
        "model_conf": _head_conf(values),
        "normalisation_unknown": normalise is None,
    }


def _encoder_conf(values: Mapping[str, Any]) -> dict[str, Any]:
    width = values["num_conv_pos_embeddings"]
    place = {"style": "wav2vec2", "kernel": width, "depth": 1}
    if values["model_type"] == "data2vec-audio":  # there it is the number of layers
        kernel = values["conv_pos_kernel_size"]
        place = {"style": "data2vec", "kernel": kernel, "depth": width}
    place["groups"] = values["num_conv_pos_embedding_groups"]
    return {
        "output_size": values["hidden_size"],
        "attention_heads": values["num_attention_heads"],
        "linear_units": values["intermediate_size"],
        "num_blocks": values["num_hidden_layers"],
        "normalize_before": values["do_stable_layer_norm"],
        "positional": place,
        **{ours: values[theirs] for ours, theirs in DROPOUTS.items()},
    }


def _head_conf(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "quantizer": {
            "groups": values["num_codevector_groups"],
            "codes": values["num_codevectors_per_group"],
            "dim": values["codevector_dim"],
        },
        "final_dim": values["proj_codevector_dim"],
    }


def _do_normalize(directory: Path) -> bool | None:
    """What the feature extractor's file says; ``None`` if there is none."""
    for name, section in (
        ("preprocessor_config.json", None),
        ("processor_config.json", "feature_extractor"),
    ):
        if (directory / name).is_file():
            content = _read_json(directory / name)
            values = content if section is None else content.get(section, {})
            if isinstance(values, Mapping) and "do_normalize" in values:
                return bool(values["do_normalize"])
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def hf_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Content of ``config.json`` for a wav2vec 2.0 model of ours.

    Args:
        config: The run's ``config.yaml``, ``objective: wav2vec2``.

    Raises:
        ConfigError: Something that Hugging Face's model does not have.
    """
    parts = complete(config)

    def value(part: str, key: str) -> Any:
        found = parts[f"{part}_conf"].get(key)
        return default_of(part, parts[part], key) if found is None else found

    if (parts["frontend"], parts["preencoder"]) != ("waveform", "linear"):
        raise ConfigError(
            f"frontend: {parts['frontend']}, preencoder: {parts['preencoder']}; Hugging"
            " Face's wav2vec 2.0 has waveform and linear"
        )
    place = positional(parts["encoder_conf"].get("positional"))
    if place["style"] != "wav2vec2" or not value("frontend", "normalize_output"):
        raise ConfigError(
            "encoder_conf.positional.style and frontend_conf.normalize_output: only"
            " wav2vec2 and true can be written for Hugging Face"
        )
    if value("encoder", "layer_norm_eps") != FIXED["layer_norm_eps"]:
        raise ConfigError("encoder_conf.layer_norm_eps: only 1e-5 can be written")
    if (config.get("model_conf") or {}).get("transpose"):
        raise ConfigError(
            "model_conf.transpose: true (UniSpeech); Hugging Face's wav2vec 2.0 cannot"
            " hold it, since it compares in the space of its codewords"
        )
    modes = {ours: theirs for theirs, ours in NORM_MODES.items()}
    dims, kernels, strides = zip(*conv_shapes(parts["frontend_conf"]), strict=True)
    return {
        "architectures": ["Wav2Vec2ForPreTraining"],
        **DEFAULTS,
        "hidden_size": value("encoder", "output_size"),
        "num_hidden_layers": value("encoder", "num_blocks"),
        "num_attention_heads": value("encoder", "attention_heads"),
        "intermediate_size": value("encoder", "linear_units"),
        **{theirs: value("encoder", ours) for ours, theirs in DROPOUTS.items()},
        "feat_extract_norm": modes[value("frontend", "norm_mode")],
        "conv_dim": dims,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": value("frontend", "bias"),
        "num_feat_extract_layers": len(dims),
        "num_conv_pos_embeddings": place["kernel"],
        "num_conv_pos_embedding_groups": place["groups"],
        "do_stable_layer_norm": value("encoder", "normalize_before"),
        **_head_values(config),
    }


def _head_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Quantizer, loss and mask settings; a key left out is at fairseq's default."""
    model = config.get("model_conf") or {}
    quantizer = model.get("quantizer") or {}
    mask = config.get("time_mask") or {}
    return {
        "num_codevector_groups": quantizer.get("groups", 2),
        "num_codevectors_per_group": quantizer.get("codes", 320),
        "codevector_dim": quantizer.get("dim", 256),
        "proj_codevector_dim": model.get("final_dim", 256),
        "num_negatives": model.get("negatives", 100),
        "contrastive_logits_temperature": model.get("temperature", 0.1),
        "diversity_loss_weight": model.get("diversity_weight", 0.1),
        "feat_proj_dropout": model.get("dropout_input", 0.1),
        "feat_quantizer_dropout": model.get("dropout_features", 0.1),
        "mask_time_prob": mask.get("prob", 0.65),
        "mask_time_length": mask.get("length", 10),
    }


def preprocessor_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Content of ``preprocessor_config.json``: how audio has to look (T21)."""
    front = complete(config)["frontend_conf"]
    norm_mode = front.get("norm_mode", default_of("frontend", "waveform", "norm_mode"))
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_normalize": bool(front.get("normalize_audio", True)),
        # Hugging Face's rule: group norm models run without an attention mask
        "return_attention_mask": norm_mode == "layer_norm",
    }
