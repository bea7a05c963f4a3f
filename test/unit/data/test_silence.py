"""Removal of silences: what is cut, what is written, what is counted."""

import numpy as np
import pytest
import soundfile
from factories import make_kaldi_dir

from espnet2_dq.bin import remove_silence
from espnet2_dq.data.audio import read_audio
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.silence import SilenceOptions, cut_silences
from espnet2_dq.errors import ConfigError

OPTIONS = SilenceOptions()


def tone(seconds, level=0.3):
    time_s = np.arange(round(16000 * seconds)) / 16000
    return (level * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)


def test_silence_goes_and_speech_stays():
    samples = np.concatenate([tone(0.5), tone(2, level=0.3e-3), tone(0.5)])
    found = cut_silences(samples, OPTIONS)
    assert 16000 <= len(found) <= 16000 + 4 * 2048
    assert np.array_equal(found[:7000], samples[:7000])
    assert np.array_equal(found[-7000:], samples[-7000:])
    # 60 dB down is silence at 30 dB, not at 80
    assert len(cut_silences(samples, SilenceOptions(top_db=80))) == len(samples)


def test_nothing_to_cut_is_left_whole():
    zeros, click = np.zeros(16000, np.float32), np.zeros(32000, np.float32)
    click[500] = 1.0
    for samples in (tone(1), zeros, tone(0.02)):
        assert cut_silences(samples, OPTIONS) is samples
    whole = SilenceOptions(shortest_s=1.0)
    assert cut_silences(click, whole) is click
    with pytest.raises(ConfigError, match="--top_db"):
        SilenceOptions(top_db=0)


@pytest.fixture
def data(tmp_path):
    for name in ("train", "test"):
        made = make_kaldi_dir(
            tmp_path / "data" / name, langs=("ko",), utterances=2, phones=True
        )
        for utterance in made:
            quiet = np.concatenate([tone(0.6), np.zeros(6400, np.float32)])
            soundfile.write(utterance.path, quiet, 16000)
    return tmp_path / "data"


def run(data, out, *options):
    return remove_silence.main(["--data", str(data), "--out", str(out), *options])


def test_all_sets_are_treated_alike(data, tmp_path, caplog):
    before = KaldiDir.read(data / "train")
    before.text_rule = "phonetic"
    before.write(data / "train")
    out = tmp_path / "out"
    with caplog.at_level("INFO"):
        assert run(data, out) == 0
    for name in ("train", "test"):
        old, new = KaldiDir.read(data / name), KaldiDir.read(out / name)
        assert list(new.utterances) == list(old.utterances)
        assert new.text_rule == old.text_rule
        assert not new.phones
        for utterance in new:
            was = old.utterances[utterance.utt]
            samples = read_audio(utterance.path)
            assert len(samples) == utterance.num_samples < was.num_samples
            assert np.array_equal(samples[:8000], read_audio(was.path)[:8000])
            assert (utterance.text, utterance.speaker) == (was.text, was.speaker)
    assert "removed; 0 have no silence" in caplog.text
    assert "phn.ctm left out" in caplog.text


def test_one_set_only_if_asked(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(data, out, "--only", "train") == 0
    assert KaldiDir.read(out / "test") == KaldiDir.read(data / "test")
    assert KaldiDir.read(out / "train") != KaldiDir.read(data / "train")
    assert run(data, out, "--only", "eval") == 1
    assert run(data, out, "--sets", "eval") == 1
    assert run(data, data) == 1
    assert "no such set" in capsys.readouterr().err


def test_a_broken_sound_is_rejected(data, tmp_path):
    first, second = KaldiDir.read(data / "train")
    with open(first.path, "wb"):
        pass
    assert run(data, tmp_path / "out") == 0
    made = KaldiDir.read(tmp_path / "out" / "train")
    assert list(made.utterances) == [second.utt]
    assert made.rejects == [(first.utt, "empty file: 0 bytes")]
