"""Load weights into a model and say exactly what fitted."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet2_dq.errors import CheckpointError
from espnet2_dq.interop.rename import detect_source, rename_keys

# where checkpoints of ESPnet, fairseq and Lightning keep the weights
_NESTED_KEYS = ("model", "state_dict")


@dataclass(frozen=True)
class LoadReport:
    """What ``load_weights`` did; names are ours.

    Attributes:
        loaded: Entries of the model that received a value.
        missing: Entries of the model that received none.
        unexpected: Weights of the checkpoint that the model does not have.
        mismatched: Entries with another shape: name -> (checkpoint, model).
        fraction: Loaded share of the model's parameters, counted in numbers.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    fraction: float

    def __str__(self) -> str:
        lines = [f"{self.fraction:.1%} of the parameters loaded"]
        lines += [f"  missing: {_shorten(self.missing)}"] if self.missing else []
        lines += [f"  unexpected: {_shorten(self.unexpected)}"] * bool(self.unexpected)
        lines += [
            f"  other shape: {name} is {theirs} in the checkpoint, {ours} in the model"
            for name, (theirs, ours) in list(self.mismatched.items())[:10]
        ]
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Any] | str | Path,
    *,
    prefixes: Sequence[str] | None = None,
    rename: str | None = None,
    min_fraction: float = 0.95,
    name: str = "state dict",
) -> LoadReport:
    """Copy matching weights into ``model``.

    Args:
        model: Anything with ``frontend``, ``preencoder`` and ``encoder`` inside, or
            any other module when the names agree. Not touched when this fails.
        weights: State dict, or path of a ``.safetensors`` or torch file (either a
            state dict or a checkpoint that holds one as ``model`` or ``state_dict``).
        prefixes: Only names (ours) that start with one of these take part; None: all.
        rename: ``huggingface``, ``fairseq`` or ``ours``; None: find out.
        min_fraction: Least share of parameters (within ``prefixes``) to be loaded.
        name: What to call weights that are no path, in messages.

    Raises:
        CheckpointError: The file is missing or unreadable, or too little fits; the
            message holds the report.
    """
    where = name
    if isinstance(weights, str | Path):
        where, weights = str(weights), read_weights(weights)
    theirs = rename_keys(weights, rename or detect_source(weights))
    scope = "" if prefixes is None else tuple(prefixes)
    theirs = {k: v for k, v in theirs.items() if k.startswith(scope)}
    ours = {k: v for k, v in model.state_dict().items() if k.startswith(scope)}
    report, fitting = _compare(model, ours, theirs)
    if report.fraction < min_fraction:
        raise CheckpointError(
            f"{where}: only {report}\nat least {min_fraction:.0%} are needed; check "
            "that the configuration matches the checkpoint, or lower the limit"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def _compare(
    model: nn.Module, ours: Mapping[str, torch.Tensor], theirs: Mapping[str, Any]
) -> tuple[LoadReport, dict[str, torch.Tensor]]:
    """Report and the entries of ``theirs`` that fit."""
    fitting: dict[str, torch.Tensor] = {}
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name in ours:
        if name not in theirs:
            continue
        if theirs[name].shape == ours[name].shape:
            fitting[name] = theirs[name]
        else:
            mismatched[name] = (tuple(theirs[name].shape), tuple(ours[name].shape))
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    sizes = {name: ours[name].numel() for name in ours if name in trained}
    loaded = sum(size for name, size in sizes.items() if name in fitting)
    report = LoadReport(
        loaded=list(fitting),
        missing=[name for name in ours if name not in theirs],
        unexpected=[name for name in theirs if name not in ours],
        mismatched=mismatched,
        fraction=loaded / max(1, sum(sizes.values())),
    )
    return report, fitting


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.safetensors`` or torch file, on the CPU.

    Raises:
        CheckpointError: No such file, not readable as plain tensors, or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as plain tensors ({str(error).splitlines()[0]}). "
            "An old fairseq file holds Python objects: convert it to .safetensors with "
            "python -m espnet2_dq.interop.fairseq_pickle OLD NEW"
        ) from error
    for key in _NESTED_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {
        str(k): v
        for k, v in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(v, torch.Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f"{path}: holds no weights; expected a state dict, or a checkpoint with "
            f"one of the keys {list(_NESTED_KEYS)}"
        )
    return tensors


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        import safetensors
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{path}: reading it needs the package 'safetensors' "
            "(pip install safetensors)"
        ) from error
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error
    return tensors


def _shorten(names: Sequence[str], limit: int = 10) -> str:
    """First names, and how many more there are."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
