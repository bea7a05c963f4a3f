"""Stage 1 for KsponSpeech: a local copy as Kaldi data directories.

Utterance ids are the corpus' file names (``KsponSpeech_000001``). The corpus names no
speakers, so every utterance is its own speaker: splits are taken as given, and no
result may be averaged over speakers. Sounds stay where they are; a pcm is not even
opened, its length follows from its size.

Nothing is left out in silence: a script line without a sound, a sound without a line,
a transcription that the text rule refuses and an empty sound are all in ``reject.tsv``.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_dq.data.audio import AudioError
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.kspon_layout import (
    EXPECTED,
    SETS,
    Layout,
    ScriptLine,
    file_number,
    find_layout,
    read_script,
    script_of,
    texts_of,
)
from espnet2_dq.data.pcm import log_odd_files
from espnet2_dq.data.probing import ProbeCache, map_threads, probe_all
from espnet2_dq.data.rejects import EXCLUDED, Reject
from espnet2_dq.data.text_encoding import read_korean_text
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.kspon_transcription import (
    PERCENT,
    RULES,
    TextRejected,
    clean_transcription,
)

LANGUAGE = "ko"


@dataclass(frozen=True)
class KsponOptions:
    """What becomes of a copy.

    Attributes:
        rule: ``orthographic`` keeps the first of ``(70%)/(칠 십 퍼센트)``,
            ``phonetic`` the second.
        percent: ``reject`` or ``drop`` a ``%`` whose phonetic reading nobody knows.
        max_train_characters: Longer texts leave train, and train only; 0 is no limit.
        workers: Threads that read files.
    """

    rule: str = "orthographic"
    percent: str = "reject"
    max_train_characters: int = 200
    workers: int = 8

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name, allowed in (("rule", RULES), ("percent", PERCENT)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(
                    f"--{name} {value}: expected one of {' '.join(allowed)}"
                )
        if self.max_train_characters < 0:
            raise ConfigError(
                f"--max_train_characters {self.max_train_characters}: expected 0 (no "
                "limit) or more"
            )

    @property
    def text_rule(self) -> str:
        """The line of ``text_rule``."""
        percent = f" percent={self.percent}" if self.rule == "phonetic" else ""
        return f"{self.rule} max_train_characters={self.max_train_characters}{percent}"


@dataclass
class _Set:
    """One set while it is being made: utterance -> (sound, text)."""

    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)


def prepare_ksponspeech(
    root: Path, options: KsponOptions, cache: ProbeCache
) -> dict[str, KaldiDir]:
    """Read a copy and return its sets: train, dev, and what there is of both tests.

    Raises:
        DataError: No utterance, no train or no dev: with the layout that was expected
            and what was found; or a script in an unknown encoding.
    """
    layout = find_layout(root)
    if not layout.sounds or not (layout.scripts or layout.texts):
        what = "no such folder" if not layout.exists() else "zero utterances found"
        raise DataError(_wrong_layout(layout, what))
    found = {s: _transcriptions(layout, s, options.workers) for s in SETS}
    _drop_shared(found)
    known = {line.stem for lines, _ in found.values() for line in lines}
    directories: dict[str, KaldiDir] = {}
    for script, name in SETS.items():
        lines, rejects = found[script]
        if not lines:
            if name in ("train", "dev"):
                raise DataError(_wrong_layout(layout, f"zero utterances of {name}"))
            logging.warning(
                "%s: neither %s.trn nor texts of it: no set '%s'", root, script, name
            )
            continue
        chosen = _choose(layout, lines, name, options)
        chosen.rejects += rejects
        if script in layout.scripts:
            chosen.rejects += _unscripted(layout, script, known)
        directories[name] = _to_kaldi(name, chosen, options, cache)
    logging.info("KsponSpeech names no speakers: every utterance is its own speaker")
    return directories


def _wrong_layout(layout: Layout, what: str) -> str:
    return (
        f"{layout.root}: {what}. Expected below it: {EXPECTED}. Found: "
        f"{layout.describe()}. Name the folder that holds KsponSpeech_01"
    )


def _transcriptions(
    layout: Layout, script: str, workers: int
) -> tuple[list[ScriptLine], list[Reject]]:
    """The lines of a set, from its script or else from the texts beside the sounds."""
    path = layout.scripts.get(script)
    if path is not None:
        return read_script(path)
    files = list(texts_of(layout, script))
    if files:
        logging.info(
            "%s: no %s.trn: %d transcriptions from .txt files",
            layout.root,
            script,
            len(files),
        )
    lines: list[ScriptLine] = []
    rejects: list[Reject] = []
    read: Callable[[tuple[str, str]], str | DataError] = _read_text
    results = map_threads(read, files, workers=workers, label=f"{script}: texts")
    for (stem, path_of_text), text in zip(files, results, strict=True):
        if isinstance(text, DataError):
            rejects.append((stem, f"unknown encoding: {text}"))
        else:
            lines.append(ScriptLine(stem, "", " ".join(text.split()), path_of_text))
    return lines, rejects


def _read_text(file: tuple[str, str]) -> str | DataError:
    """A transcription, or why not; one bad file of many becomes a reject."""
    try:
        return read_korean_text(Path(file[1]))
    except DataError as error:
        return error


def _choose(
    layout: Layout, lines: list[ScriptLine], name: str, options: KsponOptions
) -> _Set:
    """Pair transcriptions with sounds and apply the text rule."""
    chosen = _Set()
    limit = options.max_train_characters if name == "train" else 0
    for line in lines:
        sound = layout.sound_of(line.stem, line.path)
        if sound is None:
            reason = f"missing file: no sound for {line.where}"
            chosen.rejects.append((line.stem, reason))
            continue
        try:
            text = clean_transcription(
                line.transcription,
                options.rule,
                file_number(line.stem),
                percent=options.percent,
            )
        except TextRejected as error:
            chosen.rejects.append((line.stem, f"{error.reason} ({line.where})"))
            continue
        if limit and len(text) > limit:
            reason = f"{EXCLUDED}: {len(text)} characters, maximum {limit} in train"
            chosen.rejects.append((line.stem, reason))
        else:
            chosen.rows[line.stem] = (sound, text)
    return chosen


def _drop_shared(found: dict[str, tuple[list[ScriptLine], list[Reject]]]) -> None:
    """Take an utterance that two scripts name out of all but the last of them."""
    owner: dict[str, str] = {}
    for script in reversed(SETS):
        lines, rejects = found[script]
        rejects += [
            (line.stem, f"{EXCLUDED}: also in {owner[line.stem]}.trn")
            for line in lines
            if line.stem in owner
        ]
        lines[:] = [line for line in lines if line.stem not in owner]
        owner |= {line.stem: script for line in lines}


def _unscripted(layout: Layout, script: str, known: set[str]) -> list[Reject]:
    """Sounds that lie where this set's do and that no script names."""
    return [
        (stem, f"no transcript: {paths[0]} is in no script")
        for stem, paths in sorted(layout.sounds.items())
        if stem not in known and script_of(paths[0]) == script
    ]


def _to_kaldi(
    name: str, chosen: _Set, options: KsponOptions, cache: ProbeCache
) -> KaldiDir:
    """Measure the sounds of a set and turn it into a directory."""
    rejects = list(chosen.rejects)
    paths = [sound for sound, _ in chosen.rows.values()]
    headers = probe_all(paths, cache, workers=options.workers, label=f"{name}: sizes")
    utterances = []
    for utt, (sound, text) in chosen.rows.items():
        header = headers[sound]
        if isinstance(header, AudioError):
            rejects.append((utt, header.reason))
        else:
            samples = header.num_samples()
            utterances.append(Utterance(utt, sound, text, utt, LANGUAGE, samples))
    log_odd_files(name, paths)
    if not utterances:
        raise DataError(
            f"{name}: 0 utterances are usable; first rejects: {rejects[:3]}. Expected: "
            f"{EXPECTED}"
        )
    directory = KaldiDir.from_utterances(utterances, rejects=rejects)
    directory.text_rule = options.text_rule
    return directory
