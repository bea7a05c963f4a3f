r"""Two-column Kaldi tables: strict reading, LC_ALL=C sorting, atomic writing.

A table is a UTF-8 file of ``key value`` lines. Lines end at ``\n`` only and columns
part at ASCII blanks only, so that U+2028 or U+00A0 inside a transcript stay where
they are.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet2_dq.errors import DataError

_BLANKS = " \t\r"


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
    rows = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if rows and not rows[-1].strip():
        rows.pop()
    lines = []
    for number, row in enumerate(rows, start=1):
        try:
            lines.append(row.decode("utf-8").strip(_BLANKS))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: not UTF-8 ({row[:60]!r}); "
                "convert the file, for example with iconv -t UTF-8"
            ) from error
    return lines


def split_line(line: str) -> tuple[str, str]:
    """Split a stripped line at its first run of ASCII blanks; value may be ``""``."""
    for position, letter in enumerate(line):
        if letter in _BLANKS:
            return line[:position], line[position:].strip(_BLANKS)
    return line, ""


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
        where = f"{path}:{number}"
        key, value = split_line(line)
        if not key:
            raise DataError(f"{where}: empty line; remove it")
        if key.split() != [key]:
            raise DataError(f"{where}: id {key!r} holds a blank of Unicode; rename it")
        if not value and not allow_empty:
            raise DataError(
                f"{where}: '{key}' has no value; write '{key} <value>' or remove it"
            )
        if key in table:
            raise DataError(
                f"{where}: '{key}' stands already on line {seen_at[key]}; "
                "keep one of the two"
            )
        if require_sorted and key < previous:
            raise DataError(
                f"{where}: '{key}' comes after '{previous}'; "
                f"sort the file: LC_ALL=C sort -o {path} {path}"
            )
        table[key], seen_at[key], previous = value, number, key
    return table


def write_lines(path: Path | str, lines: Iterable[str]) -> None:
    """Write lines to ``path`` atomically: a reader sees the old or the new file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
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
    if key.split() != [key]:
        raise DataError(f"{path}: key {key!r} is empty or holds a blank; rename it")
    if "\n" in value or "\r" in value:
        raise DataError(f"{path}: value of '{key}' holds a line end: {value!r}")
    return f"{key} {value.strip(_BLANKS)}".rstrip(_BLANKS)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
