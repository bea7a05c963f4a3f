"""Korean text files: UTF-8 or cp949, decided for each file.

KsponSpeech's scripts are UTF-8 and its ``.txt`` files cp949 (METHODS 7.4, trap T20);
copies mix both, with and without a byte order mark. A file counts as what decodes
without error. Two cases need the letters as well: a few syllables in cp949 are valid
UTF-8 for other letters (``짜`` is ``¥``), and a damaged UTF-8 file may be valid cp949
for nonsense.
"""

from pathlib import Path

from espnet2_dq.errors import DataError
from espnet2_dq.text.hangul import has_hangul

_BOM = b"\xef\xbb\xbf"


def read_korean_text(path: Path | str) -> str:
    r"""Read a file that is UTF-8, with or without a byte order mark, or cp949.

    Args:
        path: The file.

    Returns:
        Its text; line ends are ``\n``.

    Raises:
        DataError: The file cannot be read, or is in neither encoding: with the file
            and the offset of the first bad byte.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_korean(raw, str(path)).replace("\r\n", "\n")


def decode_korean(raw: bytes, source: str) -> str:
    """Decode the bytes of one file; see :func:`read_korean_text`.

    >>> [decode_korean("짜다".encode(code), "x") for code in ("utf-8", "cp949")]
    ['짜다', '짜다']

    Args:
        raw: All bytes of the file.
        source: What to call it in errors.

    Raises:
        DataError: Neither encoding fits.
    """
    if b"\0" in raw:
        raise DataError(
            f"{source}: byte {raw.index(0)} is 0: not a text in UTF-8 or cp949, but "
            "UTF-16 or sound; convert it with iconv -t UTF-8, or remove it"
        )
    marked = raw.startswith(_BOM)
    utf8, bad = _decode(raw, "utf-8")
    cp949, bad_cp949 = (None, 0) if marked else _decode(raw, "cp949")
    if utf8 is not None:
        # Hangul of cp949 that is valid UTF-8 has two bytes there, too
        if cp949 is not None and has_hangul(cp949) and max(utf8) < "\u0800":
            return cp949
        return utf8.removeprefix("\ufeff")
    damaged = marked or has_hangul(raw[:bad].decode("utf-8"))
    if cp949 is not None and not damaged:
        return cp949
    what = (
        "damaged UTF-8"
        if damaged
        else f"unknown encoding, neither cp949 (up to byte {bad_cp949}) nor UTF-8"
    )
    raise DataError(
        f"{source}: {what}: byte {bad} begins {raw[bad : bad + 4]!r}; repair the file, "
        "or convert it with iconv -t UTF-8"
    )


def _decode(raw: bytes, encoding: str) -> tuple[str | None, int]:
    """The text, or None and the offset of the first byte that does not fit."""
    try:
        return raw.decode(encoding), -1
    except UnicodeDecodeError as error:
        return None, error.start
