"""Waveform and log-mel frontends: grid, padding, normalisation, errors."""

import logging

import pytest
import torch
from torch import nn

from espnet2_dq.encoder.conv_frontend import WaveformFrontend
from espnet2_dq.encoder.log_mel import LogMelFrontend
from espnet2_dq.errors import ConfigError, DataError

LENGTHS = torch.tensor([8000, 5003])


def _make(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "waveform":
        return WaveformFrontend(channels=8)
    return LogMelFrontend(n_mels=20)


@pytest.mark.parametrize("name", ["waveform", "log_mel"])
def test_frames_and_zero_padding(name: str) -> None:
    frontend = _make(name)
    feats, lengths = frontend(torch.randn(2, 8000), LENGTHS)
    assert lengths.tolist() == [24, 15]
    assert feats.shape == (2, 24, frontend.output_size())
    assert feats[1, 15:].abs().max() == 0
    assert feats[1, :15].abs().min() > 0


@pytest.mark.parametrize("name", ["waveform", "log_mel"])
@pytest.mark.parametrize("fill", [0.0, 1e3, float("nan")])
def test_padding_and_batch_mates_do_not_matter(name: str, fill: float) -> None:
    frontend = _make(name)
    speech = torch.randn(2, 8000)
    speech[1, 5003:] = fill
    together, lengths = frontend(speech, LENGTHS)
    alone, _ = frontend(speech[1:, :5003], LENGTHS[1:])
    assert (together[1, : lengths[1]] - alone[0]).abs().max() < 2e-5


def test_waveform_normalisation_ignores_level_and_offset() -> None:
    frontend = _make("waveform")
    speech = torch.randn(1, 4000)
    one, _ = frontend(speech, torch.tensor([4000]))
    two, _ = frontend(speech * 100 + 7, torch.tensor([4000]))
    assert (one - two).abs().max() < 1e-3
    plain = WaveformFrontend(channels=8, normalize_audio=False, normalize_output=False)
    low, _ = plain(speech * 1e-3, torch.tensor([4000]))
    high, _ = plain(speech, torch.tensor([4000]))
    assert (low - high).abs().max() > 1e-3


def test_log_mel_is_normalised_per_channel_over_valid_frames() -> None:
    frontend = _make("log_mel")
    feats, lengths = frontend(torch.randn(2, 8000), LENGTHS)
    for index, count in enumerate(lengths.tolist()):
        valid = feats[index, :count]
        assert valid.mean(0).abs().max() < 1e-4
        assert (valid.std(0, correction=0) - 1).abs().max() < 1e-3


def test_log_mel_without_norm_keeps_level() -> None:
    frontend = LogMelFrontend(n_mels=20, norm="none")
    speech = torch.randn(1, 4000)
    low, _ = frontend(speech, torch.tensor([4000]))
    high, _ = frontend(speech * 10, torch.tensor([4000]))
    # ten times the amplitude = a hundred times the power
    assert (high - low - torch.log(torch.tensor(100.0))).abs().max() < 1e-3


def test_log_mel_is_not_computed_in_bfloat16() -> None:
    frontend = _make("log_mel")
    speech = torch.randn(1, 8000)
    exact, _ = frontend(speech, LENGTHS[:1])
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = frontend(speech, LENGTHS[:1])
    assert torch.equal(exact, mixed)


@pytest.mark.parametrize("name", ["waveform", "log_mel"])
def test_an_utterance_without_frames_beside_a_long_one(name: str) -> None:
    feats, lengths = _make(name)(torch.randn(2, 4000), torch.tensor([4000, 100]))
    assert lengths.tolist() == [12, 0]
    assert torch.isfinite(feats).all()
    assert feats[1].abs().max() == 0


@pytest.mark.parametrize("name", ["waveform", "log_mel"])
def test_bad_shapes_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="399 samples"):
        _make(name)(torch.randn(1, 399), torch.tensor([399]))
    with pytest.raises(DataError, match="batch, samples"):
        _make(name)(torch.randn(4000), torch.tensor([4000]))


def test_options_are_checked(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="layer_norm"):
        WaveformFrontend(norm_mode="batch")
    with pytest.raises(ConfigError, match="utterance"):
        LogMelFrontend(norm="global")
    with caplog.at_level(logging.WARNING):
        WaveformFrontend(norm_mode="group_norm", channels=4)
    assert "depend on batch mates" in caplog.text
