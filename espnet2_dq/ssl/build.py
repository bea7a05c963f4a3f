"""Build the pretraining model from a configuration, without any ESPnet task."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_dq.config import from_mapping, unknown_key_message
from espnet2_dq.encoder.build import build_front
from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.ssl.config import BranchConfig, SSLConfig
from espnet2_dq.ssl.model import DQSSLModel
from espnet2_dq.ssl.predictor import Predictor
from espnet2_dq.ssl.wav2vec2_config import Wav2Vec2Config
from espnet2_dq.ssl.wav2vec2_model import Wav2Vec2SSLModel

OBJECTIVES = ("data2vec", "wav2vec2")
SSLModel = DQSSLModel | Wav2Vec2SSLModel
_PREDICTOR_KEYS = (
    "dropout_rate",
    "attention_dropout_rate",
    "activation_dropout_rate",
    "normalize_before",
)
_BRANCHES = ("language", "phoneme")


def build_ssl_model(config: Mapping[str, Any], updates_total: int = 1) -> SSLModel:
    """Build the model that ``config`` describes, with random weights.

    Args:
        config: Keys ``objective`` (data2vec, also when missing, or wav2vec2),
            ``frontend``, ``preencoder``, ``encoder``, their ``_conf``, and
            ``model_conf`` (:class:`SSLConfig` or :class:`Wav2Vec2Config`); the content
            of a run's ``config.yaml``.
        updates_total: Updates of the whole run.

    Raises:
        ConfigError: Unknown key or impossible value.
    """
    if objective_of(config) == "wav2vec2":
        given = config.get("model_conf")
        wav2vec2 = from_mapping(Wav2Vec2Config, given, "model_conf")
        return Wav2Vec2SSLModel(*build_front(config), wav2vec2, updates_total)
    return _build_data2vec(config, updates_total)


def objective_of(config: Mapping[str, Any]) -> str:
    """``data2vec`` or ``wav2vec2``.

    Raises:
        ConfigError: Something else.
    """
    name = config.get("objective") or OBJECTIVES[0]
    if name not in OBJECTIVES:
        raise ConfigError(unknown_key_message(str(name), OBJECTIVES, "objective"))
    return str(name)


def _build_data2vec(config: Mapping[str, Any], updates_total: int) -> DQSSLModel:
    """data2vec with the branches that ``model_conf`` switches on."""
    conf = from_mapping(SSLConfig, branch_defaults(config), "model_conf")
    for name in _BRANCHES:
        branch: BranchConfig = getattr(conf, name)
        if branch.enable and branch.clusters < 1:
            raise ConfigError(
                f"model_conf.{name}.clusters: {branch.clusters}; 0 is only allowed"
                " in training, where the number follows from the data"
            )
    conf.supervision.check_sizes()
    frontend, preencoder, encoder = build_front(config)
    encoder_conf = config.get("encoder_conf") or {}
    kwargs = {k: encoder_conf[k] for k in _PREDICTOR_KEYS if k in encoder_conf}

    def make_predictor(num_blocks: int) -> Predictor:
        return Predictor(
            encoder.output_size(),
            encoder_conf.get("attention_heads", 12),
            encoder_conf.get("linear_units", 3072),
            num_blocks,
            **kwargs,
        )

    return DQSSLModel(
        frontend, preencoder, encoder, conf, make_predictor, updates_total
    )


def branch_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """``model_conf`` with each branch's unnamed keys at that branch's own default.

    Both branches share a class but not its defaults (layers, clusters, norm).
    """
    given = dict(config.get("model_conf") or {})
    defaults = SSLConfig()
    for name in _BRANCHES:
        if isinstance(given.get(name), Mapping):
            base = dataclasses.asdict(getattr(defaults, name))
            given[name] = {**base, **given[name]}
    return given


def load_ssl_model(
    exp_dir: Path | str, checkpoint: str = "latest.pth", device: str = "cpu"
) -> tuple[SSLModel, dict[str, Any]]:
    """Load a pretrained model for inference.

    Args:
        exp_dir: Directory with ``config.yaml`` and the checkpoint.
        checkpoint: File name of the weights.
        device: Torch device.

    Returns:
        The model in evaluation mode and its configuration.

    Raises:
        CheckpointError: A file is missing or the weights do not fit.
    """
    folder = Path(exp_dir)
    for name in ("config.yaml", checkpoint):
        if not (folder / name).exists():
            raise CheckpointError(
                f"{folder / name}: not found; is this a pretraining directory, and"
                " did its first checkpoint get written?"
            )
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = build_ssl_model(config)
    state = torch.load(folder / checkpoint, map_location=device, weights_only=True)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{folder / checkpoint}: {error}") from error
    return model.to(device).eval(), config
