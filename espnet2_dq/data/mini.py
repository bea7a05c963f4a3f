"""The ``mini`` corpus: small speech that any machine can build in a minute.

Sets: ``train`` (synthetic speech of shared speakers, and recorded prompts where they
can be had), ``dev`` and ``test`` (synthetic, speakers never heard in training, exact
phone alignments) and ``test_rec`` (recorded human prompts).
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import soundfile

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.recorded import (
    RecordedUnavailableError,
    build_recorded,
    obtain_recorded,
)
from espnet2_dq.data.rejects import format_kinds
from espnet2_dq.data.sentences import SPLITS
from espnet2_dq.data.sets import remove_other_sets
from espnet2_dq.data.synthetic import Studio, SyntheticUtterance, speak_set
from espnet2_dq.data.tables import write_lines
from espnet2_dq.errors import ConfigError

# Most hours first, as in CommonVoice 6 (paper, table I).
LANGUAGES = ("en", "fr", "es", "it", "ru", "nl", "tt", "ky", "sv")
LARGEST_TO_SMALLEST = 4.0
_CORPUS_VERSION = 2
_PACKAGES = (
    "espeakng-loader",
    "django",
    "Babel",
    "num2words",
    "pycountry",
    "soxr",
    "G722",
)
_MANIFEST = "corpus.json"
_WAV_HEADER_BYTES = 44
_SETS = (*SPLITS, "test_rec")


@dataclass(frozen=True)
class MiniOptions:
    """Size and content of the corpus; hours and minutes are totals of all languages.

    ``recorded`` adds recorded prompts: ``auto`` where they can be had, ``yes`` or
    fail, ``no``.
    """

    langs: tuple[str, ...] = LANGUAGES
    train_hours: float = 3.0
    dev_minutes: float = 6.0
    test_minutes: float = 24.0
    seed: int = 0
    recorded: Literal["auto", "yes", "no"] = "auto"
    recorded_dir: str = ""

    def __post_init__(self) -> None:
        """Refuse languages that have no sentences here."""
        unknown = [lang for lang in self.langs if lang not in LANGUAGES]
        if unknown or not self.langs or len(set(self.langs)) < len(self.langs):
            raise ConfigError(
                f"--langs {' '.join(self.langs)}: expected distinct languages among "
                f"{' '.join(LANGUAGES)}"
            )

    def seconds(self, split: str) -> dict[str, float]:
        """Seconds of synthetic audio per language; train is unbalanced on purpose."""
        order = [lang for lang in LANGUAGES if lang in self.langs]
        if split != "train":
            minutes = self.dev_minutes if split == "dev" else self.test_minutes
            return {lang: 60 * minutes / len(order) for lang in order}
        step = LARGEST_TO_SMALLEST ** (-1 / max(len(order) - 1, 1))
        weights = {lang: step**rank for rank, lang in enumerate(order)}
        total = 3600 * self.train_hours / sum(weights.values())
        return {lang: total * weight for lang, weight in weights.items()}


def smoke_options(options: MiniOptions) -> MiniOptions:
    """The same corpus with seconds of audio per language, synthetic only."""
    count = len(options.langs)
    return dataclasses.replace(
        options,
        train_hours=20 * count / 3600,
        dev_minutes=6 * count / 60,
        test_minutes=6 * count / 60,
        recorded="no",
    )


def fingerprint(options: MiniOptions) -> str:
    """Hash of everything that decides the bytes of the corpus."""
    try:
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"the mini corpus needs the package '{error.name}': install the extra "
            "'mini' (pip install '.[mini]')"
        ) from error
    content = [_CORPUS_VERSION, dataclasses.asdict(options), versions]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build_mini(out: Path, options: MiniOptions) -> dict[str, Any]:
    """Build the corpus below ``out`` unless it is there already.

    Returns:
        The summary that is also written to ``out/corpus.json``: ``source``, and per
        set utterances and hours by language.
    """
    key = fingerprint(options)
    manifest = out / _MANIFEST
    if manifest.is_file():
        reason, found = _inspect(out, key)
        if reason is None:
            logging.info("mini: %s is up to date (%s)", out, found["source"])
            return found
        logging.info("mini: %s is built again: %s", out, reason)
    manifest.unlink(missing_ok=True)
    for name in (*_SETS, "audio"):
        shutil.rmtree(out / name, ignore_errors=True)
    recorded = _get_recorded(out, options)
    made = _merge(_build_synthetic(out, options), recorded)
    remove_other_sets(out, made.keys())
    for name, data in made.items():
        data.write(out / name)
    summary: dict[str, Any] = {
        "source": "synthetic+recorded" if recorded else "synthetic",
        "recorded_langs": recorded["train"].languages if recorded else [],
        "fingerprint": key,
        "options": dataclasses.asdict(options),
        "sets": {name: _describe(data) for name, data in made.items()},
        "sha256": {
            path.relative_to(out).as_posix(): _sha256(path)
            for name in made
            for path in sorted((out / name).iterdir())
        },
    }
    for name, data in made.items():
        _log_size(name, data)
    write_lines(manifest, [json.dumps(summary, indent=1, ensure_ascii=False)])
    return summary


def _inspect(out: Path, key: str) -> tuple[str | None, dict[str, Any]]:
    """Why the corpus in ``out`` is not the wanted one, or ``None``; and its summary.

    The small files are compared by content, the audio by size.
    """
    try:
        summary: dict[str, Any] = json.loads((out / _MANIFEST).read_text("utf-8"))
        if summary["fingerprint"] != key:
            return "other options or other versions of packages", summary
        for name, digest in summary["sha256"].items():
            if not (out / name).is_file() or _sha256(out / name) != digest:
                return f"{name} was changed or removed", summary
        for name in summary["sets"]:
            for utterance in KaldiDir.read(out / name):
                size = _WAV_HEADER_BYTES + 2 * utterance.num_samples
                path = Path(utterance.path)
                if not path.is_file() or path.stat().st_size != size:
                    return f"{path} was changed or removed", summary
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{_MANIFEST} is damaged ({error})", {}
    return None, summary


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _get_recorded(out: Path, options: MiniOptions) -> dict[str, KaldiDir]:
    """Recorded prompts by set, or nothing; the first lines of the log say which."""
    if options.recorded == "no":
        logging.info("mini: synthetic speech only (--recorded no)")
        return {}
    with tempfile.TemporaryDirectory(dir=_made(out), prefix="recorded.") as work:
        try:
            sources = obtain_recorded(options.langs, Path(work), options.recorded_dir)
            made = build_recorded(sources, out / "audio" / "recorded")
        except RecordedUnavailableError as error:
            if options.recorded == "yes":
                raise
            logging.info("mini: synthetic speech only; no recorded prompts: %s", error)
            return {}
    logging.info(
        "mini: synthetic speech and recorded prompts (%s)",
        " ".join(source.lang for source in sources),
    )
    for name, data in made.items():
        logging.info("mini: recorded %s: %d prompts", name, len(data))
    rejects = made["train"].rejects
    logging.info("mini: %d prompts rejected: %s", len(rejects), format_kinds(rejects))
    return made


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _merge(
    synthetic: dict[str, KaldiDir], recorded: dict[str, KaldiDir]
) -> dict[str, KaldiDir]:
    """Add recorded prompts to train and dev; their test stays a set of its own."""
    made = dict(synthetic)
    for name, data in recorded.items():
        if name == "test":
            made["test_rec"] = data
        else:
            made[name] = KaldiDir.from_utterances(
                [*synthetic[name], *data],
                phones=synthetic[name].phones,
                rejects=data.rejects,
            )
    return made


def _log_size(name: str, data: KaldiDir) -> None:
    hours = data.hours()
    parts = " ".join(f"{lang} {60 * h:.1f}" for lang, h in hours.items())
    logging.info("mini: %s: %.2f h (minutes: %s)", name, sum(hours.values()), parts)


def _describe(data: KaldiDir) -> dict[str, Any]:
    counts = Counter(utterance.lang for utterance in data)
    return {
        "utterances": dict(sorted(counts.items())),
        "hours": {lang: round(hours, 4) for lang, hours in data.hours().items()},
        "speakers": len({utterance.speaker for utterance in data}),
    }


def _build_synthetic(out: Path, options: MiniOptions) -> dict[str, KaldiDir]:
    """Speak all sets; the order of calls is fixed, since eSpeak's state carries on."""
    studio = Studio(options.seed)
    made: dict[str, KaldiDir] = {}
    for split in SPLITS:
        utterances: list[Utterance] = []
        phones = {}
        for lang, seconds in options.seconds(split).items():
            spoken = list(
                _write_audio(
                    speak_set(studio, split, lang, seconds=seconds, seed=options.seed),
                    out / "audio" / split / lang,
                )
            )
            _log_sources(split, lang, [item for _, item in spoken])
            for utterance, item in spoken:
                utterances.append(utterance)
                phones[utterance.utt] = item.phones
        made[split] = KaldiDir.from_utterances(utterances, phones=phones)
    return made


def _write_audio(
    spoken: Iterable[SyntheticUtterance], folder: Path
) -> Iterable[tuple[Utterance, SyntheticUtterance]]:
    """Write each utterance as 16 kHz wav; samples are let go at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in spoken:
        path = folder.resolve() / f"{item.utt}.wav"
        soundfile.write(path, item.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        utterance = Utterance(
            item.utt,
            str(path),
            item.text,
            item.speaker,
            item.language,
            len(item.samples),
        )
        yield utterance, dataclasses.replace(item, samples=item.samples[:0])


def _log_sources(split: str, lang: str, spoken: list[SyntheticUtterance]) -> None:
    counts = Counter(item.source for item in spoken)
    parts = ", ".join(f"{count} {source}" for source, count in counts.most_common())
    logging.info("mini: %s/%s: %d sentences (%s)", split, lang, len(spoken), parts)
