"""Build the hierarchical model from a configuration, and load a trained one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2_dq.asr.build import (
    build_parts,
    check_head_size,
    find_checkpoint,
    load_all,
    read_config,
)
from espnet2_dq.asr.config import HierarchicalConfig
from espnet2_dq.asr.hierarchical_model import HierarchicalCTCModel
from espnet2_dq.asr.tokens import read_tokens, tokens_sha256
from espnet2_dq.config import from_mapping
from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.load import read_weights


def is_hierarchical(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.yaml`` belongs to this model rather than to ``CTCModel``."""
    return bool(config.get("token_lists"))


def build_hierarchical_model(config: Mapping[str, Any]) -> HierarchicalCTCModel:
    """Build the model that ``config`` describes, with fresh weights.

    Args:
        config: ``frontend``, ``preencoder``, ``encoder`` with their ``_conf`` (see
            ``encoder.build``), ``token_lists`` (head -> tokens, or the path of a
            ``tokens.txt``), ``ctc_conf``, ``model_conf`` (``HierarchicalConfig``)
            and ``time_mask``; other keys are ignored.

    Raises:
        ConfigError: An unknown key or a value that does not fit.
        CheckpointError: A token list is not the one whose hash the configuration
            holds.
    """
    lists = token_lists(config)
    main = list(lists)[-1]
    frontend, preencoder, encoder, ctc = build_parts(config, len(lists[main]))
    return HierarchicalCTCModel(
        len(lists[main]),
        lists[main],
        frontend,
        preencoder,
        encoder,
        ctc,
        token_lists=lists,
        **(config.get("model_conf") or {}),
    )


def token_lists(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tokens of the model's heads, checked against the hashes that may be there.

    Raises:
        ConfigError: A head has no token list.
        CheckpointError: A hash belongs to another list.
    """
    heads = from_mapping(
        HierarchicalConfig, config.get("model_conf"), "model_conf"
    ).heads
    values = config.get("token_lists") or {}
    lists: dict[str, list[str]] = {}
    for head in heads:
        value = values.get(head)
        if not value:
            raise ConfigError(
                f"token_lists.{head}: missing; give the path of a tokens.txt, or leave"
                f" the head out (model_conf.heads: {list(heads)})"
            )
        lists[head] = read_tokens(value) if isinstance(value, str | Path) else [*value]
        found = tokens_sha256(lists[head])
        expected = (config.get("token_lists_sha256") or {}).get(head)
        if expected and found != expected:
            raise CheckpointError(
                f"token_lists.{head}: its sha256 is {found[:12]}..., the configuration"
                f" says {expected[:12]}...; the list was changed after training:"
                " restore config.yaml or fine-tune again"
            )
    return lists


def load_hierarchical_model(
    model_dir: Path | str,
    checkpoint: Path | str | None = None,
    device: str = "cpu",
) -> tuple[HierarchicalCTCModel, dict[str, Any]]:
    """Load a fine-tuned model for evaluation.

    Args:
        model_dir: Directory with ``config.yaml`` and checkpoints.
        checkpoint: A file, or a name inside ``model_dir``; by default the best one by
            validation ``wer``, else the latest.
        device: Where to put it.

    Returns:
        The model in evaluation mode and its configuration.

    Raises:
        CheckpointError: A file is missing or broken, or does not fit; also a token
            list that is not the model's.
    """
    directory = Path(model_dir)
    config = read_config(directory / "config.yaml")
    if not is_hierarchical(config):
        raise CheckpointError(
            f"{directory / 'config.yaml'}: holds no token_lists; it is no hierarchical"
            " model (hier_train makes one)"
        )
    path = find_checkpoint(directory, checkpoint)
    state = read_weights(path)
    model = build_hierarchical_model(config)
    for head, tokens in model.token_lists.items():
        check_head_size(state, len(tokens), path, f"ctc_heads.{head}")
    load_all(model, state, path, directory / "config.yaml")
    return model.to(device).eval(), config
