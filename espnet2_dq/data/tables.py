r"""Two-column Kaldi tables: strict reading, LC_ALL=C sorting, atomic writing.

A table is a UTF-8 file of ``key value`` lines. Lines end at ``\n`` only and columns
part at ASCII blanks only, so that U+2028 or U+00A0 inside a transcript stay where
they are.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet2_dq.errors import DataError

_BLANKS = " \t\r"
_FIRST_BLANK = re.compile(f"[{_BLANKS}]")
_ANY_BLANK = re.compile(r"\s")


def read_lines(path: Path | str) -> list[str]:
    """Read a UTF-8 text file as lines without their line ends.

    Raises:
        DataError: The file is missing, unreadable or not UTF-8 (the line is named).
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        rows = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        row = raw.split(b"\n")[number - 1]
        raise DataError(
            f"{path}:{number}: not UTF-8 ({row[:60]!r}); "
            "convert the file, for example with iconv -t UTF-8"
        ) from error
    if not rows[-1].strip(_BLANKS):
        rows.pop()
    return [row.strip(_BLANKS) for row in rows]


def split_line(line: str) -> tuple[str, str]:
    """Split a stripped line at its first run of ASCII blanks; value may be ``""``."""
    found = _FIRST_BLANK.search(line)
    if found is None:
        return line, ""
    return line[: found.start()], line[found.end() :].strip(_BLANKS)


def read_table(
    path: Path | str, *, allow_empty: bool = False, require_sorted: bool = False
) -> dict[str, str]:
    """Read a two-column table in file order.

    Args:
        path: The table.
        allow_empty: Accept keys without a value (transcripts may be empty).
        require_sorted: Refuse keys that are not in LC_ALL=C order.

    Raises:
        DataError: With file, line number, the value and the fix.
    """
    table: dict[str, str] = {}
    seen_at: dict[str, int] = {}
    previous = ""
    for number, line in enumerate(read_lines(path), start=1):
        key, value = split_line(line)
        if not key:
            raise DataError(f"{path}:{number}: empty line; remove it")
        if _ANY_BLANK.search(key):
            raise DataError(
                f"{path}:{number}: id {key!r} holds a blank of Unicode; rename it"
            )
        if not value and not allow_empty:
            raise DataError(
                f"{path}:{number}: '{key}' has no value; "
                f"write '{key} <value>' or remove it"
            )
        if key in table:
            raise DataError(
                f"{path}:{number}: '{key}' stands already on line {seen_at[key]}; "
                "keep one of the two"
            )
        if require_sorted and key < previous:
            raise DataError(
                f"{path}:{number}: '{key}' comes after '{previous}'; "
                f"sort the file: LC_ALL=C sort -o {path} {path}"
            )
        table[key], seen_at[key], previous = value, number, key
    return table


def write_lines(path: Path | str, lines: Iterable[str]) -> None:
    """Write lines to ``path`` atomically: a reader sees the old or the new file.

    Nothing is forced to the disk (0.1 s a file on a busy one): after a loss of power
    the recipe's done-marks, which hold digests, show what has to be made again.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_table(path: Path | str, table: Mapping[str, str]) -> None:
    """Write a two-column table sorted as LC_ALL=C does (UTF-8 bytes of the key).

    Raises:
        DataError: A key that is empty or holds a blank, a value with a line end.
    """
    write_lines(path, (_table_line(path, key, table[key]) for key in sorted(table)))


def _table_line(path: Path | str, key: str, value: str) -> str:
    """One checked line; order of code points equals order of UTF-8 bytes.

    ESPnet's reader splits lines at any blank of Unicode, so no key may hold one.
    """
    if not key or _ANY_BLANK.search(key):
        raise DataError(f"{path}: key {key!r} is empty or holds a blank; rename it")
    if "\n" in value or "\r" in value:
        raise DataError(f"{path}: value of '{key}' holds a line end: {value!r}")
    return f"{key} {value.strip(_BLANKS)}".rstrip(_BLANKS)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
