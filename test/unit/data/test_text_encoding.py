"""UTF-8 or cp949, file by file."""

from pathlib import Path

import pytest

from espnet2_dq.data.text_encoding import decode_korean, read_korean_text
from espnet2_dq.errors import DataError

TEXT = "(70%)/(칠 십 퍼센트) 확률이라니 b/ ㅋㅋ 뷁\n그래.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encodings(tmp_path: Path, encoding: str, line_end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.replace("\n", line_end).encode(encoding))
    assert read_korean_text(path) == TEXT


@pytest.mark.parametrize("text", ["", "ok 100%\n", "漢字", "“é”"])
def test_utf8_without_korean(text: str) -> None:
    assert decode_korean(text.encode(), "x") == text


@pytest.mark.parametrize("text", ["짜", "징", "참 짜"])
def test_short_cp949_that_is_also_utf8(text: str) -> None:
    assert decode_korean(text.encode("cp949"), "x") == text
    assert decode_korean(text.encode("utf-8"), "x") == text


def test_some_cp949_is_valid_utf8() -> None:
    """Else the test above would pass without the rule."""
    assert "짜".encode("cp949").decode("utf-8") == "¥"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("가".encode() + b"\xff\n", r"a\.txt: damaged UTF-8: byte 3 begins"),
        ("가나".encode()[:-1], r"a\.txt: damaged UTF-8: byte 3 begins"),
        (b"\xef\xbb\xbfab\xb0\xa1", r"a\.txt: damaged UTF-8: byte 5 begins"),
        (b"abc \xff\xff", r"neither cp949 \(up to byte 4\) nor UTF-8: byte 4"),
        ("가 나".encode("utf-16-le"), r"a\.txt: byte 0 is 0: .* iconv"),
        ("가\n".encode("utf-16"), r"a\.txt: byte \d is 0"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message):
        read_korean_text(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.txt: cannot be read"):
        read_korean_text(tmp_path / "none.txt")


def test_damaged_utf8_is_hardly_ever_taken_for_cp949() -> None:
    """One lost byte anywhere after the first syllable is an error, not nonsense."""
    raw = "확률이라니 뭐 소리야 진짜".encode()
    for lost in range(3, len(raw)):
        damaged = raw[:lost] + raw[lost + 1 :]
        if raw[lost : lost + 1] == b" ":
            continue
        with pytest.raises(DataError, match="damaged UTF-8"):
            decode_korean(damaged, "x")
