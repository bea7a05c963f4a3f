"""Pipes and segments of Kaldi directories, cut once into files of their own."""

import io
import json
import logging
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from espnet2_dq.data.rejects import Reject
from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import DataError

# Kaldi's extract-segments forgives an end so far behind the recording's.
MAX_OVERSHOOT_S = 0.5


@dataclass(frozen=True)
class Source:
    """Where an utterance's sound comes from.

    Attributes:
        recording: Absolute path, or a command that ends in ``|`` and writes a sound.
        start_s: Begin of the part, 0 without segments.
        end_s: End of the part; ``None`` is the end of the recording.
    """

    recording: str
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def in_place(self) -> bool:
        """Whether the recording is a file that is used as a whole."""
        return not self.recording.endswith("|") and (
            self.start_s == 0 and self.end_s is None
        )

    @property
    def key(self) -> str:
        """What the cut depends on, to recognise one that is already there."""
        stamp: list[int] = []
        if not self.recording.endswith("|") and Path(self.recording).exists():
            status = Path(self.recording).stat()
            stamp = [status.st_size, status.st_mtime_ns]
        return json.dumps([self.recording, stamp, self.start_s, self.end_s])


def read_segments(path: Path) -> dict[str, tuple[str, float, float | None]]:
    """Read ``utt recording start_s end_s`` lines; an end of -1 is the recording's.

    Raises:
        DataError: With file, line number, the value and the fix.
    """
    segments: dict[str, tuple[str, float, float | None]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{number}"
        try:
            utt, recording, start, end = line.split()
            start_s, end_s = float(start), float(end)
        except ValueError as error:
            raise DataError(
                f"{where}: {line[:80]!r} is not 'utterance recording start_s end_s'"
            ) from error
        if utt in segments:
            raise DataError(f"{where}: '{utt}' occurs twice; keep one of the lines")
        open_end = end_s == -1
        if not (math.isfinite(start_s) and start_s >= 0) or not (
            open_end or start_s < end_s < math.inf
        ):
            raise DataError(
                f"{where}: '{utt}' lasts from {start} to {end} s; "
                "expected 0 <= start < end"
            )
        segments[utt] = (recording, start_s, None if open_end else end_s)
    return dict(sorted(segments.items()))


def cut_all(
    sources: Mapping[str, Source], folder: Path
) -> tuple[dict[str, str], list[Reject]]:
    """Cut what is no plain file into ``folder/<utt>.flac`` (16 kHz, mono, 16 bit).

    Cuts that are there and whose source has not changed are kept.

    Returns:
        Sound file by utterance, and rejects.
    """
    paths = {u: s.recording for u, s in sources.items() if s.in_place}
    todo: dict[str, list[str]] = {}
    for utt, source in sources.items():
        if not source.in_place:
            todo.setdefault(source.recording, []).append(utt)
    if not todo:
        return paths, []
    index = folder / "cuts.tsv"
    done = _read_index(index)
    count = sum(len(utts) for utts in todo.values())
    logging.info(
        "%s: %d utterances are pipes or segments: cut into flac files once",
        folder,
        count,
    )
    rejects: list[Reject] = []
    keys: dict[str, str] = {}
    for recording, utts in tqdm(todo.items(), desc="cutting", mininterval=5):
        keys |= {utt: sources[utt].key for utt in utts}
        targets = {utt: folder / f"{utt.replace('/', '_')}.flac" for utt in utts}
        new = [u for u in utts if done.get(u) != keys[u] or not targets[u].exists()]
        if new:
            rejects += _cut(recording, {u: (sources[u], targets[u]) for u in new})
        bad = {utt for utt, _ in rejects}
        paths |= {u: str(targets[u].absolute()) for u in utts if u not in bad}
    write_lines(index, (f"{u}\t{keys[u]}" for u in sorted(keys.keys() & paths.keys())))
    return dict(sorted(paths.items())), rejects


def _cut(recording: str, parts: Mapping[str, tuple[Source, Path]]) -> list[Reject]:
    """Read a recording once and write its parts."""
    try:
        samples = _read_recording(recording)
    except AudioError as error:
        return [(utt, error.reason) for utt in parts]
    length_s = len(samples) / SAMPLE_RATE_HZ
    rejects = []
    for utt, (source, target) in parts.items():
        end_s = length_s if source.end_s is None else source.end_s
        if source.start_s >= length_s or end_s > length_s + MAX_OVERSHOOT_S:
            rejects.append(
                (
                    utt,
                    f"bad segment: {source.start_s}-{end_s} s of a recording of "
                    f"{length_s:.2f} s",
                )
            )
            continue
        begin, end = (round(t * SAMPLE_RATE_HZ) for t in (source.start_s, end_s))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part")
        soundfile.write(str(partial), samples[begin:end], SAMPLE_RATE_HZ, format="FLAC")
        partial.replace(target)
    return rejects


def _read_recording(recording: str) -> np.ndarray:
    """Samples ``(S,)`` float32 at 16 kHz of a file or of a command's output."""
    if not recording.endswith("|"):
        return read_audio(recording)
    command = recording.removesuffix("|").strip()
    # The user's own wav.scp says what to run: that is Kaldi's contract for pipes.
    result = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode != 0 or not result.stdout:
        tail = result.stderr.decode(errors="replace").strip()[-200:]
        raise AudioError(
            command, f"pipe failed: exit code {result.returncode}, '{command}': {tail}"
        )
    try:
        samples, rate = soundfile.read(
            io.BytesIO(result.stdout), dtype="float32", always_2d=True
        )
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            command, f"pipe failed: '{command}' writes no sound that is known"
        ) from error
    mono = samples.mean(axis=1)
    return mono if rate == SAMPLE_RATE_HZ else soxr.resample(mono, rate, SAMPLE_RATE_HZ)


def _read_index(path: Path) -> dict[str, str]:
    """Keys of earlier cuts by utterance."""
    if not path.exists():
        return {}
    rows = (line.partition("\t") for line in read_lines(path))
    return {utt: key for utt, _, key in rows}
