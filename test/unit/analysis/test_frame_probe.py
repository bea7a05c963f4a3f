"""The probe on a small corpus on disk with a made-up encoder."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet2_dq.analysis.frame_probe import FrameProbe
from espnet2_dq.data.ctm import PhoneSegment, write_ctm
from espnet2_dq.data.tables import write_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import ConfigError, DataError

PITCH_HZ = {"a": 500.0, "b": 1500.0, "c": 3000.0}


def write_corpus(root: Path, *, speaker: str, num: int, seed: int) -> Path:
    """Tones of three pitches with pauses; the alignment is exact."""
    root.mkdir()
    rng = np.random.default_rng(seed)
    tables: dict[str, dict[str, str]] = {
        name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2num_samples")
    }
    phones = {}
    for k in range(num):
        utt = f"{speaker}-{k:02d}"
        length = int(rng.integers(8, 14))
        names = rng.choice([*PITCH_HZ, "sil"], length, p=[0.4, 0.2, 0.2, 0.2])
        time = np.arange(1600) / 16000
        wave = [
            0.3 * np.sin(2 * np.pi * PITCH_HZ.get(n, 0.0) * time)
            + 0.01 * rng.standard_normal(1600)
            for n in names
        ]
        soundfile.write(root / f"{utt}.wav", np.concatenate(wave), 16000)
        phones[utt] = [
            PhoneSegment(0.1 * i, 0.1, str(n))
            for i, n in enumerate(names)
            if n != "sil"
        ]
        tables["wav.scp"][utt] = str(root / f"{utt}.wav")
        tables["utt2spk"][utt] = speaker
        tables["utt2lang"][utt] = "en" if k % 2 else "es"
        tables["utt2num_samples"][utt] = str(1600 * length)
    for name, table in tables.items():
        write_table(root / name, table)
    write_ctm(root / "phn.ctm", phones)
    return root


@pytest.fixture
def dirs(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write_corpus(tmp_path / "train", speaker="s1", num=12, seed=0),
        write_corpus(tmp_path / "test", speaker="s2", num=6, seed=1),
    )


def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Layer 0: noise of no use; layer 1: a coarse log spectrum."""
    assert not torch.is_grad_enabled()
    frames = speech.unfold(1, 400, 320)
    spectrum = torch.fft.rfft(frames * torch.hann_window(400)).abs()
    useful = (spectrum[..., :200].unflatten(-1, (20, 10)).mean(-1) + 1e-3).log()
    noise = torch.randn(useful.shape, generator=torch.Generator().manual_seed(0))
    return [noise, useful]


def test_layers_are_told_apart_and_calls_repeat(dirs: tuple[Path, Path]) -> None:
    probe = FrameProbe(*dirs, batch_s=3.0)
    result = probe.run(encode)
    assert result.num_classes == 4
    assert len(result.layer_accuracy) == 2
    assert result.layer_accuracy[1] > 0.9
    assert abs(result.layer_accuracy[0] - result.majority) < 0.15
    assert (result.best_layer, result.best) == (1, result.layer_accuracy[1])
    again = FrameProbe(*dirs, batch_s=3.0).run(encode)
    assert again.layer_accuracy == result.layer_accuracy
    assert set(result.record(7)) == {
        "update",
        "layer",
        "best",
        "best_layer",
        "majority",
        "network",
    }


def test_limits_and_batches_hold(dirs: tuple[Path, Path]) -> None:
    shapes: list[tuple[int, int]] = []

    def spy(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        shapes.append((speech.shape[0], speech.shape[1]))
        return encode(speech, lengths)

    probe = FrameProbe(*dirs, max_train_frames=300, max_test_frames=100, batch_s=3.0)
    result = probe.run(spy)
    assert (result.train_frames, result.test_frames) == (300, 100)
    assert all(b * s <= 48000 for b, s in shapes)


def test_silence_can_be_left_out(dirs: tuple[Path, Path]) -> None:
    assert FrameProbe(*dirs, skip_silence=True).run(encode).num_classes == 3


def test_shared_speakers_are_refused(dirs: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="unseen speakers"):
        FrameProbe(dirs[0], dirs[0])


def test_wrong_frame_grid_is_named(dirs: tuple[Path, Path]) -> None:
    grid = FrameGrid(kernels=(400,), strides=(160,))
    with pytest.raises(ConfigError, match="frame_grid"):
        FrameProbe(*dirs, grid=grid).run(encode)


def test_broken_features_are_named(dirs: tuple[Path, Path]) -> None:
    def broken(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        return [layer * float("nan") for layer in encode(speech, lengths)]

    with pytest.raises(DataError, match="layer 0"):
        FrameProbe(*dirs).run(broken)
