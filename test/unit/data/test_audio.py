import numpy as np
import pytest
import soundfile
from factories import make_wav

from espnet2_dq.data.audio import (
    AudioError,
    AudioScpReader,
    decode,
    probe,
    read_audio,
    resampled_length,
)
from espnet2_dq.errors import DataError


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_probed_length_is_the_length_read(tmp_path, rate, suffix):
    path = make_wav(tmp_path / f"a.{suffix}", rate=rate, seconds=0.3719)
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == (probe(path).num_samples(),)
    assert abs(len(samples) - 0.3719 * 16000) <= 1


def test_resampled_length_rounds_halves_up():
    assert [resampled_length(n, 32000, 16000) for n in (1, 2, 5, 481)] == [1, 1, 3, 241]


def test_resampling_keeps_the_tone(tmp_path):
    time_s = np.arange(48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s)
    soundfile.write(str(tmp_path / "a.wav"), tone, 48000)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    found = read_audio(tmp_path / "a.wav")
    assert np.abs(found[500:-500] - expected[500:-500]).max() < 1e-3


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([np.full(800, 0.5), np.full(800, -0.25)], axis=1)
    soundfile.write(str(tmp_path / "a.wav"), stereo, 16000, subtype="FLOAT")
    assert np.allclose(read_audio(tmp_path / "a.wav"), 0.125)
    assert probe(tmp_path / "a.wav").channels == 2


def test_unusable_files_say_why(tmp_path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"no sound at all" * 10)
    soundfile.write(str(tmp_path / "zero.wav"), np.zeros(0), 16000)
    soundfile.write(
        str(tmp_path / "nan.wav"), np.array([0.0, np.nan]), 16000, subtype="FLOAT"
    )
    for name, kind in {
        "missing.wav": "missing file",
        "zero\0byte.wav": "missing file",
        "empty.wav": "empty file",
        "noise.mp3": "unreadable",
        "zero.wav": "no samples",
        "nan.wav": "not finite",
    }.items():
        with pytest.raises(AudioError) as caught:
            decode(tmp_path / name)
        assert caught.value.reason.startswith(f"{kind}:")
        assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files_are_found(tmp_path, suffix, share):
    path = make_wav(tmp_path / f"a.{suffix}", seconds=2.0)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError) as caught:
        decode(path)
    assert caught.value.reason.startswith("truncated:")


def test_truncated_wav_shows_in_the_header_alone(tmp_path):
    path = make_wav(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="truncated: 31900 of 32000 bytes"):
        probe(path)


def test_streamed_wav_header_is_no_fault(tmp_path):
    path = make_wav(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert probe(path).frames == 16000


def test_scp_reader_is_lazy_and_names_the_utterance(tmp_path):
    path = make_wav(tmp_path / "a b.wav", rate=8000)
    (tmp_path / "wav.scp").write_text(f"u1 {path}\nu2 {tmp_path}/none.wav\n")
    reader = AudioScpReader(tmp_path / "wav.scp")
    assert list(reader) == ["u1", "u2"]
    assert len(reader) == 2
    assert "u2" in reader
    assert "u3" not in reader
    assert reader["u1"].shape == (16000,)
    with pytest.raises(DataError, match=r"'u2'.*missing file.*stage 2"):
        reader["u2"]
    with pytest.raises(KeyError):
        reader["u3"]
