"""Data files: what is written is what is read; parsers end well on any bytes."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.data.audio import resampled_length
from espnet2_dq.data.commonvoice_release import (
    clean_sentence,
    read_clip_list,
    read_clips,
)
from espnet2_dq.data.ctm import read_ctm, read_rejects, write_rejects
from espnet2_dq.data.cut import read_segments
from espnet2_dq.data.kaldi_dir import KaldiDir, PhoneSegment, Utterance
from espnet2_dq.data.subset import spread_over_speakers, take_minutes
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import DataError

letters = st.characters(exclude_categories=("Cs",), exclude_characters="\n\r")
keys = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\ufeff"),
    min_size=1,
    max_size=8,
).filter(lambda key: key.split() == [key])
values = st.text(letters, max_size=12).map(lambda x: x.strip(" \t\r"))
words = values.filter(bool)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(st.dictionaries(keys, values, max_size=6))
def test_table_round_trip(folder, table):
    write_table(folder / "t", table)
    found = read_table(folder / "t", allow_empty=True, require_sorted=True)
    assert found == table
    assert list(found) == sorted(table, key=str.encode)


@st.composite
def directories(draw):
    utts = draw(st.lists(keys, min_size=1, max_size=5, unique=True))
    labelled = draw(st.booleans())
    rows = [
        Utterance(
            utt,
            draw(words),
            draw(values) if labelled else None,
            draw(keys),
            draw(keys),
            draw(st.integers(1, 10**9)),
        )
        for utt in utts
    ]
    ticks = st.integers(0, 16000 * 3600).map(lambda n: n / 16000)
    segments = st.builds(
        PhoneSegment, ticks, ticks, st.sampled_from(["a", "t\u0361\u0283", "sil"])
    )
    phones = {
        utt: sorted(draw(st.lists(segments, min_size=1, max_size=3)), key=_start)
        for utt in draw(st.sets(st.sampled_from(utts)))
    }
    extra = {"utt2gender": dict.fromkeys(utts, draw(values))}
    return KaldiDir.from_utterances(rows, phones=phones), extra


def _start(segment):
    return segment.start_s


@settings(max_examples=25)
@given(directories())
def test_directory_round_trip(folder, case):
    directory, directory.extra = case
    directory.write(folder / "d")
    again = KaldiDir.read(folder / "d")
    assert again.utterances == directory.utterances
    assert again.extra == directory.extra
    assert again.phones.keys() == directory.phones.keys()
    for utt, segments in directory.phones.items():
        for found, expected in zip(again.phones[utt], segments, strict=True):
            # Seven digits resolve one sample of 16 kHz far below its length.
            assert abs(found.start_s - expected.start_s) < 1e-7
            assert abs(found.duration_s - expected.duration_s) < 1e-7
            assert found.phone == expected.phone
    before = {p.name: p.read_bytes() for p in (folder / "d").iterdir()}
    again.write(folder / "d")
    assert {p.name: p.read_bytes() for p in (folder / "d").iterdir()} == before


@given(st.lists(st.tuples(keys, words)))
def test_rejects_keep_utterance_and_reason(folder, rejects):
    write_rejects(folder / "r", rejects)
    found = read_rejects(folder / "r")
    assert set(found) == {(utt, " ".join(reason.split())) for utt, reason in rejects}


@pytest.mark.parametrize(
    "parser", [read_table, read_ctm, read_segments, read_clip_list, read_rejects]
)
@given(content=st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_table_parsers_end_with_a_value_or_a_data_error(folder, parser, content):
    (folder / "any").write_bytes(content)
    try:
        parser(folder / "any")
    except DataError as error:
        message = str(error)
    else:
        return
    assert str(folder / "any") in message


tsv_fields = st.binary(max_size=10) | st.sampled_from(
    [b"client_id", b"path", b"sentence", b'"', b"a.mp3", b"\xff", b".mp3", b"x/y.mp3"]
)
tsv_lines = st.lists(tsv_fields, max_size=6).map(b"\t".join)


@given(st.binary(max_size=200) | st.lists(tsv_lines, max_size=6).map(b"\n".join))
def test_commonvoice_parser_is_total(folder, content):
    (folder / "train.tsv").write_bytes(content)
    try:
        read_clips(folder / "train.tsv", "es")
    except DataError as error:
        message = str(error)
    else:
        return
    assert "columns" in message


@given(st.lists(tsv_lines.filter(lambda x: b"\n" not in x and x.strip()), max_size=6))
def test_no_commonvoice_line_is_lost(folder, lines):
    header = b"client_id\tpath\tsentence"
    (folder / "train.tsv").write_bytes(b"\n".join([header, *lines]))
    clips, rejects = read_clips(folder / "train.tsv", "es")
    assert len(clips) + len(rejects) == len(lines)
    for clip in clips:
        assert clip.clip
        assert not set(clip.clip) & set(" \t\n/")


@given(st.text())
def test_sentences_are_one_line_and_stable(text):
    clean = clean_sentence(text)
    assert len(clean.splitlines()) <= 1
    assert clean == " ".join(clean.split())


@given(st.integers(1, 10**7), st.integers(4000, 192000))
def test_resampling_keeps_the_duration(frames, rate):
    found = resampled_length(frames, rate, 16000)
    assert abs(found / 16000 - frames / rate) <= 0.5 / 16000 + 1e-9


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(0.5, 9)), min_size=1, max_size=30),
    st.floats(0.01, 3),
    st.integers(0, 9),
)
def test_subsets_are_nested_spread_and_bounded(pairs, minutes, seed):
    rows = [
        Utterance(f"u{n:02d}", f"/u{n}", "x", f"s{s}", "es", round(16000 * seconds))
        for n, (s, seconds) in enumerate(pairs)
    ]
    order = spread_over_speakers(rows, seed, "es")
    assert sorted(order, key=lambda u: u.utt) == rows
    chosen = take_minutes(rows, minutes, seed=seed, allow_less=True)
    assert chosen == order[: len(chosen)]
    assert sum(u.duration_s for u in chosen) <= minutes * 60 + 1e-6
    counts = [sum(u.speaker == f"s{s}" for u in chosen) for s in range(5)]
    available = [sum(u.speaker == f"s{s}" for u in rows) for s in range(5)]
    unfinished = [c for c, a in zip(counts, available, strict=True) if c < a]
    # A speaker with speech left is at most one utterance behind any other.
    assert not unfinished or max(counts) - min(unfinished) <= 1
