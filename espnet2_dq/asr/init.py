"""Start fine-tuning from a pretrained model: its architecture and its weights."""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from espnet2_dq.asr.build import find_checkpoint, read_config
from espnet2_dq.encoder.build import FRONTENDS
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError
from espnet2_dq.interop.load import LoadReport, load_weights

RANDOM = "random"
PARTS = ("frontend", "preencoder", "encoder")
DEFAULT_NAMES = {
    "frontend": "waveform",
    "preencoder": "linear",
    "encoder": "dq_transformer",
}
# What fine-tuning may set anew; everything else decides which weights exist or what
# their input looks like, and has to be as in pretraining.
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


def resolve_architecture(
    config: Mapping[str, Any], init: str | None, architecture: str | None = None
) -> dict[str, Any]:
    """Frontend, preencoder and encoder of the model to fine-tune.

    Args:
        config: Fine-tuning configuration. A part that it leaves out (or null) comes
            from pretraining; a key that it gives has to agree, except dropouts.
        init: Checkpoint or directory of the pretraining run, or ``"random"``.
        architecture: ``config.yaml``, or directory that holds one, to take the
            architecture from; by default the one beside ``init``.

    Returns:
        The keys ``frontend``, ``frontend_conf``, ... ``encoder_conf``.

    Raises:
        ConfigError: ``init`` is missing, nothing gives an architecture, or a key
            differs from pretraining.
    """
    if not init:
        raise ConfigError(
            "init: missing; give --init PATH (a pretraining checkpoint or its"
            " directory), or --init random"
        )
    source = _architecture_file(init, architecture)
    if source is None:
        if not config.get("encoder_conf"):
            raise ConfigError(
                "encoder_conf: nothing says which architecture to build; give"
                " --architecture with the config.yaml of a pretraining run"
            )
        return _complete({k: v for k, v in config.items() if v is not None})
    return merge_architecture(config, read_config(source), str(source))


def merge_architecture(
    config: Mapping[str, Any], source: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Take the architecture of ``source`` with the dropouts of ``config``.

    Args:
        config: Fine-tuning configuration.
        source: Pretraining configuration.
        name: File of ``source``, for messages.

    Raises:
        ConfigError: Naming the key that differs.
    """
    merged = _complete(source)
    for part in PARTS:
        given, theirs = config.get(part), merged[part]
        if given is not None and _name(given) != theirs:
            raise ConfigError(_differs(part, given, theirs, name))
        values: dict[str, Any] = merged[f"{part}_conf"]
        for key, value in (config.get(f"{part}_conf") or {}).items():
            if key not in REGULARISATION[part]:
                expected = values.get(key, _default(part, theirs, key))
                if expected is not inspect.Parameter.empty and value != expected:
                    raise ConfigError(
                        _differs(f"{part}_conf.{key}", value, expected, name)
                    )
            values[key] = value
    return merged


def initialise(model: nn.Module, init: str, min_fraction: float) -> LoadReport:
    """Load frontend, preencoder and encoder of a pretrained model.

    Args:
        model: The model to fine-tune; its head keeps its fresh weights.
        init: Checkpoint, or directory with one.
        min_fraction: Least share of these three parts' parameters.

    Raises:
        CheckpointError: Too little fits; the message holds the load report.
    """
    path = Path(init)
    checkpoint = find_checkpoint(path) if path.is_dir() else path
    prefixes = tuple(f"{part}." for part in PARTS)
    report = load_weights(
        model, checkpoint, prefixes=prefixes, min_fraction=min_fraction
    )
    level = logging.INFO if not report.missing else logging.WARNING
    logging.log(level, "init: %s: %s", checkpoint, report)
    return report


def _architecture_file(init: str, architecture: str | None) -> Path | None:
    """The ``config.yaml`` to follow; ``None`` if only the configuration can say."""
    if architecture:
        path = Path(architecture)
        return path / "config.yaml" if path.is_dir() else path
    if init == RANDOM:
        return None
    path = Path(init)
    beside = (path if path.is_dir() else path.parent) / "config.yaml"
    # weights of another toolkit lie alone
    return beside if beside.exists() else None


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture's keys alone, with names and width filled in."""
    complete: dict[str, Any] = {}
    for part in PARTS:
        given = config.get(part, DEFAULT_NAMES[part])
        # null is a preencoder's name, elsewhere it means that nothing was said
        keep = part == "preencoder" or given is not None
        complete[part] = _name(given) if keep else DEFAULT_NAMES[part]
        complete[f"{part}_conf"] = dict(config.get(f"{part}_conf") or {})
    width = _default("encoder", complete["encoder"], "output_size")
    complete["encoder_conf"].setdefault("output_size", width)
    return complete


def _name(value: str | None) -> str | None:
    return None if value is None or value.lower() in ("none", "null") else value


def _default(part: str, name: str | None, key: str) -> Any:
    """Default of a constructor argument; ``Parameter.empty`` if it has none."""
    classes: dict[str, Any] = {"encoder": DQTransformerEncoder}
    if part == "frontend" and name in FRONTENDS:
        classes["frontend"] = FRONTENDS[name]()
    if part not in classes:
        return inspect.Parameter.empty
    known = inspect.signature(classes[part].__init__).parameters
    return known[key].default if key in known else inspect.Parameter.empty


def _differs(key: str, ours: Any, theirs: Any, name: str) -> str:
    return (
        f"{key}: {ours!r} here, {theirs!r} in {name}; remove the key (it is taken from"
        " there) or use --init random"
    )
