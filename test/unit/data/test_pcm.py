"""Headerless sounds, alone and through everything that reads a wav.scp."""

import numpy as np
import pytest
import soundfile
from factories import make_kaldi_tree
from hypothesis import given
from hypothesis import strategies as st

from espnet2_dq.bin import check_data, prepare_kaldi
from espnet2_dq.data.audio import AudioError, AudioScpReader, decode, probe, read_audio
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.pcm import log_odd_files, read_pcm, write_pcm

SAMPLES = np.array([0, 1, -1, 256, 32767, -32768], dtype=np.int16)


def test_bytes_are_little_endian(tmp_path):
    (tmp_path / "a.pcm").write_bytes(b"\x01\x00\x00\x01\xff\xff")
    assert (read_pcm(tmp_path / "a.pcm") * 32768).tolist() == [1, 256, -1]
    write_pcm(tmp_path / "b.pcm", SAMPLES)
    assert (tmp_path / "b.pcm").read_bytes()[6:8] == b"\x00\x01"


def test_a_pcm_equals_a_wav_of_the_same_samples(tmp_path):
    write_pcm(tmp_path / "a.pcm", SAMPLES)
    soundfile.write(str(tmp_path / "a.wav"), SAMPLES, 16000, subtype="PCM_16")
    assert probe(tmp_path / "a.pcm") == probe(tmp_path / "a.wav")
    pcm, wav = read_audio(tmp_path / "a.pcm"), read_audio(tmp_path / "a.wav")
    assert pcm.dtype == np.float32
    assert np.array_equal(pcm, wav)


@given(raw=st.binary(min_size=2, max_size=60).filter(lambda b: b[:4] != b"RIFF"))
def test_any_bytes_are_half_as_many_samples(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.pcm"
    path.write_bytes(raw)
    samples = read_audio(path)
    assert len(samples) == probe(path).frames == len(raw) // 2
    whole = raw[: len(raw) // 2 * 2]
    assert (samples * 32768).astype("<i2").tobytes() == whole


def test_the_length_needs_no_reading(tmp_path, monkeypatch):
    write_pcm(tmp_path / "a.pcm", SAMPLES)

    def refuse(*args, **kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    monkeypatch.setattr(soundfile, "info", refuse)
    assert probe(tmp_path / "a.pcm").num_samples() == 6


def test_unusable_files_say_why(tmp_path):
    contents = {
        "empty file": b"",
        "no samples": b"x",
        "unreadable": b"RIFF\x24\0\0\0WAVE",
    }
    for kind, content in contents.items():
        path = tmp_path / f"{kind.replace(' ', '_')}.pcm"
        path.write_bytes(content)
        with pytest.raises(AudioError) as caught:
            decode(path)
        assert caught.value.reason.startswith(kind + ":")
    with pytest.raises(AudioError, match="missing file"):
        decode(tmp_path / "none.pcm")


def test_odd_files_are_counted_once(tmp_path, caplog):
    paths = [tmp_path / name for name in ("a.pcm", "b.pcm", "c.wav", "none.pcm")]
    for path, size in zip(paths, (4, 5, 7), strict=False):
        path.write_bytes(b"\0" * size)
    with caplog.at_level("INFO"):
        assert log_odd_files("test", map(str, paths)) == 1
    assert "1 pcm files have an odd number of bytes" in caplog.text
    assert str(paths[1]) in caplog.text


def test_only_int16_is_written(tmp_path):
    for wrong in (SAMPLES.astype(np.float32), SAMPLES[None]):
        with pytest.raises(TypeError, match="int16"):
            write_pcm(tmp_path / "a.pcm", wrong)


@pytest.fixture
def tree(tmp_path):
    """A Kaldi tree whose sounds are pcm files, Korean texts."""
    make_kaldi_tree(tmp_path / "kaldi", langs=("ko",), utterances=4, text=True)
    texts = ("안녕하세요.", "네, vip 룸 예약이요!", "ㅋㅋ 좋아", "ok")
    for path in (tmp_path / "kaldi" / name for name in ("train", "dev", "test")):
        lines, text = [], []
        for number, row in enumerate(sorted((path / "wav.scp").open())):
            utt, sound = row.split()
            samples, _ = soundfile.read(path.parent / sound, dtype="int16")
            target = tmp_path / "pcm" / path.name / f"{utt}.pcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_pcm(target, samples)
            if number == 0:
                target.write_bytes(target.read_bytes() + b"\0")
            lines.append(f"{utt} {target}\n")
            text.append(f"{utt} {texts[number % 4]}\n")
        (path / "wav.scp").write_text("".join(lines))
        (path / "text").write_text("".join(text), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("rule", ["none", "plain"])
def test_kaldi_directories_of_pcm_and_korean(tree, rule, caplog):
    with caplog.at_level("INFO"):
        code = prepare_kaldi.main(
            ["--data_root", str(tree / "kaldi"), "--out", str(tree / "data"),
             "--rule", rule, "--max_reject_ratio", "0.3"]
        )  # fmt: skip
    assert code == 0
    assert "odd number of bytes" in caplog.text
    check = ["--data", str(tree / "data"), "--out", str(tree / "check")]
    assert check_data.main([*check, "--decode_share", "1"]) == 0
    data = KaldiDir.read(tree / "data" / "train")
    reader = AudioScpReader(tree / "data" / "train" / "wav.scp")
    for utterance in data:
        assert reader[utterance.utt].shape == (utterance.num_samples,)
    texts = {u.text for u in data}
    if rule == "none":
        assert texts == {"안녕하세요.", "네, vip 룸 예약이요!", "ㅋㅋ 좋아", "ok"}
        assert data.text_rule == ""
    else:
        assert texts == {"안녕하세요", "네 VIP 룸 예약이요", "ㅋㅋ 좋아"}
        assert data.text_rule == "plain"
        assert [reason.partition(":")[0] for _, reason in data.rejects] == [
            "non-Korean text"
        ]
