"""Decode a data directory: sharding, batches by length, progress, failures."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, read_audio
from espnet2_dq.data.kaldi_dir import Utterance
from espnet2_dq.decode.recogniser import Recogniser
from espnet2_dq.decode.records import Record
from espnet2_dq.errors import ConfigError, DataError

_LOG_EVERY_S = 10.0


def shard(utterances: Sequence[Utterance], job: int, num_jobs: int) -> list[Utterance]:
    """The utterances of one job, longest first; jobs get about equal audio.

    Args:
        utterances: All of the set.
        job: 1 to ``num_jobs``, as ``JOB=1:N`` counts.
        num_jobs: Number of jobs.

    Raises:
        ConfigError: Numbers that do not fit.
    """
    if num_jobs < 1 or not 1 <= job <= num_jobs:
        raise ConfigError(f"job {job} of {num_jobs}: jobs count from 1 to num_jobs")
    ordered = sorted(utterances, key=lambda u: (-u.num_samples, u.utt))
    return ordered[job - 1 :: num_jobs]


def batches(
    utterances: Sequence[Utterance], batch_seconds: float
) -> Iterator[list[Utterance]]:
    """Group neighbours so that padded audio stays below ``batch_seconds``.

    Args:
        utterances: Longest first, so that memory peaks at the start.
        batch_seconds: Limit; a longer utterance is a batch of its own.
    """
    batch: list[Utterance] = []
    for utterance in utterances:
        if batch and batch[0].duration_s * (len(batch) + 1) > batch_seconds:
            yield batch
            batch = []
        batch.append(utterance)
    if batch:
        yield batch


@dataclass
class Progress:
    """Log lines with percent, speed and time to go.

    Attributes:
        total_s: Audio to decode, in seconds.
        utterances: Number of utterances.
    """

    total_s: float
    utterances: int
    done_s: float = 0.0
    done: int = 0
    failed: int = 0
    started: float = field(default_factory=time.perf_counter)
    logged: float = field(default_factory=time.perf_counter)

    def advance(self, records: Sequence[Record]) -> None:
        """Count decoded utterances and log now and then."""
        self.done += len(records)
        self.done_s += sum(record.audio_s for record in records)
        self.failed += sum(record.error is not None for record in records)
        now = time.perf_counter()
        if now - self.logged >= _LOG_EVERY_S or self.done == self.utterances:
            self.logged = now
            logging.info(self.line(now))

    def line(self, now: float) -> str:
        """One line for people."""
        wall_s = max(now - self.started, 1e-9)
        share = self.done_s / self.total_s if self.total_s else 1.0
        eta = time.strftime(
            "%H:%M:%S", time.gmtime(wall_s * (1 - share) / max(share, 1e-9))
        )
        return (
            f"decoded {self.done}/{self.utterances} utterances ({100 * share:.0f} %), "
            f"{self.done_s / 60:.1f} of {self.total_s / 60:.1f} min, "
            f"RTF {wall_s / max(self.done_s, 1e-9):.4f}, {self.failed} failed, "
            f"ETA {eta}"
        )


def decode_utterances(
    recogniser: Recogniser,
    utterances: Sequence[Utterance],
    *,
    batch_seconds: float,
    read: Callable[[str], np.ndarray] = read_audio,
) -> list[Record]:
    """Decode utterances; every one of them gets a record.

    Args:
        recogniser: Model and search.
        utterances: Longest first.
        batch_seconds: Padded audio in a batch.
        read: Path -> ``(S,)`` float32 samples at 16 kHz; raises ``DataError``.
    """
    progress = Progress(sum(u.duration_s for u in utterances), len(utterances))
    records: list[Record] = []
    for batch in batches(utterances, batch_seconds):
        fresh = _decode_batch(recogniser, batch, read)
        for record in fresh:
            if record.error is not None:
                logging.warning("%s failed: %s", record.utt, record.error)
        progress.advance(fresh)
        records += fresh
    return records


def _decode_batch(
    recogniser: Recogniser,
    batch: Sequence[Utterance],
    read: Callable[[str], np.ndarray],
) -> list[Record]:
    """Read, encode together, search one by one."""
    records: list[Record] = []
    readable: list[tuple[Utterance, np.ndarray]] = []
    for utterance in batch:
        try:
            sound = read(utterance.path)
            check_length(sound, recogniser.shortest_samples)
        except DataError as error:
            records.append(failure(utterance, str(error)))
        else:
            readable.append((utterance, sound))
    if not readable:
        return records
    posteriors = recogniser.posteriors([sound for _, sound in readable])
    for (utterance, sound), log_probs in zip(readable, posteriors, strict=True):
        try:
            records.append(_record(recogniser, utterance, sound, log_probs))
        except ValueError as error:
            records.append(failure(utterance, str(error)))
    return records


def check_length(sound: np.ndarray, shortest: int) -> None:
    """Refuse a sound without a single frame.

    Raises:
        DataError: It has fewer than ``shortest`` samples.
    """
    if len(sound) < shortest:
        raise DataError(
            f"{len(sound)} samples at 16 kHz; a frame needs {shortest}: reject the "
            "utterance in the filter stage (stage 3)"
        )


def _record(
    recogniser: Recogniser,
    utterance: Utterance,
    sound: np.ndarray,
    log_probs: np.ndarray,
) -> Record:
    best, *others = recogniser.decode(log_probs)
    timed = recogniser.describe(best, len(sound))
    return Record(
        utterance.utt,
        utterance.lang,
        timed.tokens,
        timed.score,
        timed.start_s,
        timed.end_s,
        timed.token_scores,
        len(sound) / SAMPLE_RATE_HZ,
        [
            {
                "tokens": [recogniser.tokens[i] for i in other.ids],
                "score": round(other.score, 4),
            }
            for other in others
        ],
    )


def failure(utterance: Utterance, reason: str) -> Record:
    """Record of an utterance that could not be decoded."""
    reason = " ".join(reason.split())
    return Record.failed(utterance.utt, utterance.lang, utterance.duration_s, reason)
