"""Small corpora for tests: sounds, Kaldi directories, CommonVoice releases."""

import functools
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from espnet2_dq.data.kaldi_dir import KaldiDir, PhoneSegment, Utterance

SENTENCES = (
    "one small step",
    "rain falls on the hill",
    "bread and salt",
    "the red boat sails",
    "nobody saw the fox",
    "a cold clear morning",
    "seven white stones",
    "birds over the lake",
)


def make_wav(
    path: Path, *, seconds: float = 1.0, rate: int = 16000, channels: int = 1, seed=0
) -> Path:
    """Write noisy tones; the suffix chooses the format (wav, flac, mp3, ...)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(path.suffix[1:], seconds, rate, channels, seed))
    return path


@functools.lru_cache(maxsize=256)
def _encoded(suffix: str, seconds: float, rate: int, channels: int, seed: int) -> bytes:
    """Encoding mp3 is the slow part of building corpora: each sound is made once."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 400) * time_s)
    samples = tone[:, None] + 0.05 * rng.standard_normal((len(time_s), channels))
    stream = io.BytesIO()
    soundfile.write(stream, samples.astype("float32"), rate, format=suffix.upper())
    return stream.getvalue()


def make_kaldi_dir(
    path: Path,
    *,
    langs: Sequence[str] = ("es", "fr"),
    utterances: int = 4,
    speakers: int = 2,
    seconds: float = 1.0,
    text: bool = True,
    phones: bool = False,
    with_audio: bool = True,
) -> KaldiDir:
    """Write a directory as stage 1 does, ``utterances`` per language."""
    rows, segments = [], {}
    for lang in langs:
        for number in range(utterances):
            speaker = f"{lang}-spk{number % speakers}"
            utt = f"{speaker}-{number:03d}"
            sound = path.parent / f"{path.name}_audio" / f"{utt}.wav"
            if with_audio:
                make_wav(sound, seconds=seconds, seed=len(rows))
            sentence = SENTENCES[number % len(SENTENCES)] if text else None
            samples = round(16000 * seconds)
            rows.append(Utterance(utt, str(sound), sentence, speaker, lang, samples))
            if phones:
                segments[utt] = [
                    PhoneSegment(0.0, seconds / 2, "a"),
                    PhoneSegment(seconds / 2, seconds / 2, "b"),
                ]
    directory = KaldiDir.from_utterances(rows, phones=segments)
    directory.write(path)
    return directory


def write_files(path: Path, files: Mapping[str, str]) -> Path:
    """Write text files into a directory, for Kaldi directories made by others."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_text(content, encoding="utf-8")
    return path


def make_kaldi_tree(
    root: Path,
    *,
    langs: Sequence[str] = ("de", "pl"),
    sets: Sequence[str] = ("train", "dev", "test"),
    utterances: int = 3,
    text: bool = True,
    rate: int = 16000,
) -> Path:
    """Write a user's tree ``root/{train,dev,test}`` with relative sound paths."""
    for name in sets:
        tables: dict[str, list[str]] = {"wav.scp": [], "utt2spk": [], "utt2lang": []}
        if text:
            tables["text"] = []
        for lang in langs:
            for number in range(utterances):
                utt = f"{lang}-{name}-{number}"
                make_wav(root / "wav" / f"{utt}.wav", rate=rate, seed=number)
                tables["wav.scp"].append(f"{utt} wav/{utt}.wav")
                tables["utt2spk"].append(f"{utt} {lang}-{name}")
                tables["utt2lang"].append(f"{utt} {lang}")
                if text:
                    tables["text"].append(f"{utt} {SENTENCES[number]}")
        write_files(
            root / name, {k: "\n".join(v) + "\n" for k, v in sorted(tables.items())}
        )
    return root


# What each generation of CommonVoice calls its columns.
COMMONVOICE_COLUMNS = {
    "6.0": "client_id path sentence up_votes down_votes age gender accent locale "
    "segment",
    "8.0": "client_id path sentence up_votes down_votes age gender accents locale "
    "segment",
    "14.0": "client_id path sentence up_votes down_votes age gender accents variant "
    "locale segment",
    "17.0": "client_id path sentence_id sentence sentence_domain up_votes down_votes "
    "age gender accents variant locale segment",
}


def make_commonvoice(
    root: Path,
    *,
    langs: Sequence[str] = ("es", "fr"),
    release: str = "6.0",
    clips: int = 4,
    seconds: float = 1.0,
) -> Path:
    """Write a tiny release with mp3 clips; speakers and prompts are split-exclusive.

    Every language has ``clips`` clips in each of train, dev and test (two clips a
    speaker), two more in ``other`` and one in ``invalidated``; ``validated`` holds
    the three splits. Returns the release folder.
    """
    release_dir = root / f"cv-corpus-{release}-2020-12-11"
    columns = COMMONVOICE_COLUMNS[release].split()
    for lang in langs:
        folder = release_dir / lang
        validated: list[str] = []
        sizes = {"train": clips, "dev": clips, "test": clips, "other": 2}
        for split, count in {**sizes, "invalidated": 1}.items():
            rows = []
            for number in range(count):
                clip = f"common_voice_{lang}_{_clip_number(lang, split, number)}"
                make_wav(
                    folder / "clips" / f"{clip}.mp3",
                    seconds=seconds,
                    rate=48000,
                    seed=number,
                )
                client = hashlib.sha512(f"{lang}{split}{number // 2}".encode())
                values = {
                    "client_id": client.hexdigest(),
                    "path": f"{clip}.mp3",
                    "sentence": f"{SENTENCES[number % len(SENTENCES)]} {split}",
                    "locale": lang,
                }
                rows.append("\t".join(values.get(name, "") for name in columns))
            if split in ("train", "dev", "test"):
                validated += rows
            _write_tsv(folder / f"{split}.tsv", columns, rows)
        _write_tsv(folder / "validated.tsv", columns, validated)
    return release_dir


def _write_tsv(path: Path, columns: Sequence[str], rows: Sequence[str]) -> None:
    lines = ["\t".join(columns), *rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _clip_number(lang: str, split: str, number: int) -> int:
    digest = hashlib.md5(f"{lang}{split}".encode()).hexdigest()
    return int(digest[:6], 16) + number
