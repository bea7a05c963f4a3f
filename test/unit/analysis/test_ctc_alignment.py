"""Our own phone times: spikes, their spread, silence by energy."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from asr_factories import TOKENS, tiny_config
from factories import make_kaldi_dir

from espnet2_dq.analysis.ctc_alignment import (
    Aligner,
    SpreadOptions,
    ctc_alignments,
    quiet_stretches,
    spikes,
    spread,
)
from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import CheckpointError, ConfigError, DataError

GRID = FrameGrid()


def peaked(frames: int, peaks: dict[int, int], vocab: int = 6) -> np.ndarray:
    """Log-probabilities of blanks with a token at some frames."""
    probs = np.full((frames, vocab), 0.01)
    probs[:, 0] = 0.9
    for frame, token in peaks.items():
        probs[frame] = 0.01
        probs[frame, token] = 0.9
    return np.log(probs / probs.sum(1, keepdims=True))


def speech(seconds: list[tuple[float, float]]) -> np.ndarray:
    """Noise by parts: (seconds, amplitude)."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(round(16000 * s)) * a for s, a in seconds]
    return np.concatenate(parts).astype(np.float32)


def test_spike_is_the_most_certain_frame_of_its_run() -> None:
    log_probs = peaked(12, {2: 3, 3: 3, 4: 3, 8: 4})
    log_probs[3, 3] += 0.05
    assert spikes(log_probs, [3, 4]).tolist() == [3, 8]
    assert spikes(log_probs, []).tolist() == []
    with pytest.raises(ValueError, match="cannot emit"):
        spikes(log_probs[:2], [3, 4, 5])


def test_phones_meet_at_midpoints_and_silence_is_left_out() -> None:
    quiet = [(0.0, 0.1), (0.55, 0.75), (1.9, 2.0)]
    times = spread(np.array([0.2, 0.4, 0.9, 1.5]), quiet, 2.0)
    assert times == [
        (0.1, pytest.approx(0.3)),
        (pytest.approx(0.3), 0.55),
        (0.75, pytest.approx(1.2)),
        (pytest.approx(1.2), 1.9),
    ]
    assert spread(np.array([0.7]), [], 2.0) == [(0.0, 2.0)]
    assert spread(np.array([]), [(0.0, 2.0)], 2.0) == []


def test_quiet_stretches_by_energy() -> None:
    sound = speech([(0.5, 0.0), (1.0, 0.3), (0.2, 0.001), (0.06, 0.3), (0.5, 0.3)])
    found = quiet_stretches(sound, np.array([]))
    assert len(found) == 2
    assert found[0] == (0.0, pytest.approx(0.5, abs=0.03))
    assert found[1] == (pytest.approx(1.5, abs=0.03), pytest.approx(1.7, abs=0.03))
    # 49.5 dB below the rest: no silence for who wants 60
    deep = quiet_stretches(sound, np.array([]), SpreadOptions(silence_db=60.0))
    assert [start for start, _ in deep] == [0.0]


def test_short_quiet_stretches_are_closures_of_stops() -> None:
    sound = speech([(0.5, 0.3), (0.08, 0.0), (0.5, 0.3), (0.04, 0.0)])
    found = quiet_stretches(sound, np.array([]))
    assert len(found) <= 1  # only the end, which may be short
    assert all(end == len(sound) / 16000 for _, end in found)
    patient = SpreadOptions(shortest_pause_s=0.03)
    assert quiet_stretches(sound, np.array([]), patient)[0][0] > 0.4


def test_a_spike_is_never_silent() -> None:
    sound = speech([(0.5, 0.3), (0.5, 0.0), (0.5, 0.3)])
    (whole,) = quiet_stretches(sound, np.array([0.2]))
    assert whole == (pytest.approx(0.5, abs=0.03), pytest.approx(1.0, abs=0.03))
    parts = quiet_stretches(sound, np.array([0.2, 0.75]))
    assert len(parts) == 2
    assert parts[0][1] < 0.75 < parts[1][0]


@pytest.mark.parametrize("pooled", [1, 2])
def test_known_phones_get_their_times(pooled: int) -> None:
    # a from 0.5 to 0.8 s, b from 0.8 to 1.2 s, silence elsewhere
    sound = speech([(0.5, 0.0), (0.7, 0.3), (0.8, 0.0)])
    at = {round(0.65 * 50) // pooled: 2, round(0.95 * 50) // pooled: 3}
    frames = -(-int(GRID.num_frames(len(sound))) // pooled)
    aligner = Aligner(TOKENS, GRID, pooled)
    found = aligner.align(sound, peaked(frames, at), ["a", "b"])
    assert [segment.phone for segment in found] == ["a", "b"]
    (first, second) = found
    assert first.start_s == pytest.approx(0.5, abs=0.03)
    assert first.start_s + first.duration_s == pytest.approx(0.8, abs=0.03)
    assert second.start_s + second.duration_s == pytest.approx(1.2, abs=0.03)


def test_phone_without_a_token_keeps_its_name() -> None:
    sound = speech([(1.0, 0.3)])
    found = Aligner(TOKENS, GRID).align(sound, peaked(49, {10: 1, 30: 2}), ["ǁ", "a"])
    assert [segment.phone for segment in found] == ["ǁ", "a"]


def write_model(folder: Path, tokens=TOKENS) -> Path:
    """A model of random weights: its times mean nothing, its files are real."""
    config = tiny_config(token_list=list(tokens), model_conf={"subsample": 2})
    torch.manual_seed(0)
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(build_ctc_model(config).state_dict(), folder / "latest.pth")
    return folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    make_kaldi_dir(tmp_path / "test", utterances=2, seconds=0.8)
    utts = list(read_table(tmp_path / "test" / "wav.scp"))
    write_table(tmp_path / "test" / "phn", dict.fromkeys(utts, "a b c"))
    return tmp_path / "test"


def test_a_data_directory_with_a_real_model(data_dir: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "ft")
    phones = read_table(data_dir / "phn")
    hopeless, empty, *good = phones
    write_table(data_dir / "phn", phones | {hopeless: "a a " * 15, empty: ""})
    found = ctc_alignments(model, data_dir)
    assert (found.kind, found.source) == ("ctc", str(model))
    assert sorted(found.phones) == good
    for segments in found.phones.values():
        assert [segment.phone for segment in segments] == ["a", "b", "c"]
        assert all(isinstance(segment, PhoneSegment) for segment in segments)
        assert segments[-1].start_s + segments[-1].duration_s <= 0.8 + 1e-9
    assert found.missing == 1
    ((utt, reason),) = found.rejects
    assert utt == hopeless
    assert "20 frames cannot emit 30 tokens" in reason
    assert ctc_alignments(model, data_dir, batch_s=0.5).phones == found.phones


def test_what_cannot_align_is_an_error_that_says_why(data_dir, tmp_path) -> None:
    characters = write_model(tmp_path / "char", [*TOKENS, "<space>"])
    with pytest.raises(ConfigError, match="a model of characters"):
        ctc_alignments(characters, data_dir)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        ctc_alignments(tmp_path / "none", data_dir)
    (data_dir / "phn").unlink()
    with pytest.raises(DataError, match=r"phn: missing.*stage 4"):
        ctc_alignments(characters, data_dir)
