"""Adds our classes to ESPnet's registries; each function may be called twice."""

from typing import Any

AUDIO_TYPE = "audio"


def register_audio_type() -> None:
    """Teach ESPnet's dataset the type ``audio``: any file, any rate, read as 16 kHz.

    ESPnet's own ``sound`` neither resamples nor mixes down, so CommonVoice's 48 kHz
    clips could not be read in place.
    """
    from espnet2.train import dataset

    from espnet2_dq.data.audio import AudioScpReader

    dataset.DATA_TYPES[AUDIO_TYPE] = {
        "func": AudioScpReader,
        "kwargs": [],
        "help": "Audio of any rate and channel number, read as 16 kHz mono.",
    }


def register_with_espnet() -> None:
    """Add encoder, frontends and model to the stock SSL and ASR tasks.

    Needed only to use our classes from ESPnet's own entry points (its tasks take
    20-40 s to import); ours find them without.
    """
    from espnet2.tasks import asr, ssl

    from espnet2_dq.asr.ctc_model import CTCModel
    from espnet2_dq.asr.hierarchical_model import HierarchicalCTCModel
    from espnet2_dq.encoder.conv_frontend import WaveformFrontend
    from espnet2_dq.encoder.log_mel import LogMelFrontend
    from espnet2_dq.encoder.transformer import DQTransformerEncoder

    for task in (asr, ssl):
        _add(task.encoder_choices, "dq_transformer", DQTransformerEncoder)
        _add(task.frontend_choices, "waveform", WaveformFrontend)
        _add(task.frontend_choices, "log_mel", LogMelFrontend)
    _add(asr.model_choices, "dq_ctc", CTCModel)
    _add(asr.model_choices, "dq_hierarchical_ctc", HierarchicalCTCModel)


def _add(choices: Any, name: str, cls: type) -> None:
    """ESPnet's ClassChoices has no method to add a class; its dict is public."""
    present = choices.classes.setdefault(name, cls)
    if present is not cls:
        raise RuntimeError(f"ESPnet already has a {choices.name} called '{name}'")
