"""Whose phone times are taken, and which of them cannot belong to their sounds."""

from pathlib import Path

import pytest
from factories import make_kaldi_dir
from praatio import textgrid

from espnet2_dq.analysis.alignments import (
    AlignmentOptions,
    exact_alignments,
    user_alignments,
)
from espnet2_dq.analysis.stage import REJECTS, AlignmentSource
from espnet2_dq.data.ctm import PhoneSegment, read_rejects, write_ctm
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import ConfigError, DataError

PHONES = [PhoneSegment(0.1, 0.4, "a"), PhoneSegment(0.5, 0.4, "b")]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Eight utterances of 1 s."""
    make_kaldi_dir(tmp_path / "test", with_audio=False)
    return tmp_path / "test"


def utterances(data_dir: Path) -> list[str]:
    return list(read_table(data_dir / "utt2spk"))


def write_grid(path: Path, phones=PHONES, *, end_s: float = 1.0, tier="phones") -> None:
    grid = textgrid.Textgrid()
    entries = [(p.start_s, p.start_s + p.duration_s, p.phone) for p in phones]
    grid.addTier(textgrid.IntervalTier("words", [(0.1, 0.9, "w")], 0, end_s))
    grid.addTier(textgrid.IntervalTier(tier, entries, 0, end_s))
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


def test_exact_alignments_of_the_directory(tmp_path: Path) -> None:
    make_kaldi_dir(tmp_path / "a", phones=True, with_audio=False)
    found = exact_alignments(tmp_path / "a")
    assert (found.kind, len(found.phones), found.missing) == ("exact", 8, 0)
    assert found.notes() == []
    make_kaldi_dir(tmp_path / "b", with_audio=False)
    assert exact_alignments(tmp_path / "b").kind == "none"
    assert exact_alignments(tmp_path / "b").notes() == []


def test_folder_of_textgrids_with_subfolders(data_dir: Path, tmp_path: Path) -> None:
    utts = utterances(data_dir)
    for utt in utts[:7]:
        write_grid(tmp_path / "mfa" / utt[:2] / f"{utt}.TextGrid")
    write_grid(tmp_path / "mfa" / "stranger.TextGrid")
    found = user_alignments(tmp_path / "mfa", data_dir)
    assert (found.kind, found.missing, found.rejects) == ("textgrid", 1, [])
    assert sorted(found.phones) == utts[:7]
    assert [s.phone for s in found.phones[utts[0]]] == ["a", "b"]
    assert any("only if MFA made them" in note for note in found.notes())
    assert any("1 utterances are not in" in note for note in found.notes())


def test_ctm_file(data_dir: Path, tmp_path: Path) -> None:
    phones = dict.fromkeys([*utterances(data_dir), "stranger"], PHONES)
    write_ctm(tmp_path / "mine.ctm", phones)
    found = user_alignments(tmp_path / "mine.ctm", data_dir)
    assert (found.kind, len(found.phones), found.missing) == ("ctm", 8, 0)
    assert any("CTM files" in note for note in found.notes())


def test_alignments_that_do_not_fit_are_rejected_with_reason(
    data_dir: Path, tmp_path: Path
) -> None:
    short, long, overlap, tier, broken, good, *_ = utterances(data_dir)
    folder = tmp_path / "mfa"
    early = [PhoneSegment(0.1, 0.2, "a")]
    write_grid(folder / f"{short}.TextGrid", early, end_s=0.9)
    text = (folder / f"{short}.TextGrid").read_text().replace("0.9", "0.31")
    (folder / f"{short}.TextGrid").write_text(text)
    write_grid(folder / f"{long}.TextGrid", end_s=2.5)
    write_grid(folder / f"{overlap}.TextGrid")
    text = (folder / f"{overlap}.TextGrid").read_text().replace("= 0.1", "= 0.1")
    text = text.replace("xmin = 0.5", "xmin = 0.3")
    (folder / f"{overlap}.TextGrid").write_text(text)
    write_grid(folder / f"{tier}.TextGrid", tier="Phonemes")
    (folder / f"{broken}.TextGrid").write_text("no grid")
    write_grid(folder / f"{good}.TextGrid")
    found = user_alignments(folder, data_dir)
    reasons = dict(found.rejects)
    assert list(found.phones) == [good]
    assert found.missing == 2
    assert reasons[short].startswith("too short: the alignment ends at 0.31 s, the")
    assert "sound at 1.00 s; a difference of 0.5 s is allowed" in reasons[short]
    assert reasons[long].startswith("too long: the alignment ends at 2.50 s")
    assert "overlap" in reasons[overlap]
    assert "tiers: 'words', 'Phonemes'" in reasons[tier]
    assert reasons[broken].startswith("unreadable")
    assert any("5 alignments" in note for note in found.notes())


def test_overlaps_beyond_a_frame_are_rejected_in_a_ctm(data_dir, tmp_path) -> None:
    rounded, wrong, *_ = utterances(data_dir)
    overlapping = [PhoneSegment(0.0, 0.51, "a"), PhoneSegment(0.5, 0.5, "b")]
    far = [PhoneSegment(0.0, 0.6, "a"), PhoneSegment(0.5, 0.5, "b")]
    write_ctm(tmp_path / "x.ctm", {rounded: overlapping, wrong: far})
    found = user_alignments(tmp_path / "x.ctm", data_dir)
    assert list(found.phones) == [rounded]
    ((utt, reason),) = found.rejects
    assert utt == wrong
    assert reason == "overlap: 'a' ends at 0.600 s, 'b' starts at 0.500 s"


def test_tolerance_is_the_users(data_dir: Path, tmp_path: Path) -> None:
    write_ctm(tmp_path / "x.ctm", dict.fromkeys(utterances(data_dir), PHONES[:1]))
    allowed = AlignmentOptions(tolerance_s=0.5)
    assert not user_alignments(tmp_path / "x.ctm", data_dir, allowed).rejects
    strict = AlignmentOptions(tolerance_s=0.49)
    assert len(user_alignments(tmp_path / "x.ctm", data_dir, strict).rejects) == 8
    with pytest.raises(ConfigError, match="alignment_tolerance_s"):
        AlignmentOptions(tolerance_s=-0.1)


def test_labels_that_end_before_their_sounds_stop_the_run(data_dir, tmp_path) -> None:
    samples = dict.fromkeys(utterances(data_dir), "16000")
    first = min(samples)
    write_table(data_dir / "utt2num_samples", samples | {first: "48000"})
    write_ctm(data_dir / "phn.ctm", dict.fromkeys(samples, PHONES))
    out = tmp_path / "out"
    with pytest.raises(
        DataError, match=r"ends at 0\.90 s, the sound at 3\.00 s"
    ) as stop:
        AlignmentSource().load(data_dir, out)
    assert first in str(stop.value)
    assert "1 of 8" in str(stop.value)
    assert [utt for utt, _ in read_rejects(out / REJECTS)] == [first]
    lax = AlignmentSource(options=AlignmentOptions(max_reject_ratio=0.2))
    found = lax.load(data_dir, out)
    assert (len(found.phones), len(found.rejects)) == (7, 1)


def test_list_of_rejects_does_not_outlive_its_cause(data_dir, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / REJECTS).write_text("old\treason\n")
    write_ctm(data_dir / "phn.ctm", dict.fromkeys(utterances(data_dir), PHONES))
    AlignmentSource().load(data_dir, out)
    assert not (out / REJECTS).exists()


def test_nothing_of_use_is_an_error_that_says_why(data_dir: Path, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.TextGrid"):
        user_alignments(tmp_path / "empty", data_dir)
    write_grid(tmp_path / "mfa" / "stranger.TextGrid")
    with pytest.raises(DataError, match="none of the 8 utterances"):
        user_alignments(tmp_path / "mfa", data_dir)
    with pytest.raises(DataError, match="give the folder"):
        user_alignments(tmp_path / "mfa" / "stranger.TextGrid", data_dir)
    write_ctm(tmp_path / "x.ctm", {"stranger": PHONES})
    with pytest.raises(DataError, match="'stranger': files and lines are found by"):
        user_alignments(tmp_path / "x.ctm", data_dir)
    with pytest.raises(DataError, match="cannot be read"):
        user_alignments(tmp_path / "none.ctm", data_dir)
    with pytest.raises(ConfigError, match="one of the two"):
        AlignmentSource(tmp_path, tmp_path)


def test_two_files_for_one_utterance_are_refused(data_dir: Path, tmp_path) -> None:
    utt = utterances(data_dir)[0]
    write_grid(tmp_path / "mfa" / "a" / f"{utt}.TextGrid")
    write_grid(tmp_path / "mfa" / "b" / f"{utt}.TextGrid")
    with pytest.raises(DataError, match="is also aligned in"):
        user_alignments(tmp_path / "mfa", data_dir)
