import os

import pytest
from factories import write_files

from espnet2_dq.data.tables import read_lines, read_table, write_lines, write_table
from espnet2_dq.errors import DataError


def table(tmp_path, content: bytes):
    (tmp_path / "text").write_bytes(content)
    return tmp_path / "text"


def test_values_keep_inner_blanks_and_unicode_separators(tmp_path):
    path = table(tmp_path, "u1 a  b\u2028c\u00a0d\nu2\tx\r\n".encode())
    assert read_table(path) == {"u1": "a  b\u2028c\u00a0d", "u2": "x"}


def test_byte_order_mark_is_not_part_of_the_first_key(tmp_path):
    assert read_table(table(tmp_path, b"\xef\xbb\xbfu1 a\n")) == {"u1": "a"}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"u1 a\nu2 b\nu1 c\n", [":3:", "'u1'", "line 1", "keep one"]),
        (b"u1 a\n\nu2 b\n", [":2:", "empty line", "remove"]),
        (b"u1 a\nu2\n", [":2:", "'u2' has no value", "write"]),
        ("u1 a\nu\u00a02 b\n".encode(), [":2:", "blank of Unicode", "rename"]),
        (b"u1 a\nu2 \xff\xfe\n", [":2:", "not UTF-8", "iconv"]),
    ],
)
def test_errors_name_file_line_value_and_fix(tmp_path, content, parts):
    path = table(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    for part in parts:
        assert part in str(caught.value)


def test_unsorted_is_refused_only_on_request(tmp_path):
    path = table(tmp_path, b"u2 a\nu1 b\n")
    assert list(read_table(path)) == ["u2", "u1"]
    with pytest.raises(DataError, match=r":2: 'u1' comes after 'u2'.*LC_ALL=C sort"):
        read_table(path, require_sorted=True)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_lines(tmp_path / "nothing")


def test_written_in_c_order(tmp_path):
    write_table(tmp_path / "t", {"b": "1", "a-1": "2", "a": "3", "é": "4", "Z": "5"})
    keys = [line.split()[0] for line in (tmp_path / "t").read_text().splitlines()]
    assert keys == sorted(keys, key=str.encode) == ["Z", "a", "a-1", "b", "é"]


@pytest.mark.parametrize(
    "bad",
    [
        {"": "x"},
        {"a b": "x"},
        {"a\n": "x"},
        {"a\u00a0": "x"},
        {"a": "x\ny"},
        {"a": "x\ry"},
    ],
)
def test_unwritable_keys_and_values(tmp_path, bad):
    with pytest.raises(DataError):
        write_table(tmp_path / "t", bad)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path):
    write_files(tmp_path, {"t": "old\n"})

    def lines():
        yield "new"
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_lines(tmp_path / "t", lines())
    assert (tmp_path / "t").read_text() == "old\n"
    assert os.listdir(tmp_path) == ["t"]
