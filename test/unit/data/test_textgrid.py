"""Phones of TextGrid files, as MFA and other tools write them."""

from pathlib import Path

import pytest
from praatio import textgrid

from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.textgrid import TextGridError, read_textgrid

PHONES = [(0.1, 0.3, "a"), (0.3, 0.6, 'b"')]
# As the aligner writes it: long text format, a blank before most line ends, empty
# labels for silence.
_MFA = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.0
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.0
        intervals: size = 3
        intervals [1]:
            xmin = 0.0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.6
            text = "ab"
        intervals [3]:
            xmin = 0.6
            xmax = 1.0
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.0
        intervals: size = 4
        intervals [1]:
            xmin = 0.0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.3
            text = "a"
        intervals [3]:
            xmin = 0.3
            xmax = 0.6
            text = "ʃ"
        intervals [4]:
            xmin = 0.6
            xmax = 1.0
            text = ""
"""
MFA = _MFA.replace("\n", " \n")


def write(path: Path, *, speakers: tuple[str, ...] = (), form: str = "short") -> Path:
    """A file with words and phones, by speaker if there are any."""
    grid = textgrid.Textgrid()
    for prefix in [f"{speaker} - " for speaker in speakers] or [""]:
        words = textgrid.IntervalTier(f"{prefix}words", [(0.1, 0.6, "ab")], 0, 1.0)
        grid.addTier(words)
        grid.addTier(textgrid.IntervalTier(f"{prefix}phones", PHONES, 0, 1.0))
    grid.addTier(textgrid.PointTier("clicks", [(0.2, "x")], 0, 1.0))
    grid.save(str(path), format=f"{form}_textgrid", includeBlankSpaces=True)
    return path


def test_what_mfa_writes(tmp_path: Path) -> None:
    path = tmp_path / "u.TextGrid"
    path.write_text(MFA, encoding="utf-8")
    tier = read_textgrid(path)
    assert [s.phone for s in tier.segments] == ["a", "ʃ"]
    assert tier.segments[0] == PhoneSegment(0.1, pytest.approx(0.2), "a")
    assert tier.end_s == 1.0


@pytest.mark.parametrize("form", ["short", "long"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_both_text_formats(tmp_path, form, encoding, line_end) -> None:
    path = write(tmp_path / "u.TextGrid", form=form)
    text = path.read_text(encoding="utf-8").replace("\n", line_end)
    path.write_bytes(text.encode(encoding))
    tier = read_textgrid(path)
    assert [(s.start_s, s.phone) for s in tier.segments] == [(0.1, "a"), (0.3, 'b"')]
    assert tier.end_s == 1.0


def test_tier_of_the_speaker_is_found_if_there_is_one(tmp_path: Path) -> None:
    one = write(tmp_path / "a.TextGrid", speakers=("anna",))
    assert len(read_textgrid(one).segments) == 2
    assert read_textgrid(one, "anna - words").segments[0].phone == "ab"
    two = write(tmp_path / "b.TextGrid", speakers=("anna", "bo"))
    with pytest.raises(TextGridError, match="2 tiers end with 'phones'.*'bo - phones'"):
        read_textgrid(two)
    assert len(read_textgrid(two, "bo - phones").segments) == 2


def test_unknown_tier_lists_those_that_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "u.TextGrid")
    with pytest.raises(
        TextGridError, match="no tier 'fones'; tiers: 'words', 'phones', 'clicks'"
    ) as caught:
        read_textgrid(path, "fones")
    assert str(path) in str(caught.value)
    with pytest.raises(TextGridError, match="tier 'clicks' holds points"):
        read_textgrid(path, "clicks")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "unreadable"),
        (b"once upon a time", "unreadable"),
        (b"\x00\xff\xfe\x81", "unreadable"),
        (MFA[:150].encode(), "unreadable"),
        (MFA.replace("xmax = 0.3", "xmax = 0.4").encode(), "inconsistent.*overlap"),
        (MFA.replace('text = "a"', 'text = "a b"').encode(), "malformed.*'a b'"),
    ],
)
def test_broken_files_are_named(tmp_path, content, reason) -> None:
    path = tmp_path / "u.TextGrid"
    path.write_bytes(content)
    with pytest.raises(TextGridError, match=reason) as caught:
        read_textgrid(path)
    assert str(path) in str(caught.value)
    assert not caught.value.reason.startswith(str(path))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextGridError, match=r"none\.TextGrid: unreadable"):
        read_textgrid(tmp_path / "none.TextGrid")


def test_a_file_that_was_cut_off_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "u.TextGrid"
    path.write_text(MFA[: MFA.rindex("        intervals [4]")], encoding="utf-8")
    assert read_textgrid(path).end_s == pytest.approx(0.6)
