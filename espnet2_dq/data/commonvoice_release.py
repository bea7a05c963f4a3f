"""A CommonVoice release on disk: finding it, its languages, its tables.

Nothing is ever downloaded: the licence asks every user to fetch the corpus.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.rejects import Reject
from espnet2_dq.data.tables import read_lines
from espnet2_dq.errors import DataError

NEEDED_COLUMNS = ("client_id", "path", "sentence")
CPC_LISTS = {
    "train": "{lang}/trainSeqs_1.0_uniform_new_version.txt",
    "dev": "{lang}/valSeqs_1.0_uniform_new_version.txt",
    "test": "{lang}/testSeqs_uniform_new_version.txt",
}
_NOT_IN_NAMES = re.compile(r"[\s\x00]")
TABLES = ("train", "dev", "test", "validated", "other", "invalidated")


@dataclass(frozen=True)
class Clip:
    """One row of a table.

    Attributes:
        clip: Clip id: the name of the sound file without its suffix.
        path: Sound file, absolute.
        client: Anonymous id of the speaker.
        sentence: Prompt, blanks collapsed; may be empty.
        lang: Language code as the user wrote it.
        source: Table that the row was read from.
    """

    clip: str
    path: str
    client: str
    sentence: str
    lang: str
    source: str


def how_to_get(langs: Iterable[str]) -> str:
    """What to fetch, and where to say that it is there."""
    return (
        "Fetch 'Common Voice Scripted Speech' 6.0 or later for "
        f"{' '.join(langs)} from commonvoice.mozilla.org (accept the licence), "
        "unpack every archive with 'tar -xzf FILE' into one folder, and set "
        "COMMONVOICE=<folder that holds cv-corpus-*/<language>/> in db.sh"
    )


def find_release(corpus: Path, langs: Sequence[str]) -> Path:
    """The folder that holds one folder per language.

    Args:
        corpus: That folder itself, or its parent with one ``cv-corpus-*``.
        langs: Languages asked for, for the message.

    Raises:
        DataError: Nothing there, archives only, or several releases.
    """
    if not corpus.is_dir():
        raise DataError(f"{corpus}: no such folder. {how_to_get(langs)}")
    if language_folders(corpus):
        return corpus
    releases = [p for p in sorted(corpus.glob("cv-corpus-*")) if language_folders(p)]
    if len(releases) == 1:
        return releases[0]
    if releases:
        names = " ".join(p.name for p in releases)
        raise DataError(
            f"{corpus}: several releases ({names}); point COMMONVOICE in db.sh at one"
        )
    archives = sorted([*corpus.glob("*.tar.gz"), *corpus.glob("*.tgz")])
    if archives:
        raise DataError(
            f"{corpus}: {len(archives)} archives but nothing unpacked; run: "
            f"tar -xzf {archives[0]} -C {corpus} (and so on)"
        )
    raise DataError(
        f"{corpus}: no <language>/train.tsv or cv-corpus-*/<language>/train.tsv. "
        f"{how_to_get(langs)}"
    )


def language_folders(release: Path) -> dict[str, Path]:
    """Folders of a release that hold tables, by CommonVoice's language code."""
    if not release.is_dir():
        return {}
    return {
        entry.name: entry
        for entry in sorted(release.iterdir())
        if any((entry / f"{name}.tsv").is_file() for name in TABLES)
    }


def language_folder(release: Path, lang: str) -> Path:
    """The folder of ``lang``; ``sv`` finds ``sv-SE`` where that is the only one.

    Raises:
        DataError: Unknown or ambiguous code; the codes present are listed.
    """
    folders = language_folders(release)
    if lang in folders:
        return folders[lang]
    regional = [name for name in folders if name.startswith(f"{lang}-")]
    if len(regional) == 1:
        return folders[regional[0]]
    problem = "is ambiguous" if regional else "is not here"
    raise DataError(
        f"{release}: language '{lang}' {problem}; this copy holds: "
        f"{' '.join(regional or folders)}. {how_to_get([lang])}"
    )


