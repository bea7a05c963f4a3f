"""The part of a data directory that can be trained on: with transcript, one language.

ESPnet looks every utterance of ``wav.scp`` up in every other file, so what lacks a
transcript has to be left out beforehand.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.encoder.frame_grid import SAMPLE_RATE_HZ, FrameGrid
from espnet2_dq.errors import DataError

# Not the root logger: its first use would configure logging before ESPnet does.
logger = logging.getLogger(__name__)

TARGETS = "text.int"
_FILES = ("wav.scp", "utt2num_samples", "utt2lang")


@dataclass(frozen=True)
class Stream:
    """Token ids of one unit.

    Attributes:
        unit: The data directory holds ``<unit>.int`` (units stage).
        num_tokens: Size of its token list.
        file: Name under which the usable part is written.
    """

    unit: str
    num_tokens: int
    file: str


@dataclass(frozen=True)
class SetReport:
    """What :func:`prepare_streams` kept.

    Attributes:
        kept: Utterances written.
        hours: Their duration.
        without_text: Left out: a transcript is missing or empty in some stream.
        other_language: Left out: not ``lang``.
        impossible: Kept, but CTC has fewer frames than a target needs: no gradient.
        missing: For several streams: utterances that each of them lacks.
    """

    kept: int
    hours: float
    without_text: int
    other_language: int
    impossible: tuple[str, ...]
    missing: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        each = ", ".join(f"{unit} {count}" for unit, count in self.missing)
        return (
            f"{self.kept} utterances, {self.hours:.3f} h; left out {self.without_text}"
            f" without transcript{f' ({each})' if each else ''}, {self.other_language}"
            f" of other languages; {len(self.impossible)} with more tokens than frames"
        )


def prepare_set(
    source: Path,
    unit: str,
    target: Path,
    *,
    num_tokens: int,
    lang: str | None = None,
    subsample: int = 1,
) -> SetReport:
    """Write ``wav.scp text.int utt2num_samples utt2lang`` of the usable utterances.

    Args:
        source: Data directory with ``<unit>.int`` (units stage).
        unit: ``phn`` or ``char``.
        target: Directory to write to.
        num_tokens: Size of the token list.
        lang: Keep this language only.
        subsample: Frames that the model averages, for ``impossible``.

    Raises:
        DataError: A file is missing, an id is outside the token list, or nothing is
            left.
    """
    stream = Stream(unit, num_tokens, TARGETS)
    return prepare_streams(source, [stream], target, lang=lang, subsample=subsample)


def prepare_streams(
    source: Path,
    streams: Sequence[Stream],
    target: Path,
    *,
    lang: str | None = None,
    subsample: int = 1,
) -> SetReport:
    """Write the utterances that have a target in every stream.

    Args:
        source: Data directory with ``<unit>.int`` of each stream (units stage).
        streams: At least one.
        target: Directory to write ``wav.scp utt2num_samples utt2lang`` and the
            streams' files to.
        lang: Keep this language only.
        subsample: Frames that the model averages, for ``impossible``.

    Raises:
        DataError: A file is missing, an id is outside the token list, or nothing is
            left.
    """
    targets = {s: read_targets(source, s.unit, s.num_tokens) for s in streams}
    tables = {name: read_table(source / name) for name in _FILES}
    languages = tables["utt2lang"]
    chosen = [u for u in tables["wav.scp"] if lang is None or languages.get(u) == lang]
    kept = [u for u in chosen if all(found.get(u) for found in targets.values())]
    if not kept:
        present = ", ".join(sorted(set(languages.values())))
        files = " and ".join(f"{s.unit}.int" for s in streams)
        raise DataError(
            f"{source}: no utterance with a transcript in {files}"
            + (f" and language '{lang}' (present: {present})" if lang else "")
            + "; check --lang, or run the units stage for this set"
        )
    for name in _FILES:
        write_table(
            target / name, {u: _value(tables[name], u, source / name) for u in kept}
        )
    for stream, found in targets.items():
        write_table(
            target / stream.file, {u: " ".join(map(str, found[u])) for u in kept}
        )
    samples = {u: int(tables["utt2num_samples"][u]) for u in kept}
    report = SetReport(
        kept=len(kept),
        hours=sum(samples.values()) / SAMPLE_RATE_HZ / 3600,
        without_text=len(chosen) - len(kept),
        other_language=len(tables["wav.scp"]) - len(chosen),
        impossible=tuple(
            u
            for u in kept
            if not all(
                possible_target(found[u], samples[u], subsample)
                for found in targets.values()
            )
        ),
        missing=_missing(targets, chosen) if len(streams) > 1 else (),
    )
    _log(source, report)
    return report


def _missing(
    targets: Mapping[Stream, Mapping[str, list[int]]], chosen: Sequence[str]
) -> tuple[tuple[str, int], ...]:
    """How many of the utterances each stream lacks."""
    return tuple(
        (stream.unit, sum(not found.get(utt) for utt in chosen))
        for stream, found in targets.items()
    )


def read_targets(source: Path, unit: str, num_tokens: int) -> dict[str, list[int]]:
    """Token ids by utterance; empty where there is no transcript.

    Args:
        source: Data directory with ``<unit>.int``.
        unit: ``phn`` or ``char``.
        num_tokens: Size of the token list.

    Raises:
        DataError: No such file, or a line that is not ids of the token list.
    """
    path = source / f"{unit}.int"
    if not path.exists():
        raise DataError(f"{path}: not found; the units stage (4) writes it")
    targets: dict[str, list[int]] = {}
    for number, (utt, line) in enumerate(read_table(path, allow_empty=True).items(), 1):
        try:
            ids = [int(word) for word in line.split()]
        except ValueError:
            raise DataError(
                f"{path}:{number}: '{utt}' has {line[:40]!r}, not ids"
            ) from None
        wrong = next((i for i in ids if not 0 < i < num_tokens), None)
        if wrong is not None:
            raise DataError(
                f"{path}:{number}: '{utt}' has token id {wrong}; the token list allows"
                f" 1 to {num_tokens - 1}: run the units stage again for this set"
            )
        targets[utt] = ids
    return targets


def _value(table: Mapping[str, str], utt: str, path: Path) -> str:
    if utt not in table:
        raise DataError(f"{path}: no line for '{utt}' of wav.scp; run stage 3 again")
    return table[utt]


def possible_target(target: list[int], samples: int, subsample: int = 1) -> bool:
    """Whether CTC can emit ids: they and equal neighbours fit into the frames.

    Args:
        target: Token ids.
        samples: Length of the sound at 16 kHz.
        subsample: Frames that the model averages.
    """
    frames = -(-FrameGrid().num_frames(samples) // subsample)
    repeats = sum(a == b for a, b in zip(target, target[1:]))
    return len(target) + repeats <= int(frames)


def _log(source: Path, report: SetReport) -> None:
    logger.info("%s: %s", source, report)
    if report.impossible:
        logger.warning(
            "%s: CTC cannot emit the targets of %d utterances (first '%s'): they add"
            " no gradient; lower model_conf.subsample or filter fast speech out",
            source,
            len(report.impossible),
            report.impossible[0],
        )
