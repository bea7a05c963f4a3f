"""NIST transcripts (``.trn``): ``token token (speaker-utterance)``, one a line.

sclite reads ``{`` as the start of alternatives (and crashes on some), ``@`` as "no
word", ``(`` as an id or an optional word and ``;;`` as a comment. Such characters are
therefore percent-encoded, in references and hypotheses alike, so that a comparison of
two tokens is not affected and no token is lost.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import DataError

_RESERVED = frozenset("%@{}()/;\ufeff")
_LINE = re.compile(r"(?:(?P<tokens>.*) )?\((?P<speaker>[^()-]*)-(?P<utt>[^()]*)\)")


@dataclass(frozen=True)
class Transcript:
    """One line of a ``.trn`` file."""

    speaker: str
    tokens: tuple[str, ...]


def escape(text: str, also: str = "") -> str:
    """Percent-encode what sclite or a line of blanks-separated tokens cannot hold.

    Args:
        text: A token, a speaker or an utterance id.
        also: Further characters to encode.

    >>> escape("{a@"), escape("tʃ"), escape("<space>")
    ('%7Ba%40', 'tʃ', '<space>')
    """
    return "".join(
        "".join(f"%{byte:02X}" for byte in letter.encode("utf-8"))
        if letter in _RESERVED or letter in also or _is_blank(letter)
        else letter
        for letter in text
    )


def _is_blank(letter: str) -> bool:
    return letter.isspace() or not (letter.isprintable() or ord(letter) > 0x9F)


def unescape(text: str) -> str:
    """Undo ``escape``."""
    return unquote_to_bytes(text).decode("utf-8")


def write_trn(
    path: Path | str,
    transcripts: Mapping[str, Sequence[str]],
    utt2spk: Mapping[str, str],
) -> None:
    """Write transcripts sorted by utterance.

    Raises:
        DataError: An utterance without a speaker, or an empty token.
    """
    lines = []
    for utt in sorted(transcripts):
        if utt not in utt2spk:
            raise DataError(f"{path}: '{utt}' has no speaker in utt2spk; add it")
        if "" in transcripts[utt]:
            raise DataError(f"{path}: '{utt}' holds an empty token; remove it")
        tokens = [escape(token) for token in transcripts[utt]]
        # sclite takes what stands before the first hyphen as the speaker
        name = f"({escape(utt2spk[utt], also='-')}-{escape(utt)})"
        lines.append(" ".join([*tokens, name]))
    write_lines(path, lines)


def read_trn(path: Path | str) -> dict[str, Transcript]:
    """Read a file that ``write_trn`` wrote: utterance -> transcript.

    Raises:
        DataError: A line without ``(speaker-utterance)``, or an utterance twice.
    """
    transcripts: dict[str, Transcript] = {}
    for number, line in enumerate(read_lines(path), start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise DataError(
                f"{path}:{number}: {line[-60:]!r} does not end in '(speaker-utterance)'"
            )
        utt = unescape(found["utt"])
        if utt in transcripts:
            raise DataError(f"{path}:{number}: '{utt}' stands already above")
        tokens = tuple(unescape(t) for t in (found["tokens"] or "").split(" ") if t)
        transcripts[utt] = Transcript(unescape(found["speaker"]), tokens)
    return transcripts
