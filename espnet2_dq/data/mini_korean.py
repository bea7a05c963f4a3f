"""``KsponSpeech_mini``: synthetic Korean speech in KsponSpeech's own layout.

eSpeak NG reads sentences of packages; the corpus is written as the real one is (pcm
without headers, some of them odd in length, texts in cp949, scripts in UTF-8, dual
transcriptions, noise tags), so that a mini run goes through the real parser.

Sets: ``train`` and ``dev``, ``eval_clean``, and ``eval_other``, which is spoken faster
and in noise. No sentence, no name in it and no voice is shared by train and another
set. Held-out syllables (see :mod:`espnet2_dq.data.korean_lexicon`) never occur in
train.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.korean_lexicon import held_out
from espnet2_dq.data.korean_sentences import KoreanSentence, Writer
from espnet2_dq.data.kspon_layout import FIRST_DEV_NUMBER, SETS
from espnet2_dq.data.pcm import write_pcm
from espnet2_dq.data.synthetic import Speaker, Studio, speakers
from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.hangul import is_syllable

_CORPUS_VERSION = 1
_PACKAGES = (
    "espeakng-loader",
    "django",
    "jupyterlab-language-pack-ko-KR",
    "mimesis",
    "Babel",
    "num2words",
    "pycountry",
    "soxr",
)
_MANIFEST, _INDEX = "corpus.json", "utterances.tsv"
_MIN_DURATION_S, _MAX_DURATION_S = 0.8, 12.0
_ODD_EVERY = 50  # one in so many test files has half a sample too much (trap T20)
# Script -> first number and voices; numbers decide sets where scripts are missing.
_FIRST = {"train": 1, "dev": FIRST_DEV_NUMBER, "eval_clean": 1, "eval_other": 3001}
_VOICES = {"train": "train", "dev": "dev", "eval_clean": "test", "eval_other": "test"}


@dataclass(frozen=True)
class KoreanOptions:
    """Size of the corpus."""

    train_hours: float = 2.5
    dev_minutes: float = 10.0
    clean_minutes: float = 12.0
    other_minutes: float = 12.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sets without speech."""
        if min(self.seconds(script) for script in SETS) <= 0:
            raise ConfigError("hours and minutes of the Korean mini corpus must be > 0")

    def seconds(self, script: str) -> float:
        """Seconds of speech of one set, at least."""
        minutes = {
            "train": 60 * self.train_hours,
            "dev": self.dev_minutes,
            "eval_clean": self.clean_minutes,
            "eval_other": self.other_minutes,
        }
        return 60 * minutes[script]


def smoke_options(options: KoreanOptions) -> KoreanOptions:
    """The same corpus with seconds of speech, for tests."""
    return dataclasses.replace(
        options,
        train_hours=90 / 3600,
        dev_minutes=0.3,
        clean_minutes=0.3,
        other_minutes=0.3,
    )


@dataclass(frozen=True)
class Spoken:
    """One utterance: path below the corpus, size, and what was said by whom."""

    path: str
    size: int
    script: str
    speaker: str
    seconds: float
    sentence: KoreanSentence


def fingerprint(options: KoreanOptions) -> str:
    """Hash of everything that decides the bytes of the corpus."""
    try:
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"the Korean mini corpus needs the package '{error.name}': install the "
            "extra 'mini' (pip install '.[mini]')"
        ) from error
    content = [_CORPUS_VERSION, dataclasses.asdict(options), versions]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build_mini_korean(out: Path, options: KoreanOptions) -> dict[str, Any]:
    """Build the corpus in ``out`` unless it is there already.

    Returns:
        The summary that is also written to ``out/corpus.json``: per set utterances,
        hours, speakers and syllables unknown to train.

    Raises:
        ConfigError: A package of the extra ``mini`` is missing.
        DataError: ``out`` holds something that is no mini corpus.
    """
    key = fingerprint(options)
    if out.is_dir() and any(out.iterdir()):
        reason = _why_not(out, key)
        if reason is None:
            logging.info("mini: %s is up to date", out)
            found: dict[str, Any] = json.loads((out / _MANIFEST).read_text("utf-8"))
            return found
        logging.info("mini: %s is built again: %s", out, reason)
        _clear(out)
    out.mkdir(parents=True, exist_ok=True)
    # a build that is broken off can be told from another corpus
    write_lines(out / _MANIFEST, ["{}"])
    studio = KoreanStudio(options.seed)
    spoken = [u for script in SETS for u in _speak_set(studio, script, out, options)]
    _write_scripts(out, spoken)
    summary: dict[str, Any] = {
        "fingerprint": key,
        "options": dataclasses.asdict(options),
        "held_out": "".join(sorted(held_out())),
        "sets": describe(spoken),
        "sha256": {path: _sha256(out / path) for path in _small_files()},
    }
    for script, facts in summary["sets"].items():
        logging.info("mini: %s: %s", script, json.dumps(facts, ensure_ascii=False))
    write_lines(out / _MANIFEST, [json.dumps(summary, indent=1, ensure_ascii=False)])
    return summary


class KoreanStudio(Studio):
    """Records Korean; ``eval_other`` is faster and noisier."""

    def record_korean(
        self, text: str, speaker: Speaker, script: str, rng: random.Random
    ) -> np.ndarray:
        """``text`` spoken by ``speaker``: (S,) int16 at 16 kHz."""
        if script != "eval_other":
            return self.record(text, "ko", speaker, rng)[0]
        pace = round(speaker.words_per_minute * rng.uniform(1.1, 1.3))
        hurried = dataclasses.replace(speaker, words_per_minute=pace)
        samples = self.record(text, "ko", hurried, rng)[0].astype(np.float32)
        bank = self._banks[1]
        offset = rng.randrange(len(bank))
        noise = np.take(bank, np.arange(offset, offset + len(samples)), mode="wrap")
        level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-rng.uniform(8, 20) / 20)
        return np.clip(np.round(samples + level * noise), -32768, 32767).astype("i2")


