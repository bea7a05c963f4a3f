"""Stage 1 for ClovaCall: a local copy as Kaldi data directories.

Layout: ``{train,test}_ClovaCall.json``, lists of ``{"wav": ..., "text": ...}``, beside
``wavs_train/`` and ``wavs_test/`` (or one folder ``clean/`` for both). The corpus has
no dev set: the reference splits 600 utterances off train without a seed (trap T18);
here the place of an utterance follows from its name and the seed alone.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2_dq.data.audio import AudioError
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.probing import ProbeCache, probe_all
from espnet2_dq.data.rejects import Reject
from espnet2_dq.data.text_encoding import read_korean_text
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.kspon_transcription import PLAIN, TextRejected, clean_plain

LANGUAGE = "ko"
EXPECTED = (
    "train_ClovaCall.json, test_ClovaCall.json (lists of objects with 'wav' and "
    "'text'), wavs_train/*.wav, wavs_test/*.wav"
)


@dataclass(frozen=True)
class ClovaOptions:
    """What becomes of a copy.

    Attributes:
        dev_utterances: Utterances taken from train for dev.
        seed: Chooses them.
        workers: Threads that read headers.
    """

    dev_utterances: int = 600
    seed: int = 0
    workers: int = 8

    def __post_init__(self) -> None:
        """Refuse a dev set without an utterance."""
        if self.dev_utterances < 1:
            raise ConfigError(f"--dev_utterances {self.dev_utterances}: expected >= 1")

    @property
    def text_rule(self) -> str:
        """The line of ``text_rule``."""
        return f"{PLAIN} dev_utterances={self.dev_utterances} seed={self.seed}"


@dataclass(frozen=True)
class _Call:
    """One entry of a json file."""

    utt: str
    speaker: str
    path: str
    text: str


def prepare_clovacall(
    root: Path, options: ClovaOptions, cache: ProbeCache
) -> dict[str, KaldiDir]:
    """Read a copy and return train, dev and test.

    Raises:
        DataError: A file or folder is missing, a json file is no list of calls, or a
            set would be empty; the layout that was expected is named.
    """
    sets = {name: _read_calls(root, name) for name in ("train", "test")}
    train, rejects = sets["train"]
    if len(train) <= options.dev_utterances:
        raise DataError(
            f"{root}: train has {len(train)} utterances, --dev_utterances "
            f"{options.dev_utterances} leaves none; ask for fewer"
        )
    order = sorted(train, key=lambda call: _place(call.utt, options.seed))
    dev, rest = order[: options.dev_utterances], order[options.dev_utterances :]
    made = {
        "train": _to_kaldi("train", rest, rejects, options, cache),
        "dev": _to_kaldi("dev", dev, [], options, cache),
        "test": _to_kaldi("test", *sets["test"], options, cache),
    }
    _say_shared(made)
    return made


def _place(utt: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {utt}".encode()).digest()


def _read_calls(root: Path, name: str) -> tuple[list[_Call], list[Reject]]:
    """The entries of one json file, and those that cannot be used."""
    path = root / f"{name}_ClovaCall.json"
    folders = [root / f"wavs_{name}", root / "clean"]
    folder = next((f for f in folders if f.is_dir()), None)
    if not path.is_file() or folder is None:
        entries = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
        missing = path.name if not path.is_file() else folders[0].name
        raise DataError(
            f"{root}: no {missing}. Expected: {EXPECTED}. Found: "
            f"{' '.join(entries[:8]) or 'nothing'}"
        )
    try:
        rows = json.loads(read_korean_text(path))
    except ValueError as error:
        raise DataError(
            f"{path}: not json ({error}); unpack the corpus again"
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: expected a list of calls, found {str(rows)[:60]!r}")
    return _to_calls(path, rows, folder)


def _to_calls(
    path: Path, rows: Sequence[Any], folder: Path
) -> tuple[list[_Call], list[Reject]]:
    """Check every entry; what is wrong with one is said with its number."""
    calls: dict[str, _Call] = {}
    rejects: list[Reject] = []
    for number, row in enumerate(rows):
        where = f"{path.name}:{number}"
        fields = row if isinstance(row, dict) else {}
        wav, text = fields.get("wav"), fields.get("text")
        if not isinstance(wav, str) or not isinstance(text, str) or not wav:
            rejects.append((where, f"malformed: {str(row)[:60]!r} lacks wav or text"))
            continue
        speaker = "".join(str(fields.get("speaker_id") or "").split())
        stem = "_".join(Path(wav).stem.split())
        utt = f"{speaker}-{stem}" if speaker else stem
        sound = str((folder / wav).absolute())
        if utt in calls:
            rejects.append((where, f"duplicate id: '{utt}'"))
            continue
        try:
            calls[utt] = _Call(utt, speaker or utt, sound, clean_plain(text))
        except TextRejected as error:
            rejects.append((utt, f"{error.reason} ({where})"))
    return list(calls.values()), rejects


def _to_kaldi(
    name: str,
    calls: Sequence[_Call],
    rejects: Sequence[Reject],
    options: ClovaOptions,
    cache: ProbeCache,
) -> KaldiDir:
    """Probe the sounds of a set and turn it into a directory."""
    left_out = list(rejects)
    headers = probe_all(
        (call.path for call in calls),
        cache,
        workers=options.workers,
        label=f"{name}: headers",
    )
    utterances = []
    for call in calls:
        header = headers[call.path]
        if isinstance(header, AudioError):
            left_out.append((call.utt, header.reason))
        else:
            row = (call.utt, call.path, call.text, call.speaker, LANGUAGE)
            utterances.append(Utterance(*row, header.num_samples()))
    if not utterances:
        raise DataError(
            f"{name}: 0 utterances are usable; first rejects: {left_out[:3]}. "
            f"Expected: {EXPECTED}"
        )
    directory = KaldiDir.from_utterances(utterances, rejects=left_out)
    directory.text_rule = options.text_rule
    return directory


def _say_shared(sets: dict[str, KaldiDir]) -> None:
    """The reference's split is by utterance: dev shares the speakers of train."""
    people = {name: {u.speaker for u in data} for name, data in sets.items()}
    for name in ("dev", "test"):
        shared = people[name] & people["train"]
        if shared:
            logging.warning(
                "%s: %d of %d speakers are in train, too",
                name,
                len(shared),
                len(people[name]),
            )
