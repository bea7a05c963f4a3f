"""Digests of a stage's inputs and outputs: content, but never hours of audio."""

import hashlib
import os
from pathlib import Path

WHOLE_BELOW_BYTES = 64 * 2**20
END_BYTES = 2**20
MISSING = "missing"
# Read in place and listed by wav.scp, whose content is hashed: names are enough.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".g722", ".pcm")
)


def file_digest(path: Path) -> str:
    """Hash one file: all of it below 64 MiB, else its size and both ends."""
    size = path.stat().st_size
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        if size < WHOLE_BELOW_BYTES:
            while block := stream.read(2**20):
                digest.update(block)
        else:
            digest.update(stream.read(END_BYTES))
            stream.seek(-END_BYTES, os.SEEK_END)
            digest.update(stream.read(END_BYTES))
    return f"{size}:{digest.hexdigest()}"


def digests(path: Path) -> dict[str, str]:
    """Map every file that ``path`` stands for to its digest.

    Args:
        path: A file, or a directory, which stands for all files in it except
            hidden ones (marks, locks); audio files count by name alone.

    Returns:
        ``{file name: digest}``; a missing path gives ``{path: "missing"}``.
    """
    if path.is_file():
        return {str(path): file_digest(path)}
    if not path.is_dir():
        return {str(path): MISSING}
    found = {str(path): "directory"}
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith(".") or not file.is_file():
                continue
            audio = file.suffix.lower() in AUDIO_SUFFIXES
            found[str(file)] = "audio" if audio else file_digest(file)
    return found


def all_digests(paths: list[Path]) -> dict[str, str]:
    """``digests`` of several paths in one mapping."""
    found: dict[str, str] = {}
    for path in paths:
        found.update(digests(path))
    return found
