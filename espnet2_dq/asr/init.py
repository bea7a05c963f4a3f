"""Start fine-tuning from a pretrained model: its architecture and its weights."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from espnet2_dq.asr.build import find_checkpoint, read_config
from espnet2_dq.errors import ConfigError
from espnet2_dq.interop.architecture import PARTS, complete, merge_architecture
from espnet2_dq.interop.load import LoadReport, load_weights
from espnet2_dq.interop.pretrained import (
    find_weights,
    is_huggingface,
    read_architecture,
    read_pretrained,
)

__all__ = [
    "PARTS",
    "RANDOM",
    "initialise",
    "merge_architecture",
    "resolve_architecture",
]

RANDOM = "random"


def resolve_architecture(
    config: Mapping[str, Any], init: str | None, architecture: str | None = None
) -> dict[str, Any]:
    """Frontend, preencoder and encoder of the model to fine-tune.

    Args:
        config: Fine-tuning configuration. A part that it leaves out (or null) comes
            from pretraining; a key that it gives has to agree, except dropouts.
        init: Checkpoint or directory of the pretraining run, Hugging Face directory,
            fairseq ``.pt`` (see ``interop.pretrained``), or ``"random"``.
        architecture: ``config.yaml`` or Hugging Face's ``config.json``, or directory
            that holds one, to take the architecture from; by default that of ``init``.

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
    found = _source_architecture(init, architecture)
    if found is None:
        if not config.get("encoder_conf"):
            raise ConfigError(
                "encoder_conf: nothing says which architecture to build; give"
                " --architecture with the config.yaml of a pretraining run"
            )
        return complete({k: v for k, v in config.items() if v is not None})
    return merge_architecture(config, *found)


def initialise(model: nn.Module, init: str, min_fraction: float) -> LoadReport:
    """Load frontend, preencoder and encoder of a pretrained model.

    Args:
        model: The model to fine-tune; its head keeps its fresh weights.
        init: Checkpoint, or directory with one; as in ``resolve_architecture``.
        min_fraction: Least share of these three parts' parameters.

    Raises:
        CheckpointError: Too little fits; the message holds the load report.
    """
    path = Path(init)
    ours = path.is_dir() and not is_huggingface(path)
    checkpoint = find_checkpoint(path) if ours else find_weights(path)
    prefixes = tuple(f"{part}." for part in PARTS)
    report = load_weights(
        model,
        read_pretrained(checkpoint),
        prefixes=prefixes,
        min_fraction=min_fraction,
        name=str(checkpoint),
    )
    level = logging.INFO if not report.missing else logging.WARNING
    logging.log(level, "init: %s: %s", checkpoint, report)
    return report


def _source_architecture(
    init: str, architecture: str | None
) -> tuple[dict[str, Any], str] | None:
    """The architecture to follow; ``None`` if only the configuration can say."""
    if architecture:
        path = Path(architecture)
        if path.name == "config.json" or (path.is_dir() and is_huggingface(path)):
            return read_architecture(path if path.is_dir() else path.parent)
        path = path / "config.yaml" if path.is_dir() else path
        return read_config(path), str(path)
    return None if init == RANDOM else read_architecture(init)
