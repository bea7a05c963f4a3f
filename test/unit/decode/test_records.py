import json

import pytest

from espnet2_dq.decode.records import (
    Record,
    RunStatistics,
    job_dir,
    merge_jobs,
    read_records,
    read_statistics,
    write_records,
)
from espnet2_dq.errors import DataError


def record(utt, *tokens, **changes):
    values = {
        "utt": utt,
        "lang": "es",
        "tokens": list(tokens),
        "score": -1.5,
        "start_s": [0.1] * len(tokens),
        "end_s": [0.2] * len(tokens),
        "token_scores": [-0.5] * len(tokens),
        "audio_s": 2.0,
    }
    return Record(**{**values, **changes})


def statistics(count, failed=0, **options):
    return RunStatistics({"mode": "greedy", **options}, count, failed, 2.0 * count, 0.5)


def test_files_of_a_decoded_set(tmp_path):
    nbest = [{"tokens": ["a"], "score": -3.0}]
    rows = [
        record("u2", "a", "ɑ̃", nbest=nbest),
        Record.failed("u3", "fr", 1.0, "no frames"),
        record("u1"),
    ]
    write_records(tmp_path, rows, statistics(3, 1))
    assert (tmp_path / "hyp").read_text(encoding="utf-8") == "u1\nu2 a ɑ̃\nu3\n"
    assert (tmp_path / "failed.tsv").read_text() == "u3\tno frames\n"
    lines = (tmp_path / "hyp.jsonl").read_text(encoding="utf-8").splitlines()
    first, second, _ = (json.loads(line) for line in lines)
    assert set(first) == {
        *("utt", "lang", "tokens", "score"),
        *("start_s", "end_s", "token_scores", "audio_s"),
    }
    assert second["nbest"] == nbest
    assert read_records(tmp_path / "hyp.jsonl") == sorted(rows, key=lambda r: r.utt)
    assert read_statistics(tmp_path / "rtf.json") == statistics(3, 1)
    assert json.loads((tmp_path / "rtf.json").read_text())["rtf"] == round(0.5 / 6, 6)


def write_job(out, job, rows, count=2, **options):
    write_records(job_dir(out, job, count), rows, statistics(len(rows), **options))


def test_jobs_are_put_together(tmp_path):
    write_job(tmp_path, 1, [record("u3", "c"), record("u1", "a")])
    write_job(tmp_path, 2, [record("u2", "b")])
    got = merge_jobs(tmp_path, 2, ["u1", "u2", "u3"])
    assert (got.utterances, got.audio_s, got.wall_s) == (3, 6.0, 1.0)
    assert (tmp_path / "hyp").read_text() == "u1 a\nu2 b\nu3 c\n"


def test_a_single_job_writes_the_result_itself(tmp_path):
    assert job_dir(tmp_path, 1, 1) == tmp_path
    assert job_dir(tmp_path, 1, 2) != job_dir(tmp_path, 1, 3)


def test_a_missing_job(tmp_path):
    write_job(tmp_path, 1, [record("u1")])
    with pytest.raises(DataError, match=r"2of2.*cannot be read"):
        merge_jobs(tmp_path, 2, ["u1"])


def test_jobs_with_other_options(tmp_path):
    write_job(tmp_path, 1, [record("u1")], beam=5)
    write_job(tmp_path, 2, [record("u2")], beam=9)
    with pytest.raises(DataError, match=r"2of2: decoded with beam = 9"):
        merge_jobs(tmp_path, 2, ["u1", "u2"])


@pytest.mark.parametrize(
    ("second", "wanted", "message"),
    [
        ("u1", ["u1"], "'u1' was decoded by two jobs"),
        ("u2", ["u1", "u2", "u3"], "1 utterances were not decoded.*first: u3"),
        ("u2", ["u1"], "1 are not in the data directory.*u2"),
    ],
)
def test_incomplete_sets(tmp_path, second, wanted, message):
    write_job(tmp_path, 1, [record("u1")])
    write_job(tmp_path, 2, [record(second)])
    with pytest.raises(DataError, match=message):
        merge_jobs(tmp_path, 2, wanted)
    assert not (tmp_path / "hyp").exists()


def test_damaged_files(tmp_path):
    write_records(tmp_path, [record("u1"), record("u2")], statistics(2))
    path = tmp_path / "hyp.jsonl"
    path.write_text(path.read_text()[:-40] + "\n")
    with pytest.raises(DataError, match="hyp.jsonl:2"):
        read_records(path)
    (tmp_path / "rtf.json").write_text("{")
    with pytest.raises(DataError, match="rtf.json: damaged"):
        read_statistics(tmp_path / "rtf.json")