def read_clips(path: Path, lang: str) -> tuple[list[Clip], list[Reject]]:
    """Read one table of a release.

    Fields are split at tabs only: the corpus holds unbalanced quotes, at which a CSV
    reader swallows the lines up to the next one. A line that cannot be read becomes a
    reject; its id is ``<file>:<line>``.

    Raises:
        DataError: The file or one of the needed columns is missing.
    """
    try:
        rows = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); every language folder needs "
            f"{' '.join(f'{name}.tsv' for name in TABLES[:3])}: unpack it again"
        ) from error
    header = rows[0].decode("utf-8", errors="replace").rstrip("\r").split("\t")
    missing = [name for name in NEEDED_COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path}:1: columns {' '.join(missing)} are missing; found: "
            f"{' '.join(header)[:200]}"
        )
    clips: list[Clip] = []
    rejects: list[Reject] = []
    sounds = os.path.abspath(path.parent / "clips")
    for number, row in enumerate(rows[1:], start=2):
        if row.strip():
            result = _read_row(row, header, sounds, lang, path.stem)
            if isinstance(result, Clip):
                clips.append(result)
            else:
                rejects.append((f"{lang}-{path.name}:{number}", result))
    return clips, rejects


def _read_row(
    row: bytes, header: Sequence[str], sounds: str, lang: str, source: str
) -> Clip | str:
    """A clip, or the reason why the line is not one."""
    try:
        fields = row.decode("utf-8").rstrip("\r").split("\t")
    except UnicodeDecodeError as error:
        return f"malformed: not UTF-8 at byte {error.start}"
    if len(fields) != len(header):
        return f"malformed: {len(fields)} fields, the header has {len(header)}"
    values = dict(zip(header, fields, strict=True))
    name = values["path"].strip().rpartition("/")[2]
    client = values["client_id"].strip()
    # Old releases sometimes give the clip id without the suffix.
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, "mp3"
    if not stem or not client or _NOT_IN_NAMES.search(name):
        return f"malformed: path {name[:60]!r}, client_id {client[:20]!r}"
    sentence = clean_sentence(values["sentence"])
    return Clip(stem, f"{sounds}/{stem}.{suffix}", client, sentence, lang, source)


def clean_sentence(sentence: str) -> str:
    """Collapse blanks, and undo the quoting that the corpus' own writer applied.

    >>> clean_sentence('"He said ""no""  today."')
    'He said "no" today.'
    >>> clean_sentence('"Unbalanced')
    '"Unbalanced'
    """
    text = " ".join(sentence.split())
    inner = text[1:-1]
    quoted = len(text) >= 2 and text[0] == text[-1] == '"'
    if quoted and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return text


def read_clip_list(path: Path) -> list[str]:
    """Clip ids of a list: the first column of each line, suffix and folder cut off.

    Reads CPC's ``*Seqs*.txt`` and UniSpeech's ``.tsv`` (whose first line is a folder).

    Raises:
        DataError: Missing file or an empty list.
    """
    lines = read_lines(path)
    if lines and lines[0].startswith("/") and "\t" not in lines[0]:
        lines = lines[1:]
    first = [line.split("\t")[0].split()[0] for line in lines if line.strip()]
    ids = [
        re.sub(r"\.(mp3|wav|flac|ogg|opus)$", "", n.rpartition("/")[2]) for n in first
    ]
    if not ids:
        raise DataError(f"{path}: an empty list; one clip id a line is expected")
    return list(dict.fromkeys(ids))


def find_split_lists(folder: Path) -> dict[str, str]:
    """Path patterns of the lists in a folder, by split.

    Known names are ``<lang>_<split>.txt``, ``<lang>/<split>.txt`` and those of the CPC
    1-hour splits.

    Raises:
        DataError: No such folder, or no list in it.
    """
    lists = {}
    for name in CPC_LISTS:
        for pattern in (
            f"{{lang}}_{name}.txt",
            f"{{lang}}/{name}.txt",
            CPC_LISTS[name],
        ):
            if any(folder.glob(pattern.replace("{lang}", "*"))):
                lists[name] = str(folder / pattern)
                break
    if not lists:
        raise DataError(
            f"{folder}: no clip lists; expected <lang>_<split>.txt, "
            f"<lang>/<split>.txt, or as in the CPC splits {CPC_LISTS['train']}, ..."
        )
    return lists
