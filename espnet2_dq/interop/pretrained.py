"""Find and read pretrained weights of ours, Hugging Face and fairseq.

A source is a directory or file: our experiment directory (``config.yaml``) or ``.pth``;
a Hugging Face directory (``config.json``) or its ``.safetensors`` or ``.bin``; a
fairseq ``.pt``, or the ``.safetensors`` that ``fairseq_pickle`` made of it.
"""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_dq.errors import CheckpointError
from espnet2_dq.interop.fairseq_config import fairseq_architecture
from espnet2_dq.interop.fairseq_pickle import SETTINGS, convert
from espnet2_dq.interop.hf_config import read_hf_config
from espnet2_dq.interop.load import read_weights

OUR_CONFIG, HF_CONFIG = "config.yaml", "config.json"
# In a directory, the first that exists.
HF_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
OUR_WEIGHTS = ("latest.pth", "checkpoint.pth")
FAIRSEQ_SUFFIX = ".pt"
# Converted once for the architecture and the weights; removed at exit.
_CONVERTED: dict[tuple[Path, int, int], "tempfile.TemporaryDirectory[str]"] = {}


def find_weights(source: str | Path) -> Path:
    """The weights' file of a directory; a file is itself.

    Raises:
        CheckpointError: Nothing there.
    """
    path = Path(source)
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(
            f"{path}: not found; give a directory of a training run or of Hugging Face,"
            " or a checkpoint"
        )
    names = HF_WEIGHTS if is_huggingface(path) else OUR_WEIGHTS
    for name in names:
        if (path / name).is_file():
            return path / name
    present = sorted(p.name for p in path.iterdir())[:10]
    sharded = " (weights in several files have to be merged first)"
    hint = sharded if any(n.endswith(".index.json") for n in present) else ""
    raise CheckpointError(
        f"{path}: no {' or '.join(names)}{hint}; present:"
        f" {', '.join(present) or 'none'}"
    )


def is_huggingface(directory: str | Path) -> bool:
    """Whether a directory is one of Hugging Face's: ``config.json``, no config.yaml."""
    path = Path(directory)
    return (path / HF_CONFIG).is_file() and not (path / OUR_CONFIG).is_file()


def read_pretrained(source: str | Path) -> dict[str, torch.Tensor]:
    """Weights under the names that the source uses, on the CPU.

    A fairseq ``.pt`` is converted by ``fairseq_pickle`` in a process of its own.

    Raises:
        CheckpointError: Missing or unreadable.
    """
    path = find_weights(source)
    return read_weights(_converted(path) if path.suffix == FAIRSEQ_SUFFIX else path)


def read_architecture(source: str | Path) -> tuple[dict[str, Any], str] | None:
    """Architecture that belongs to a source, and the file that says so.

    Returns:
        Architecture keys with ``model_conf`` (``quantizer`` and ``final_dim``, where
        known), and ``normalisation_unknown`` where nothing tells whether audio was
        normalised (trap T21); ``None`` for weights that lie alone.

    Raises:
        CheckpointError: A file cannot be read.
        ConfigError: A model that ours cannot be.
    """
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.suffix in (FAIRSEQ_SUFFIX, ".safetensors"):
        settings = _fairseq_settings(path)
        if settings is not None:
            found = fairseq_architecture(settings, str(path))
            return None if found is None else (found, str(path))
    if (folder / OUR_CONFIG).is_file() and path.suffix != FAIRSEQ_SUFFIX:
        return _read_yaml(folder / OUR_CONFIG), str(folder / OUR_CONFIG)
    if is_huggingface(folder) and (path.is_dir() or path.name in HF_WEIGHTS):
        return read_hf_config(folder / HF_CONFIG), str(folder / HF_CONFIG)
    return None


def _fairseq_settings(path: Path) -> dict[str, Any] | None:
    """Settings inside a ``.pt``, or in the metadata of a converted file."""
    metadata = _metadata(_converted(path) if path.suffix == FAIRSEQ_SUFFIX else path)
    if SETTINGS not in metadata:
        return None
    settings: dict[str, Any] = json.loads(metadata[SETTINGS])
    return settings


def _converted(path: Path) -> Path:
    """The ``.safetensors`` of a fairseq file, kept until this process ends."""
    status = path.stat()
    key = (path.resolve(), status.st_mtime_ns, status.st_size)
    if key not in _CONVERTED:
        folder = tempfile.TemporaryDirectory(prefix="fairseq-")
        logging.info("%s: read in a separate process", path)
        convert(path, Path(folder.name) / "converted.safetensors")
        _CONVERTED[key] = folder
    return Path(_CONVERTED[key].name) / "converted.safetensors"


def _metadata(path: Path) -> dict[str, str]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            return stream.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a mapping")
    return content
