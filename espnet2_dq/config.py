"""Typed configuration: a dataclass from a mapping, with helpful errors."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from espnet2_dq.errors import ConfigError

T = TypeVar("T")
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def unknown_key_message(
    key: str, allowed: Iterable[str], where: str, what: str = "key"
) -> str:
    """Say which key is unknown, the nearest known one, and all that are allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{where}: unknown {what} '{key}'.{hint} Known {what}s: {', '.join(names)}"


def from_mapping(cls: type[T], values: Mapping[str, Any] | None, where: str) -> T:
    """Build the dataclass ``cls`` from ``values``; nested dataclasses recurse.

    Args:
        cls: A dataclass whose fields all have defaults or occur in ``values``.
        values: Plain mapping, as read from YAML; ``None`` means all defaults.
        where: Name of the section, for messages (``"model_conf.language"``).

    Raises:
        ConfigError: Unknown key, missing key, or a value of the wrong kind.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    kwargs: dict[str, Any] = {}
    for key, value in (values or {}).items():
        if key not in known:
            raise ConfigError(unknown_key_message(str(key), known, where))
        kwargs[key] = _convert(hints[key], value, f"{where}.{key}")
    try:
        return cls(**kwargs)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check ``value`` against a simple type hint; tuples come from YAML lists."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping) or value is None:
            return from_mapping(hint, value, where)
        raise ConfigError(f"{where}: expected a mapping, got {value!r}")
    if origin is typing.Literal:
        if value is False and "off" in args:  # what YAML 1.1 reads for a bare "off"
            return "off"
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is not one of {list(args)}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], item, where) for item in value)
    if type(None) in args:
        if value is None:
            return None
        rest = [a for a in args if a is not type(None)]
        return _convert(rest[0], value, where) if len(rest) == 1 else value
    return _convert_scalar(hint, value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    """YAML reads ``1e-3`` as a string: numbers in strings are accepted for floats."""
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{where}: expected a number, got {value!r}") from None
    if hint in (int, bool, str) and type(value) is not hint:
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def scientific_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with strings such as ``1e-3`` as floats, at any depth.

    YAML 1.1, and so ESPnet's options, take a number for a string when it has an
    exponent but no point; torch's optimizers then fail on a comparison.
    """
    return {key: _scientific(value) for key, value in values.items()}


def _scientific(value: Any) -> Any:
    if isinstance(value, Mapping):
        return scientific_numbers(value)
    if isinstance(value, list | tuple):
        return [_scientific(item) for item in value]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value
