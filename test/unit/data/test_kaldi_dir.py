import pytest
from factories import make_kaldi_dir, write_files

from espnet2_dq.data.kaldi_dir import KaldiDir, PhoneSegment, Utterance
from espnet2_dq.errors import DataError


def utterance(utt, **values):
    fields = {"path": f"/s/{utt}.wav", "text": "t", "speaker": "s", "lang": "es"}
    return Utterance(utt, **{**fields, "num_samples": 16000, **values})


@pytest.fixture
def written(tmp_path):
    make_kaldi_dir(tmp_path / "d", with_audio=False, phones=True)
    return tmp_path / "d"


def test_read_gives_what_was_written(tmp_path):
    directory = make_kaldi_dir(tmp_path / "d", with_audio=False, phones=True)
    directory.rejects = [("u9", "truncated: x")]
    directory.extra = {"utt2gender": dict.fromkeys(directory.utterances, "f")}
    directory.write(tmp_path / "d")
    assert KaldiDir.read(tmp_path / "d") == directory


def test_every_file_is_sorted_and_reproducible(written):
    before = {p.name: p.read_bytes() for p in written.iterdir()}
    assert set(before) == {
        "wav.scp", "text", "utt2spk", "spk2utt", "utt2lang", "utt2num_samples",
        "phn.ctm", "reject.tsv",
    }  # fmt: skip
    for content in before.values():
        lines = content.splitlines()
        assert lines == sorted(lines)
    KaldiDir.read(written).write(written)
    assert {p.name: p.read_bytes() for p in written.iterdir()} == before


def test_spk2utt_is_utt2spk_turned_round(written):
    first = (written / "spk2utt").read_text().splitlines()[0]
    assert first == "es-spk0 es-spk0-000 es-spk0-002"


def test_hours_and_languages():
    directory = KaldiDir.from_utterances(
        [
            utterance("a", num_samples=16000 * 3600),
            utterance("b", num_samples=16000 * 1800),
            utterance("c", lang="fr", num_samples=16000 * 900),
        ]
    )
    assert directory.hours() == {"es": 1.5, "fr": 0.25}
    assert directory.languages == ["es", "fr"]


def test_subset_takes_phones_and_extra_files_along(tmp_path):
    directory = make_kaldi_dir(tmp_path / "d", with_audio=False, phones=True)
    directory.extra = {
        "phn.int": dict.fromkeys(directory.utterances, "1 2"),
        "utt2gender": {"es-spk0-000": "f", "fr-spk0-000": "m"},
    }
    part = directory.subset(["es-spk0-000", "es-spk1-001"])
    part.write(tmp_path / "p")
    again = KaldiDir.read(tmp_path / "p")
    assert [u.utt for u in again] == ["es-spk0-000", "es-spk1-001"]
    assert set(again.phones) == set(again.utterances) == set(again.extra["phn.int"])
    assert again.extra["utt2gender"] == {"es-spk0-000": "f"}
    with pytest.raises(DataError, match="1 unknown utterances, first 'nobody'"):
        directory.subset(["nobody"])


def test_files_that_no_longer_apply_are_removed(tmp_path):
    directory = make_kaldi_dir(tmp_path / "d", with_audio=False, phones=True)
    directory.extra = {"utt2gender": dict.fromkeys(directory.utterances, "f")}
    directory.write(tmp_path / "d")
    (tmp_path / "d" / "notes.md").write_text("mine")
    make_kaldi_dir(tmp_path / "d", with_audio=False, text=False)
    names = {p.name for p in (tmp_path / "d").iterdir()}
    assert not names & {"text", "phn.ctm", "utt2gender"}
    assert "notes.md" in names
    assert KaldiDir.read(tmp_path / "d").has_text is False


def test_duplicate_utterance_in_memory():
    with pytest.raises(DataError, match="'a' occurs twice"):
        KaldiDir.from_utterances([utterance("a"), utterance("a")])


def test_transcripts_for_all_or_none(tmp_path):
    directory = KaldiDir.from_utterances([utterance("a"), utterance("b", text=None)])
    with pytest.raises(DataError, match="1 of 2 .*'b' has none"):
        directory.write(tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("utt2num_samples", None, ["no file 'utt2num_samples'", "run them again"]),
        ("utt2lang", "es-spk0-000 es\n", ["7 utterances", "missing", "'es-spk0-002'"]),
        ("text", "zz hello\n", ["text: 8 utterances of wav.scp are missing"]),
        ("utt2num_samples", "{all} 1.5", ["utt2num_samples:1:", "'1.5'", "positive"]),
        ("utt2num_samples", "{all} 0", ["utt2num_samples:1:", "'0'"]),
        ("phn.ctm", "zz 1 0.0 0.1 a\n", ["phn.ctm: 1 utterances", "'zz'", "delete"]),
        ("phn.ctm", "es-spk0-000 1 0.0 a\n", ["phn.ctm:1:", "start_s dur_s"]),
        ("phn.ctm", "es-spk0-000 1 -1 0.1 a\n", ["phn.ctm:1:", ">= 0"]),
        ("phn.ctm", "es-spk0-000 1 nan 0.1 a\n", ["phn.ctm:1:", ">= 0"]),
        ("utt2gender", "zz f\n", ["utt2gender: 1 utterances", "'zz'"]),
        ("spk2utt", "es-spk0 es-spk0-000\n", ["spk2utt: 'es-spk0-002'", "delete"]),
    ],
)
def test_inconsistent_files_are_named_with_the_fix(written, name, content, parts):
    if content is None:
        (written / name).unlink()
    else:
        utts = [line.split()[0] for line in (written / "wav.scp").open()]
        if "{all}" in content:
            content = "".join(content.replace("{all}", utt) + "\n" for utt in utts)
        write_files(written, {name: content})
    with pytest.raises(DataError) as caught:
        KaldiDir.read(written)
    for part in parts:
        assert part in str(caught.value)


def test_alignment_times_survive_to_one_sample(tmp_path):
    segments = [PhoneSegment(0.0, 1 / 16000, "a"), PhoneSegment(1 / 16000, 0.0, "b")]
    directory = KaldiDir.from_utterances([utterance("a")], phones={"a": segments})
    directory.write(tmp_path / "d")
    assert KaldiDir.read(tmp_path / "d").phones == {"a": segments}
    line = (tmp_path / "d" / "phn.ctm").read_text().splitlines()[0]
    assert line == "a 1 0.0000000 0.0000625 a"
