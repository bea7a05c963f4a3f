"""Build the CTC model from a configuration, and load a trained one, without a task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.asr.ctc import CTC
from torch import nn

from espnet2_dq.asr.ctc_model import CTCModel
from espnet2_dq.asr.tokens import read_tokens, tokens_sha256
from espnet2_dq.encoder.build import build_front
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.load import read_weights

# Best first; `latest.pth` is ESPnet's link to the last epoch.
CHECKPOINTS = (
    "valid.ter.best.pth",
    "valid.wer.best.pth",
    "latest.pth",
    "checkpoint.pth",
)


def build_ctc_model(config: Mapping[str, Any]) -> CTCModel:
    """Build the model that ``config`` describes, with fresh weights.

    Args:
        config: ``frontend``, ``preencoder``, ``encoder`` with their ``_conf`` (see
            ``encoder.build``), ``token_list`` (tokens, or the path of a
            ``tokens.txt``), ``ctc_conf``, ``model_conf`` (:class:`CTCModelConfig`)
            and ``time_mask``; other keys are ignored.

    Raises:
        ConfigError: An unknown key or a value that does not fit.
    """
    tokens = token_list(config)
    frontend, preencoder, encoder, ctc = build_parts(config, len(tokens))
    return CTCModel(
        len(tokens),
        tokens,
        frontend,
        preencoder,
        encoder,
        ctc,
        **(config.get("model_conf") or {}),
    )


def build_parts(
    config: Mapping[str, Any], vocab_size: int
) -> tuple[nn.Module, nn.Module | None, DQTransformerEncoder, CTC]:
    """Frontend, preencoder, encoder and a CTC head, to make a model of."""
    frontend, preencoder, encoder = build_front(config)
    if config.get("time_mask") is None and encoder.mask_embedding is not None:
        # Never used then; DistributedDataParallel would wait for its gradient.
        encoder.mask_embedding.requires_grad_(False)
    try:
        ctc = CTC(vocab_size, encoder.output_size(), **(config.get("ctc_conf") or {}))
    except TypeError as error:
        raise ConfigError(f"ctc_conf: {error}") from error
    return frontend, preencoder, encoder, ctc


def token_list(config: Mapping[str, Any]) -> list[str]:
    """Tokens of a configuration, checked against the hash that it may hold.

    Raises:
        ConfigError: No token list.
        CheckpointError: The hash belongs to another list.
    """
    value = config.get("token_list")
    if not value:
        raise ConfigError("token_list: missing; give the path of a tokens.txt")
    tokens = read_tokens(value) if isinstance(value, str | Path) else list(value)
    expected = config.get("token_list_sha256")
    if expected and tokens_sha256(tokens) != expected:
        raise CheckpointError(
            f"token_list: its sha256 is {tokens_sha256(tokens)[:12]}..., the"
            f" configuration says {expected[:12]}...; the list was changed after"
            " training: restore config.yaml or fine-tune again"
        )
    return tokens


def load_ctc_model(
    model_dir: Path | str,
    checkpoint: Path | str | None = None,
    device: str = "cpu",
) -> tuple[CTCModel, dict[str, Any]]:
    """Load a fine-tuned model for evaluation.

    Args:
        model_dir: Directory with ``config.yaml`` and checkpoints.
        checkpoint: A file, or a name inside ``model_dir``; by default the best one by
            validation ``ter``, else the latest.
        device: Where to put it.

    Returns:
        The model in evaluation mode and its configuration.

    Raises:
        CheckpointError: A file is missing or broken, or does not fit.
    """
    directory = Path(model_dir)
    config = read_config(directory / "config.yaml")
    path = find_checkpoint(directory, checkpoint)
    state = read_weights(path)
    model = build_ctc_model(config)
    check_head_size(state, len(model.token_list), path)
    load_all(model, state, path, directory / "config.yaml")
    return model.to(device).eval(), config


def load_all(
    model: nn.Module, state: Mapping[str, torch.Tensor], path: Path, config: Path
) -> None:
    """Load weights that must fit exactly.

    Raises:
        CheckpointError: They do not.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit {config}: {error}; use the config.yaml that training"
            " wrote beside the checkpoint"
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """Read the ``config.yaml`` of a training run.

    Raises:
        CheckpointError: Missing, or not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: not found; give the directory that training wrote"
        ) from None
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path}: expected a mapping, got {type(config).__name__}"
        )
    return config


def find_checkpoint(directory: Path, checkpoint: Path | str | None = None) -> Path:
    """The checkpoint to use: the one asked for, or the first of ``CHECKPOINTS``."""
    names = CHECKPOINTS if checkpoint is None else (str(checkpoint),)
    for name in names:
        for path in (directory / name, Path(name)):
            if path.is_file() and (checkpoint is not None or path.parent == directory):
                return path
    present = sorted(p.name for p in directory.glob("*.pth"))
    raise CheckpointError(
        f"{directory}: no {' or '.join(names)}; present: {', '.join(present) or 'none'}"
    )


def check_head_size(
    state: Mapping[str, torch.Tensor],
    num_tokens: int,
    path: Path,
    name: str = "ctc",
) -> None:
    """Say so if the head belongs to another token list or is not there at all."""
    head = state.get(f"{name}.ctc_lo.weight")
    if head is None:
        raise CheckpointError(
            f"{path}: holds no CTC head '{name}'; a pretraining checkpoint, or one of"
            " another kind of model: fine-tune first (ctc_train or hier_train --init)"
        )
    if head.size(0) != num_tokens:
        raise CheckpointError(
            f"{path}: {head.size(0)} outputs, but the token list has {num_tokens}"
            " tokens; use the config.yaml of the same training run"
        )
