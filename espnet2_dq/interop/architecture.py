"""Compare and merge the architecture of a checkpoint with a configuration's.

An architecture is a mapping with ``frontend``, ``frontend_conf``, ... ``encoder_conf``
as in our configurations; see ``espnet2_dq.encoder.build``.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from espnet2_dq.encoder.build import FRONTENDS
from espnet2_dq.encoder.frame_grid import KERNELS, STRIDES
from espnet2_dq.encoder.positional import DEFAULTS as POSITIONAL
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError

PARTS = ("frontend", "preencoder", "encoder")
DEFAULT_NAMES = {
    "frontend": "waveform",
    "preencoder": "linear",
    "encoder": "dq_transformer",
}
# What further training may set anew; everything else decides which weights exist or
# what their input looks like (input normalisation: trap T21), and has to be as before.
REGULARISATION = {
    "frontend": frozenset[str](),
    "preencoder": frozenset({"dropout"}),
    "encoder": frozenset(
        {
            "dropout_rate",
            "attention_dropout_rate",
            "activation_dropout_rate",
            "layer_drop_rate",
        }
    ),
}
SHAPE_KEYS = ("channels", "shapes")


def merge_architecture(
    config: Mapping[str, Any], source: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Take the architecture of ``source`` with the dropouts of ``config``.

    Args:
        config: Configuration of the new training.
        source: That of the checkpoint. Where it lacks ``normalize_audio`` although
            ``normalisation_unknown`` is set, ``config`` has to say it.
        name: File of ``source``, for messages.

    Raises:
        ConfigError: Naming the key that differs or is missing.
    """
    merged = complete(source)
    if source.get("normalisation_unknown"):
        merged["frontend_conf"]["normalize_audio"] = _stated_norm(config, name)
    for part in PARTS:
        given, theirs = config.get(part), merged[part]
        if given is not None and part_name(given) != theirs:
            raise ConfigError(differs(part, given, theirs, name))
        values: dict[str, Any] = merged[f"{part}_conf"]
        ours = config.get(f"{part}_conf") or {}
        for key, value in ours.items():
            if key in REGULARISATION[part]:
                values[key] = value
                continue
            expected = _comparable(part, theirs, key, values)
            if expected is not inspect.Parameter.empty:
                mine = _comparable(part, theirs, key, ours)
                if mine != expected:
                    where = f"{part}_conf.{key}"
                    raise ConfigError(differs(where, mine, expected, name))
            if key not in SHAPE_KEYS:
                values.setdefault(key, value)
    return merged


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture's keys alone, with names and width filled in."""
    filled: dict[str, Any] = {}
    for part in PARTS:
        given = config.get(part, DEFAULT_NAMES[part])
        # null is a preencoder's name, elsewhere it means that nothing was said
        keep = part == "preencoder" or given is not None
        filled[part] = part_name(given) if keep else DEFAULT_NAMES[part]
        filled[f"{part}_conf"] = dict(config.get(f"{part}_conf") or {})
    width = default_of("encoder", filled["encoder"], "output_size")
    filled["encoder_conf"].setdefault("output_size", width)
    return filled


def part_name(value: str | None) -> str | None:
    """Name of a part; the words none and null are ``None``."""
    return None if value is None or value.lower() in ("none", "null") else value


def default_of(part: str, name: str | None, key: str) -> Any:
    """Default of a constructor argument; ``Parameter.empty`` if it has none."""
    classes: dict[str, Any] = {"encoder": DQTransformerEncoder}
    if part == "frontend" and name in FRONTENDS:
        classes["frontend"] = FRONTENDS[name]()
    if part not in classes:
        return inspect.Parameter.empty
    known = inspect.signature(classes[part].__init__).parameters
    return known[key].default if key in known else inspect.Parameter.empty


def conv_shapes(conf: Mapping[str, Any]) -> list[list[int]]:
    """Channels, kernel, stride per layer of a waveform ``frontend_conf``."""
    shapes = conf.get("shapes")
    if shapes is None:
        channels = conf.get("channels", default_of("frontend", "waveform", "channels"))
        shapes = [(channels, k, s) for k, s in zip(KERNELS, STRIDES, strict=True)]
    return [[int(size) for size in shape] for shape in shapes]


def positional(conf: Mapping[str, Any] | None) -> dict[str, Any]:
    """``encoder_conf.positional`` with every key."""
    given = dict(conf or {})
    style = given.get("style", "wav2vec2")
    return {"style": style, **POSITIONAL.get(style, {}), **given}


def differs(key: str, ours: Any, theirs: Any, name: str) -> str:
    """The message for a key that contradicts the checkpoint."""
    return (
        f"{key}: {ours!r} here, {theirs!r} in {name}; remove the key (it is taken from"
        " there) or start from random weights"
    )


def _comparable(part: str, name: str | None, key: str, conf: Mapping[str, Any]) -> Any:
    """Value of a key such that equal architectures have equal values."""
    if part == "frontend" and name == "waveform" and key in SHAPE_KEYS:
        return conv_shapes(conf)
    if key == "positional":
        return positional(conf.get(key))
    return conf.get(key, default_of(part, name, key))


def _stated_norm(config: Mapping[str, Any], name: str) -> bool:
    value = (config.get("frontend_conf") or {}).get("normalize_audio")
    if value is None:
        raise ConfigError(
            f"frontend_conf.normalize_audio: missing, and {name} does not say whether"
            " its training normalised the audio; set it to true or false as it was"
            " (fairseq: task.normalize)"
        )
    return bool(value)
