"""Recorded prompts from a local copy; packages themselves need a registry."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from G722 import G722

from espnet2_dq.data import recorded
from espnet2_dq.data.recorded import (
    RecordedUnavailableError,
    build_recorded,
    decode_g722,
    obtain_recorded,
)
from espnet2_dq.data.sentences import words_of

RATE = 16000
TEXT = """; prompts
digits/one: one
hello: Hello there
again: hello there!
beep: [tone]
lost: there is no sound
short: too short
"""


def encoded(seconds: float, seed: int = 0) -> bytes:
    time = np.arange(round(RATE * seconds)) / RATE
    wave = (8000 * np.sin(2 * np.pi * (300 + 50 * seed) * time)).astype(np.int16)
    return bytes(G722(RATE, 64000).encode(wave.tolist()))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The layout of the two unpacked Debian packages."""
    doc = tmp_path / "copy/usr/share/doc/asterisk-core-sounds-en"
    sounds = tmp_path / "copy/usr/share/asterisk/sounds/en_US_f_Allison"
    doc.mkdir(parents=True)
    (sounds / "digits").mkdir(parents=True)
    (doc / "core-sounds-en.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    for name, seconds in [
        ("digits/one", 0.5),
        ("hello", 1.0),
        ("again", 1.2),
        ("beep", 0.4),
        ("short", 0.1),
        ("letters", 0.6),
    ]:
        (sounds / f"{name}.g722").write_bytes(encoded(seconds))
    return tmp_path / "copy"


def test_local_copy(copy: Path, tmp_path: Path) -> None:
    sources = obtain_recorded(["en", "es", "ky"], tmp_path / "work", str(copy))
    assert [source.lang for source in sources] == ["en"]
    sets = build_recorded(sources, tmp_path / "audio")
    found = {u.utt: u for data in sets.values() for u in data}
    assert sorted(found) == ["rec_en_again", "rec_en_digits_one", "rec_en_hello"]
    assert {u.speaker for u in found.values()} == {"rec_en"}
    for utterance in found.values():
        samples, rate = soundfile.read(utterance.path)
        assert rate == RATE
        assert len(samples) == utterance.num_samples
    kinds = {utt: why.partition(":")[0] for utt, why in sets["train"].rejects}
    assert kinds == {
        "rec_en_beep": "no speech",
        "rec_en_lost": "missing file",
        "rec_en_short": "too short",
        "rec_en_letters": "no transcript",
    }
    # one text, said twice, lives in one set
    homes = {
        name
        for name, data in sets.items()
        for u in data
        if words_of(u.text or "") == ["hello", "there"]
    }
    assert len(homes) == 1


def test_environment_variable(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(recorded.RECORDED_DIR_VARIABLE, str(copy))
    assert (
        obtain_recorded(["en"], tmp_path / "work")[0].sounds.name == "en_US_f_Allison"
    )


def test_decoding_gives_back_the_tone(tmp_path: Path) -> None:
    (tmp_path / "a.g722").write_bytes(encoded(0.5, seed=2))
    samples = decode_g722(tmp_path / "a.g722")
    assert samples.dtype == np.int16
    assert len(samples) == RATE // 2
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert np.argmax(spectrum) * RATE / len(samples) == pytest.approx(400, abs=4)


def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordedUnavailableError, match="exist for en es fr it ru only"):
        obtain_recorded(["ky"], tmp_path)
    with pytest.raises(RecordedUnavailableError, match="nowhere: no such folder"):
        obtain_recorded(["en"], tmp_path, "nowhere")
    with pytest.raises(RecordedUnavailableError, match="no pair of core-sounds"):
        obtain_recorded(["en"], tmp_path, str(tmp_path))
    monkeypatch.delenv(recorded.RECORDED_DIR_VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RecordedUnavailableError, match="no 'apt-get'"):
        obtain_recorded(["en"], tmp_path)


@pytest.mark.network
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_packages(tmp_path: Path) -> None:
    sources = obtain_recorded(["ru"], tmp_path)
    sets = build_recorded(sources, tmp_path / "audio")
    assert sum(map(len, sets.values())) > 400
    assert all(len(data) > 10 for data in sets.values())
