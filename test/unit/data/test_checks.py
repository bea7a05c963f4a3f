import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from factories import make_kaldi_dir, make_wav

from espnet2_dq.data.checks import (
    CheckOptions,
    check_set,
    log_report,
    warn_one_language,
    write_report,
)
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.errors import DataError

ALL = CheckOptions(decode_share=1.0, workers=2)


def check(directory, options=ALL, cache=None):
    return check_set(directory, "train", options, cache or ProbeCache(None))


def test_a_healthy_set(tmp_path):
    report = check(make_kaldi_dir(tmp_path / "train"))
    assert report.rejects == []
    assert report.decoded == report.utterances == 8
    assert report.speakers == {"es": 2, "fr": 2}
    assert report.hours == {
        "es": pytest.approx(4 / 3600),
        "fr": pytest.approx(4 / 3600),
    }


def test_each_fault_is_found_and_named(tmp_path):
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=8)
    paths = [u.path for u in directory]
    open(paths[0], "w").close()
    (tmp_path / "none").mkdir()
    for index, content in ((1, b"junk" * 9),):
        with open(paths[index], "wb") as stream:
            stream.write(content)
    with open(paths[2], "rb") as stream:
        head = stream.read()[:9000]
    with open(paths[2], "wb") as stream:
        stream.write(head)
    soundfile.write(paths[3], np.zeros(16000), 16000)
    soundfile.write(paths[4], np.full(100, 0.1), 16000)
    make_wav(tmp_path / "b.wav", seconds=0.5).replace(paths[5])
    utts = list(directory)
    directory.utterances[utts[6].utt] = replace(utts[6], path=str(tmp_path / "no.wav"))
    report = check(directory)
    kinds = {utt: reason.partition(":")[0] for utt, reason in report.rejects}
    assert [kinds.get(u.utt) for u in utts] == [
        "empty file", "unreadable", "truncated", "silent", "too short", "changed",
        "missing file", None,
    ]  # fmt: skip


def test_over_long_sounds(tmp_path):
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=1)
    report = check(directory, replace(ALL, longest_s=0.9))
    assert report.rejects[0][1] == "too long: 1 s, maximum 1 s"


def test_decoding_only_a_share_is_the_same_choice_every_time(tmp_path):
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=40,
                               seconds=0.1)  # fmt: skip
    counts = {check(directory, replace(ALL, decode_share=0.5)).decoded for _ in "ab"}
    assert len(counts) == 1
    assert 8 < counts.pop() < 32
    assert check(directory, replace(ALL, decode_share=0.0)).decoded == 0


def test_a_cut_off_mp3_needs_decoding_to_show(tmp_path):
    sound = make_wav(tmp_path / "a.mp3", seconds=2.0, rate=48000)
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=1)
    (row,) = directory
    directory.utterances[row.utt] = replace(row, path=str(sound), num_samples=32000)
    sound.write_bytes(sound.read_bytes()[:9000])
    assert check(directory, replace(ALL, decode_share=0.0)).rejects == []
    assert check(directory).rejects[0][1].startswith("truncated: ")


def test_other_rates_and_stereo_are_said(tmp_path, caplog):
    caplog.set_level("INFO")
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=2)
    row = next(iter(directory))
    make_wav(tmp_path / "s.wav", rate=44100, channels=2)
    directory.utterances[row.utt] = replace(row, path=str(tmp_path / "s.wav"))
    report = check(directory)
    assert report.rejects == []
    log_report(report)
    assert "1 files at 44100 Hz: resampled to 16000 Hz" in caplog.text
    assert "1 files with 2 channels: averaged to mono" in caplog.text


def test_one_language_is_warned_about(tmp_path, caplog):
    warn_one_language(check(make_kaldi_dir(tmp_path / "a", langs=("es", "fr"))))
    assert caplog.text == ""
    warn_one_language(check(make_kaldi_dir(tmp_path / "b", langs=("es",))))
    assert "one language only ('es')" in caplog.text
    assert "quantizer" in caplog.text


def test_report_files_are_written_before_the_stage_stops(tmp_path):
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=10)
    for utterance in list(directory)[:7]:
        open(utterance.path, "w").close()
    report = check(directory)
    with pytest.raises(DataError) as caught:
        write_report(report, tmp_path / "check", 0.01)
    message = str(caught.value)
    assert "7 of 10 utterances are rejected (70.0%, allowed 1.0%)" in message
    assert "7 empty file" in message
    assert message.count("\n  es-spk") == 5
    assert "--max_reject_ratio 0.701" in message
    assert len((tmp_path / "check" / "reject.tsv").read_text().splitlines()) == 7
    summary = json.loads((tmp_path / "check" / "summary.json").read_text())
    assert summary["rejects"] == {"empty file": 7}
    write_report(report, tmp_path / "check", 0.701)


def test_headers_are_read_once(tmp_path, monkeypatch):
    directory = make_kaldi_dir(tmp_path / "train", langs=("es",), utterances=3)
    options = replace(ALL, decode_share=0.0)
    check(directory, options, ProbeCache(tmp_path / ".cache"))
    changed = make_wav(tmp_path / "x.wav", seconds=2)
    changed.replace(next(iter(directory)).path)
    probed = []

    def spy(path):
        from espnet2_dq.data.audio import probe

        probed.append(path)
        return probe(path)

    monkeypatch.setattr("espnet2_dq.data.probing.probe", spy)
    report = check(directory, options, ProbeCache(tmp_path / ".cache"))
    assert probed == [next(iter(directory)).path]
    assert report.rejects[0][1].startswith("changed: 32000 samples now")


def test_a_broken_cache_is_dropped(tmp_path, caplog):
    (tmp_path / ".cache").write_text("rubbish\n")
    assert ProbeCache(tmp_path / ".cache").entries == {}
    assert "ignored" in caplog.text


def test_unlabelled_and_empty_transcripts_are_counted(tmp_path):
    directory = make_kaldi_dir(tmp_path / "a", langs=("es",), utterances=2)
    row = next(iter(directory))
    directory.utterances[row.utt] = replace(row, text="")
    assert check(directory).empty_transcripts == 1
    bare = make_kaldi_dir(tmp_path / "b", langs=("es",), utterances=2, text=False)
    assert check(KaldiDir.read(tmp_path / "b")).has_text is bare.has_text is False
