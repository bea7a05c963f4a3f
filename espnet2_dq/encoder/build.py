"""Frontend, preencoder and encoder from ESPnet-style configuration keys."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from espnet2_dq.config import unknown_key_message
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError


def _waveform() -> type[nn.Module]:
    from espnet2_dq.encoder.conv_frontend import WaveformFrontend

    return WaveformFrontend


def _log_mel() -> type[nn.Module]:
    # imported on demand: it pulls in librosa
    from espnet2_dq.encoder.log_mel import LogMelFrontend

    return LogMelFrontend


FRONTENDS: dict[str, Callable[[], type[nn.Module]]] = {
    "waveform": _waveform,
    "log_mel": _log_mel,
}


def build_front(
    conf: Mapping[str, Any],
) -> tuple[nn.Module, nn.Module | None, DQTransformerEncoder]:
    """Build the three modules shared by pretraining and fine-tuning.

    Args:
        conf: Keys ``frontend`` (waveform | log_mel), ``preencoder`` (linear | null),
            ``encoder`` (dq_transformer) and ``<part>_conf``; other keys are ignored.
            A missing or null frontend is ``waveform``; a missing preencoder is
            ``linear``. The projection's ``output_size`` defaults to the encoder's.

    Returns:
        Frontend, preencoder (None for ``preencoder: null``) and encoder.

    Raises:
        ConfigError: Unknown name or key, or sizes that do not fit.
    """
    frontend = build_frontend(conf)
    encoder_name = conf.get("encoder") or "dq_transformer"
    if encoder_name != "dq_transformer":
        raise ConfigError(
            unknown_key_message(encoder_name, ["dq_transformer"], "encoder")
        )
    size = frontend.output_size()  # type: ignore[operator]
    width = (conf.get("encoder_conf") or {}).get("output_size", 768)
    preencoder = _build_preencoder(conf, size, width)
    if preencoder is not None:
        size = preencoder.output_size()  # type: ignore[operator]
    encoder = _construct(DQTransformerEncoder, conf, "encoder", input_size=size)
    assert isinstance(encoder, DQTransformerEncoder)
    return frontend, preencoder, encoder


def build_frontend(conf: Mapping[str, Any]) -> nn.Module:
    """Build the frontend alone; its ``frame_grid`` maps samples to frames."""
    name = conf.get("frontend") or "waveform"
    if name not in FRONTENDS:
        raise ConfigError(unknown_key_message(name, FRONTENDS, "frontend"))
    return _construct(FRONTENDS[name](), conf, "frontend")


def _build_preencoder(
    conf: Mapping[str, Any], input_size: int, output_size: int
) -> nn.Module | None:
    from espnet2.asr.preencoder.linear import LinearProjection

    name = conf.get("preencoder", "linear")
    if name is None:
        return None
    if name != "linear":
        raise ConfigError(unknown_key_message(name, ["linear", "null"], "preencoder"))
    values = {"output_size": output_size, **(conf.get("preencoder_conf") or {})}
    return _construct(
        LinearProjection,
        {"preencoder_conf": values},
        "preencoder",
        input_size=input_size,
    )


def _construct(
    cls: type[nn.Module], conf: Mapping[str, Any], part: str, **fixed: Any
) -> nn.Module:
    """Call ``cls`` with ``conf[part_conf]``; unknown keys name the nearest known."""
    where = f"{part}_conf"
    values = dict(conf.get(where) or {})
    known = set(inspect.signature(cls.__init__).parameters) - {"self", *fixed}
    for key in values:
        if key not in known:
            raise ConfigError(unknown_key_message(str(key), known, where))
    return cls(**fixed, **values)
