"""Where a copy of KsponSpeech keeps its scripts, sounds and transcriptions.

The corpus as released (METHODS 7.4)::

    KsponSpeech_01..05/KsponSpeech_0001/KsponSpeech_000001.pcm   (+ .txt, cp949)
    KsponSpeech_eval/eval_{clean,other}/KsponSpeech_E00001.pcm
    KsponSpeech_scripts/{train,dev,eval_clean,eval_other}.trn    path :: text

Copies differ in folders between: the scripts may lie in ``scripts/`` or at the top,
and the paths in them may begin one folder too high. A sound is therefore found by its
file name, which is unique in the corpus; the path in the script only chooses between
two files of one name.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_dq.data.rejects import Reject
from espnet2_dq.data.text_encoding import read_korean_text
from espnet2_dq.errors import DataError

# Script -> name of the set; the shared recipe takes every test*.
SETS = {
    "train": "train",
    "dev": "dev",
    "eval_clean": "test_clean",
    "eval_other": "test_other",
}
# dev.trn begins here; only needed where the scripts are missing.
FIRST_DEV_NUMBER = 620001
_NAME = re.compile(r"KsponSpeech_(E?\d+)$")
_SOUNDS = (".pcm", ".wav", ".flac")  # a copy converted by the user is fine
EXPECTED = (
    "KsponSpeech_01..05/KsponSpeech_0001/KsponSpeech_000001.pcm, "
    "KsponSpeech_eval/eval_{clean,other}/KsponSpeech_E00001.pcm and "
    "KsponSpeech_scripts/{train,dev,eval_clean,eval_other}.trn with lines "
    "'path :: text' (or, without scripts, a .txt beside each .pcm)"
)


@dataclass
class Layout:
    """What lies below the root of a copy.

    Attributes:
        root: The folder that was searched.
        scripts: Script name (``eval_clean``) -> file.
        sounds: File name without suffix -> sound files of that name, the best first.
        texts: File name without suffix -> its ``.txt``.
    """

    root: Path
    scripts: dict[str, Path]
    sounds: dict[str, list[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def sound_of(self, stem: str, written: str) -> str | None:
        """The sound file named ``stem``; ``written`` is its path in the script."""
        found = self.sounds.get(stem)
        if not found:
            return None
        tail = "/" + written.lstrip("./")
        return next((path for path in found if path.endswith(tail)), found[0])

    def describe(self) -> str:
        """What was found, for error messages."""
        entries = sorted(p.name for p in self.root.iterdir()) if self.exists() else []
        more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
        top = f"at the top: {' '.join(entries[:8]) or 'nothing'}{more}"
        return (
            f"{len(self.scripts)} scripts ({' '.join(self.scripts) or 'none'}), "
            f"{len(self.sounds)} sounds and {len(self.texts)} .txt named "
            f"KsponSpeech_<number>; {top}"
        )

    def exists(self) -> bool:
        """Whether the root is a folder at all."""
        return self.root.is_dir()


@dataclass(frozen=True)
class ScriptLine:
    """One transcription as written; ``where`` names the file (and line) it is from."""

    stem: str
    path: str
    transcription: str
    where: str


def find_layout(root: Path) -> Layout:
    """Look for scripts, sounds and texts below ``root``.

    Raises:
        DataError: A script lies in two places.
    """
    layout = Layout(root.absolute(), _find_scripts(root.absolute()))
    # a corpus is often spread over disks and joined by links
    for folder, folders, names in os.walk(layout.root, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if not _NAME.match(stem):
                continue
            path = os.path.join(folder, name)
            if suffix.lower() in _SOUNDS:
                layout.sounds.setdefault(stem, []).append(path)
            elif suffix.lower() == ".txt":
                layout.texts.setdefault(stem, path)
    for found in layout.sounds.values():
        found.sort(key=lambda path: _SOUNDS.index(os.path.splitext(path)[1].lower()))
    return layout


def _find_scripts(root: Path) -> dict[str, Path]:
    """Scripts at the top or one folder below."""
    if not root.is_dir():
        return {}
    folders = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    scripts: dict[str, Path] = {}
    for name in SETS:
        found = [f / f"{name}.trn" for f in folders if (f / f"{name}.trn").is_file()]
        if len(found) > 1:
            raise DataError(
                f"{root}: {name}.trn lies in two places: {found[0]} and {found[1]}; "
                "keep one"
            )
        scripts.update((name, path) for path in found)
    return scripts


def file_number(stem: str) -> str:
    """The digits of a file name, which some text rules ask for.

    >>> file_number("KsponSpeech_087797"), file_number("KsponSpeech_E00001")
    ('087797', 'E00001')
    """
    return stem.rpartition("_")[2]


def script_of(path: str) -> str:
    """Which script a sound belongs to, where none names it."""
    parts = Path(path).parts
    for name in ("eval_clean", "eval_other"):
        if name in parts:
            return name
    number = file_number(Path(path).stem)
    return "dev" if number.isdigit() and int(number) >= FIRST_DEV_NUMBER else "train"


def read_script(path: Path) -> tuple[list[ScriptLine], list[Reject]]:
    """Lines ``path :: text`` of a script, and those that are not of this form.

    Raises:
        DataError: The file is neither UTF-8 nor cp949.
    """
    lines: list[ScriptLine] = []
    rejects: list[Reject] = []
    first: dict[str, str] = {}
    for number, line in enumerate(read_korean_text(path).split("\n"), start=1):
        where = f"{path.name}:{number}"
        sound, mark, transcription = (part.strip() for part in line.partition("::"))
        stem = Path(sound.replace("\\", "/")).stem
        if not line.strip():
            continue
        if not mark or not stem or re.search(r"\s", stem):
            rejects.append(
                (where, f"malformed: {line.strip()[:60]!r} is no 'path :: text'")
            )
        elif stem in first:
            rejects.append((where, f"duplicate id: '{stem}', also {first[stem]}"))
        else:
            first[stem] = where
            lines.append(ScriptLine(stem, sound, transcription, where))
    return lines, rejects


def texts_of(layout: Layout, script: str) -> Iterator[tuple[str, str]]:
    """(file name without suffix, ``.txt`` file) of one set, for want of its script."""
    for stem in sorted(layout.texts):
        beside = layout.sounds.get(stem, [layout.texts[stem]])[0]
        if script_of(beside) == script:
            yield stem, layout.texts[stem]
