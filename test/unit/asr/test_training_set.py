"""Selection of utterances to fine-tune on."""

import logging

import pytest
from factories import make_kaldi_dir

from espnet2_dq.asr.training_set import prepare_set
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import DataError


@pytest.fixture
def source(tmp_path):
    """Two languages, four utterances each; one has no transcript."""
    made = make_kaldi_dir(tmp_path / "data", with_audio=False)
    ids = {utterance.utt: "2 3 4" for utterance in made}
    ids[min(ids)] = ""
    write_table(tmp_path / "data" / "phn.int", ids)
    return tmp_path / "data"


def test_only_utterances_with_transcript_stay(source, tmp_path) -> None:
    report = prepare_set(source, "phn", tmp_path / "out", num_tokens=5)
    assert (report.kept, report.without_text, report.other_language) == (7, 1, 0)
    assert report.hours == pytest.approx(7 / 3600)
    names = ("wav.scp", "text.int", "utt2num_samples", "utt2lang")
    tables = [read_table(tmp_path / "out" / n, require_sorted=True) for n in names]
    assert all(table.keys() == tables[0].keys() for table in tables)
    assert len(tables[0]) == 7


def test_one_language(source, tmp_path) -> None:
    report = prepare_set(source, "phn", tmp_path / "out", num_tokens=5, lang="fr")
    assert (report.kept, report.other_language) == (4, 4)
    assert set(read_table(tmp_path / "out" / "utt2lang").values()) == {"fr"}
    with pytest.raises(DataError, match=r"language 'de' \(present: es, fr\)"):
        prepare_set(source, "phn", tmp_path / "out", num_tokens=5, lang="de")


def test_targets_longer_than_the_audio_are_named(source, tmp_path, caplog) -> None:
    ids = read_table(source / "phn.int", allow_empty=True)
    utt = max(ids)
    ids[utt] = " ".join(["2"] * 13)  # 25 frames in 1 s at 25 Hz: 13 + 12 just fit
    write_table(source / "phn.int", ids)
    options = {"num_tokens": 5, "subsample": 2}
    assert prepare_set(source, "phn", tmp_path / "out", **options).impossible == ()
    ids[utt] += " 3"
    write_table(source / "phn.int", ids)
    with caplog.at_level(logging.WARNING):
        report = prepare_set(source, "phn", tmp_path / "out", **options)
    assert report.impossible == (utt,)
    assert f"first '{utt}'" in caplog.text
    assert prepare_set(source, "phn", tmp_path / "out", num_tokens=5).impossible == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [("2 9", "token id 9; the token list allows 1 to 4"), ("2 x", "not ids")],
)
def test_bad_targets_are_named(source, tmp_path, line, message) -> None:
    ids = read_table(source / "phn.int", allow_empty=True)
    ids[max(ids)] = line
    write_table(source / "phn.int", ids)
    with pytest.raises(DataError, match=rf"phn.int:8: .*{message}"):
        prepare_set(source, "phn", tmp_path / "out", num_tokens=5)


def test_units_stage_is_named_when_missing(source, tmp_path) -> None:
    with pytest.raises(DataError, match=r"char.int: not found; the units stage"):
        prepare_set(source, "char", tmp_path / "out", num_tokens=5)
