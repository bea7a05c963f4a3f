"""A row of the tables as a partial configuration, laid over a base configuration.

An overlay is a YAML file of sections::

    extends: dq_dd                 # optional: another overlay beside this one, first
    all: {model_conf: {...}}       # over every base configuration
    mini: {max_epoch: 3}           # over train_ssl_mini.yaml and train_ssl_mini_*.yaml
    mini_conv: {...}               # over train_ssl_mini_conv.yaml only

Sections are laid over the base one after the other, from the wider to the narrower.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from espnet2_dq.config import unknown_key_message
from espnet2_dq.errors import ConfigError

EXTENDS, EVERY = "extends", "all"
SIZES = ("smoke", "mini", "mini_conv", "base", "base_1gpu")
DEFAULT_OBJECTIVE = "data2vec"
_CONFIG_NAME = re.compile(r"train_[a-z0-9]+_(\w+)\.ya?ml")


@dataclass(frozen=True)
class Layer:
    """One section of an overlay file."""

    file: Path
    section: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        """As messages name it: ``conf/rows/dq_dd.yaml (mini)``."""
        return f"{self.file} ({self.section})"


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``; mappings merge, all else is replaced.

    >>> deep_merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": None})
    {'a': {'b': 1, 'c': [3]}, 'd': None}
    """
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        mine = merged.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            merged[key] = deep_merge(mine, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def lay_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`deep_merge`, but another objective starts with an empty ``model_conf``.

    The keys of ``model_conf`` belong to the objective: data2vec's mean nothing to
    wav2vec 2.0.
    """
    before = base.get("objective") or DEFAULT_OBJECTIVE
    if over.get("objective", before) != before:
        base = {key: value for key, value in base.items() if key != "model_conf"}
    return deep_merge(base, over)


def size_of(config: Path) -> str:
    """The size that a configuration's name tells, or "".

    >>> size_of(Path("conf/train_ssl_mini_conv.yaml")), size_of(Path("my.yaml"))
    ('mini_conv', '')
    """
    found = _CONFIG_NAME.fullmatch(config.name)
    return found[1] if found else ""


def overlay_files(path: Path) -> list[Path]:
    """The file and what it extends, base first.

    Raises:
        ConfigError: A file that is missing or not of this form, or a circle.
    """
    chain: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current in chain:
            names = " -> ".join(p.stem for p in [*chain, current])
            raise ConfigError(f"{path}: extends itself: {names}")
        chain.append(current)
        parent = read_sections(current).get(EXTENDS)
        current = None if parent is None else current.with_name(f"{parent}.yaml")
    return chain[::-1]


def read_sections(path: Path) -> dict[str, Any]:
    """The sections of one file; an empty file has none.

    Raises:
        ConfigError: Naming file and key.
    """
    content = read_yaml(path)
    for key, value in content.items():
        if key == EXTENDS:
            if not isinstance(value, str):
                raise ConfigError(f"{path}: extends: expected a name, got {value!r}")
        elif key not in (EVERY, *SIZES):
            allowed = (EXTENDS, EVERY, *SIZES)
            message = unknown_key_message(str(key), allowed, str(path))
            raise ConfigError(
                f"{message}. Options of the training stand below one of these, as in"
                " 'all: {language_power: 1.0}'"
            )
        elif value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"{path}: {key}: expected a mapping, got {value!r}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; empty is an empty one.

    Raises:
        ConfigError: Missing, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, got {content!r}")
    return content


def overlay_layers(path: Path, size: str) -> list[Layer]:
    """The sections that apply to ``size``, in the order in which they are laid.

    Args:
        path: The overlay.
        size: ``mini_conv`` takes the sections ``all``, ``mini`` and ``mini_conv``;
            ``""`` takes ``all`` alone.
    """
    wanted = [EVERY, *dict.fromkeys((size.partition("_")[0], size))]
    layers = []
    for file in overlay_files(path):
        sections = read_sections(file)
        layers += [Layer(file, n, sections[n]) for n in wanted if sections.get(n)]
    return layers


@dataclass(frozen=True)
class Merged:
    """A configuration with an overlay on it."""

    values: dict[str, Any]
    base: Path
    layers: list[Layer]

    def write(self, path: Path) -> None:
        """Write the merged configuration, atomically; its head names the sources."""
        path.parent.mkdir(parents=True, exist_ok=True)
        over = ", then ".join(str(layer) for layer in self.layers) or "nothing"
        text = yaml.safe_dump(self.values, allow_unicode=True, sort_keys=False)
        part = path.with_name(f".{path.name}.part")
        part.write_text(f"# {self.base}, over it {over}\n{text}", encoding="utf-8")
        part.replace(path)


def merged_config(config: Path, overlay: Path, size: str | None = None) -> Merged:
    """Lay an overlay over a configuration.

    Args:
        config: The base.
        overlay: The row.
        size: Which sections apply; ``None`` reads it from the name of ``config``.
    """
    layers = overlay_layers(overlay, size_of(config) if size is None else size)
    values = read_yaml(config)
    for layer in layers:
        values = lay_over(values, layer.values)
    return Merged(values, config, layers)