def _speak_set(
    studio: KoreanStudio, script: str, out: Path, options: KoreanOptions
) -> Iterator[Spoken]:
    """Speak one set and write its files; samples are let go at once."""
    rng = random.Random(f"korean speech/{options.seed}/{script}")
    people = speakers(_VOICES[script], options.seed)
    turn: list[Speaker] = []
    total, made = 0.0, 0
    for sentence in Writer(SETS[script], options.seed).sentences():
        if total >= options.seconds(script):
            return
        turn = turn or rng.sample(people, len(people))
        speaker = turn.pop()
        samples = studio.record_korean(sentence.spoken, speaker, script, rng)
        seconds = len(samples) / SAMPLE_RATE_HZ
        if not _MIN_DURATION_S <= seconds <= _MAX_DURATION_S:
            continue
        path = sound_path(script, made)
        odd = script.startswith("eval") and made % _ODD_EVERY == 1
        _write_sound(out / path, samples, sentence, script, odd=odd)
        size = 2 * len(samples) + odd
        yield Spoken(path, size, script, speaker.name, seconds, sentence)
        total += seconds
        made += 1


def sound_path(script: str, index: int) -> str:
    """Where KsponSpeech keeps the ``index``-th sound of a set.

    >>> sound_path("train", 1000)
    'KsponSpeech_01/KsponSpeech_0002/KsponSpeech_001001.pcm'
    >>> sound_path("eval_other", 0)
    'KsponSpeech_eval/eval_other/KsponSpeech_E03001.pcm'
    """
    number = _FIRST[script] + index
    if script.startswith("eval"):
        return f"KsponSpeech_eval/{script}/KsponSpeech_E{number:05d}.pcm"
    part = "05" if script == "dev" else "01"
    folder = f"KsponSpeech_{(number - 1) // 1000 + 1:04d}"
    return f"KsponSpeech_{part}/{folder}/KsponSpeech_{number:06d}.pcm"


def _write_sound(
    path: Path, samples: np.ndarray, sentence: KoreanSentence, script: str, *, odd: bool
) -> None:
    """The pcm, and for train and dev the text beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pcm(path, samples)
    if odd:
        with path.open("ab") as stream:
            stream.write(b"\0")
    if not script.startswith("eval"):
        text = f"{sentence.transcription}\n".encode("cp949")
        path.with_suffix(".txt").write_bytes(text)


def _write_scripts(out: Path, spoken: list[Spoken]) -> None:
    """The four scripts, and an index of sizes and voices, which the corpus lacks."""
    for script in SETS:
        rows = [u for u in spoken if u.script == script]
        lines = [f"{u.path} :: {u.sentence.transcription}" for u in rows]
        write_lines(out / "KsponSpeech_scripts" / f"{script}.trn", lines)
    columns = (f"{u.path}\t{u.size}\t{u.speaker}\t{u.sentence.source}" for u in spoken)
    write_lines(out / _INDEX, columns)


def describe(spoken: list[Spoken]) -> dict[str, dict[str, Any]]:
    """Per set: utterances, hours, speakers; what train's texts do not hold."""
    texts: dict[str, list[str]] = {script: [] for script in SETS}
    for utterance in spoken:
        texts[utterance.script].append(utterance.sentence.spoken)
    known = {c for text in texts["train"] for c in text}
    facts: dict[str, dict[str, Any]] = {}
    for script in SETS:
        rows = [u for u in spoken if u.script == script]
        counts = Counter(c for text in texts[script] for c in text if is_syllable(c))
        new = {c: count for c, count in counts.items() if c not in known}
        facts[script] = {
            "utterances": len(rows),
            "hours": round(sum(u.seconds for u in rows) / 3600, 4),
            "speakers": len({u.speaker for u in rows}),
            "syllables": sum(counts.values()),
            "distinct_syllables": len(counts),
            "unseen_syllables": sum(new.values()),
            "unseen_distinct": len(new),
            "held_out_syllables": sum(counts[c] for c in held_out()),
        }
    return facts


def _small_files() -> list[str]:
    """Files that are compared by content."""
    return [*(f"KsponSpeech_scripts/{script}.trn" for script in SETS), _INDEX]


def _why_not(out: Path, key: str) -> str | None:
    """Why the corpus in ``out`` is not the wanted one, or ``None``.

    Raises:
        DataError: It is no mini corpus at all, and must not be removed.
    """
    if not (out / _MANIFEST).is_file():
        raise DataError(
            f"{out}: holds files but no {_MANIFEST}: not a mini corpus. It is left as "
            "it is; name another folder with --out"
        )
    try:
        summary = json.loads((out / _MANIFEST).read_text("utf-8"))
        if not summary:
            return "its build was broken off"
        if summary["fingerprint"] != key:
            return "other options or other versions of packages"
        for name, digest in summary["sha256"].items():
            if not (out / name).is_file() or _sha256(out / name) != digest:
                return f"{name} was changed or removed"
        for line in read_lines(out / _INDEX):
            name, size, *_ = line.split("\t")
            path = out / name
            if not path.is_file() or path.stat().st_size != int(size):
                return f"{name} was changed or removed"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{_MANIFEST} is damaged ({error})"
    return None


def _clear(out: Path) -> None:
    """Remove what this module writes."""
    for name in ("01", "05", "eval", "scripts"):
        shutil.rmtree(out / f"KsponSpeech_{name}", ignore_errors=True)
    for name in (_MANIFEST, _INDEX):
        (out / name).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
