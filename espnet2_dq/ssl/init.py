"""Further pretraining: architecture and weights of another model, all else fresh."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.architecture import differs, merge_architecture
from espnet2_dq.interop.load import LoadReport, load_weights
from espnet2_dq.interop.pretrained import (
    find_weights,
    read_architecture,
    read_pretrained,
)
from espnet2_dq.ssl.build import SSLModel, objective_of
from espnet2_dq.ssl.model import DQSSLModel

BACKBONE = ("frontend.", "preencoder.", "encoder.")
HEADS = ("quantizer.", "project_q.", "final_proj.")
# With final_dim, the keys of model_conf that decide shapes of HEADS
QUANTIZER_KEYS = ("groups", "codes", "dim")


def settle_architecture(
    config: Mapping[str, Any], init_from: str | Path
) -> dict[str, Any]:
    """The configuration's architecture keys, checked against the model to start from.

    Args:
        config: Configuration of the run. What it leaves out comes from the model; what
            it gives has to agree, except dropouts.
        init_from: See ``interop.pretrained``.

    Returns:
        ``frontend`` ... ``encoder_conf`` and ``model_conf``. For weights that lie
        alone, these keys as they are.

    Raises:
        CheckpointError: Nothing at ``init_from``.
        ConfigError: Naming the key that differs.
    """
    if not Path(init_from).exists():
        raise CheckpointError(f"init_from: {init_from} does not exist")
    found = read_architecture(init_from)
    if found is None:
        logging.warning(
            "init_from: nothing beside %s says how audio was normalised or what the"
            " architecture is; the configuration has to be right",
            init_from,
        )
        return {}
    source, name = found
    settled = merge_architecture(config, source, name)
    model_conf = dict(config.get("model_conf") or {})
    theirs = source.get("model_conf") or {}
    if objective_of(config) == "wav2vec2" and source.get("objective") != "data2vec":
        _merge_heads(model_conf, theirs, name)
    return {**settled, "model_conf": model_conf}


def _merge_heads(
    model_conf: dict[str, Any], theirs: Mapping[str, Any], name: str
) -> None:
    """Sizes of quantizer and projections, in place."""
    mine = dict(model_conf.get("quantizer") or {})
    other = theirs.get("quantizer") or {}
    pairs = [(mine, other, key, f"quantizer.{key}") for key in QUANTIZER_KEYS]
    pairs.append((model_conf, theirs, "final_dim", "final_dim"))
    pairs.append((model_conf, theirs, "transpose", "transpose"))
    for ours, source, key, label in pairs:
        if key in source and ours.setdefault(key, source[key]) != source[key]:
            where = f"model_conf.{label}"
            raise ConfigError(differs(where, ours[key], source[key], name))
    if mine:
        model_conf["quantizer"] = mine


def initialise(
    model: SSLModel, init_from: str | Path, min_fraction: float
) -> list[LoadReport]:
    """Load frontend, projection and encoder, and what the loss adds to them.

    wav2vec 2.0 keeps quantizer and both projections; data2vec's teacher becomes a copy
    of the loaded encoder, its branches stay fresh. Counters start at 0.

    Args:
        model: The model to train.
        init_from: See ``interop.pretrained``.
        min_fraction: Least share of the parameters to load, of the backbone and of
            quantizer and projections each.

    Raises:
        CheckpointError: Unreadable, or too little fits; holds the load report.
    """
    weights = read_pretrained(init_from)
    name = str(find_weights(init_from))
    scopes = [BACKBONE] if isinstance(model, DQSSLModel) else [BACKBONE, HEADS]
    reports = []
    for prefixes in scopes:
        report = load_weights(
            model, weights, prefixes=prefixes, min_fraction=min_fraction, name=name
        )
        level = logging.INFO if not report.missing else logging.WARNING
        what = ", ".join(prefix.rstrip(".") for prefix in prefixes)
        logging.log(level, "init_from: %s: %s: %s", name, what, report)
        reports.append(report)
    if isinstance(model, DQSSLModel):
        model.teacher.encoder.load_state_dict(model.encoder.state_dict())
    return reports
