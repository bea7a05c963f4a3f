import logging
import re
from pathlib import Path

import numpy as np
import pytest
from stub_ctc import StubCTC, spell

from espnet2_dq.data.kaldi_dir import Utterance
from espnet2_dq.decode.corpus import Progress, batches, decode_utterances, shard
from espnet2_dq.decode.recogniser import Recogniser
from espnet2_dq.errors import ConfigError, DataError


def utterance(name, samples):
    return Utterance(name, f"{name}.wav", None, "spk", "es", samples)


SET = [utterance(f"u{i}", n) for i, n in enumerate((16000, 48000, 8000, 48000, 32000))]


def test_jobs_share_the_set_longest_first():
    assert [u.utt for u in shard(SET, 1, 1)] == ["u1", "u3", "u4", "u0", "u2"]
    parts = [shard(SET, job, 2) for job in (1, 2)]
    assert [[u.utt for u in part] for part in parts] == [
        ["u1", "u4", "u2"],
        ["u3", "u0"],
    ]
    assert shard(SET, 7, 7) == []


@pytest.mark.parametrize(("job", "num_jobs"), [(0, 2), (3, 2), (1, 0)])
def test_jobs_that_cannot_be(job, num_jobs):
    with pytest.raises(ConfigError, match=f"job {job} of {num_jobs}"):
        shard(SET, job, num_jobs)


def test_padded_audio_of_a_batch_is_bounded():
    groups = list(batches(shard(SET, 1, 1), 6.0))
    assert [[u.utt for u in g] for g in groups] == [["u1", "u3"], ["u4", "u0", "u2"]]
    assert [len(g) for g in batches(shard(SET, 1, 1), 0.1)] == [1] * 5
    assert list(batches([], 6.0)) == []


def sounds_of(tokens_by_utt):
    return {f"{utt}.wav": spell(*ids) for utt, ids in tokens_by_utt.items()}


def decode(sounds, batch_seconds=0.5):
    def read(path):
        sound = sounds[path]
        if isinstance(sound, Exception):
            raise sound
        return sound

    utterances = [
        utterance(
            Path(path).stem, 4000 if isinstance(sound, Exception) else len(sound) or 1
        )
        for path, sound in sounds.items()
    ]
    recogniser = Recogniser(StubCTC())
    records = decode_utterances(
        recogniser, shard(utterances, 1, 1), batch_seconds=batch_seconds, read=read
    )
    return {record.utt: record for record in records}, recogniser


@pytest.mark.parametrize("batch_seconds", [0.01, 0.5, 100])
def test_every_utterance_gets_its_tokens(batch_seconds):
    sounds = sounds_of({"a": [2], "b": [2, 3, 4], "c": [], "d": [4, 4]})
    records, recogniser = decode(sounds, batch_seconds)
    assert {utt: " ".join(r.tokens) for utt, r in records.items()} == {
        "a": "a",
        "b": "a b c",
        "c": "",
        "d": "c c",
    }
    assert all(r.error is None and r.lang == "es" for r in records.values())
    assert records["a"].audio_s == len(sounds["a.wav"]) / 16000
    assert (max(recogniser.model.batch_sizes) > 1) == (batch_seconds > 0.2)


def test_failures_are_records_and_the_rest_goes_on(caplog):
    sounds = sounds_of({"a": [2], "b": [3, 4], "x": [2]})
    sounds["bad.wav"] = DataError("bad.wav: truncated:\n1 of 2")
    sounds["short.wav"] = np.zeros(399, dtype=np.float32)
    sounds["nan.wav"] = np.full(1000, np.nan, dtype=np.float32)
    with caplog.at_level(logging.INFO):
        records, _ = decode(sounds, 100)
    assert [r.tokens for r in (records["a"], records["b"])] == [["a"], ["b", "c"]]
    assert records["bad"].error == "bad.wav: truncated: 1 of 2"
    assert "399 samples" in records["short"].error
    assert "NaN" in records["nan"].error
    assert [utt for utt in records if records[utt].error] != list(records)
    assert records["bad"].tokens == []
    assert "bad failed: bad.wav" in caplog.text
    assert "3 failed" in caplog.text


def test_a_batch_of_failures_only():
    records, recogniser = decode({"bad.wav": DataError("no")}, 100)
    assert records["bad"].error == "no"
    assert recogniser.model.batch_sizes == []


def test_progress_line_has_share_speed_and_eta():
    progress = Progress(total_s=400.0, utterances=10, started=100.0)
    progress.done, progress.done_s, progress.failed = 4, 100.0, 1
    line = progress.line(now=110.0)
    assert re.search(r"4/10 utterances \(25 %\)", line)
    assert "RTF 0.1000" in line
    assert "1 failed" in line
    assert line.endswith("ETA 00:00:30")
