"""Decode a data directory in several modes over the same posteriors.

Every batch is encoded once; then each mode searches it. So modes can be compared, and
only one batch of posteriors is in memory.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, read_audio
from espnet2_dq.data.kaldi_dir import Utterance
from espnet2_dq.decode.corpus import Progress, batches, check_length, failure
from espnet2_dq.decode.korean_recogniser import KoreanRecogniser
from espnet2_dq.decode.posterior_files import write_posteriors, write_token_lists
from espnet2_dq.decode.records import Record, finite
from espnet2_dq.errors import DataError


@dataclass
class Clock:
    """Seconds by name of a step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of a ``with`` block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


@dataclass
class DecodedCorpus:
    """Results of all modes.

    Attributes:
        records: Mode -> a record for every utterance.
        clock: Seconds of ``read``, of ``encode`` (both shared by the modes), and of
            each mode's search.
    """

    records: dict[str, list[Record]]
    clock: Clock = field(default_factory=Clock)

    def parts_s(self, mode: str) -> dict[str, float]:
        """Seconds of a mode's steps: reading, encoding, searching."""
        names = {"read": "read", "encode": "encode", "search": mode}
        return {
            part: round(self.clock.seconds.get(name, 0.0), 3)
            for part, name in names.items()
        }


def decode_corpus(
    recogniser: KoreanRecogniser,
    utterances: Sequence[Utterance],
    *,
    batch_seconds: float,
    save: Path | None = None,
    read: Callable[[str], np.ndarray] = read_audio,
) -> DecodedCorpus:
    """Decode utterances in all modes of the recogniser.

    Args:
        recogniser: Model and searches.
        utterances: Longest first.
        batch_seconds: Padded audio in a batch.
        save: Folder to write the posteriors to.
        read: Path -> ``(S,)`` float32 samples at 16 kHz; raises ``DataError``.

    Returns:
        A record of every utterance for every mode.
    """
    progress = Progress(sum(u.duration_s for u in utterances), len(utterances))
    result = DecodedCorpus({mode: [] for mode in recogniser.decoders})
    if save is not None:
        write_token_lists(save, recogniser.token_lists)
    recogniser.warm_up()
    for batch in batches(utterances, batch_seconds):
        fresh = _decode_batch(recogniser, batch, result.clock, save, read)
        for mode, records in fresh.items():
            result.records[mode] += records
        first = next(iter(fresh.values()))
        for record in first:
            if record.error is not None:
                logging.warning("%s failed: %s", record.utt, record.error)
        progress.advance(first)
    return result


def _decode_batch(
    recogniser: KoreanRecogniser,
    batch: Sequence[Utterance],
    clock: Clock,
    save: Path | None,
    read: Callable[[str], np.ndarray],
) -> dict[str, list[Record]]:
    """Read, encode together, search one by one in each mode."""
    failed: list[Record] = []
    readable: list[tuple[Utterance, np.ndarray]] = []
    with clock.step("read"):
        for utterance in batch:
            try:
                sound = read(utterance.path)
                check_length(sound, recogniser.shortest_samples)
            except DataError as error:
                failed.append(failure(utterance, str(error)))
            else:
                readable.append((utterance, sound))
    posteriors = []
    if readable:
        with clock.step("encode"):
            posteriors = recogniser.posteriors([sound for _, sound in readable])
    if save is not None:
        for (utterance, sound), found in zip(readable, posteriors, strict=True):
            write_posteriors(save, utterance.utt, found, len(sound))
    records = {}
    for mode in recogniser.decoders:
        records[mode] = list(failed)
        for (utterance, sound), found in zip(readable, posteriors, strict=True):
            records[mode].append(
                _search(recogniser, mode, utterance, found, len(sound), clock)
            )
    return records


def _search(
    recogniser: KoreanRecogniser,
    mode: str,
    utterance: Utterance,
    posteriors: dict[str, np.ndarray],
    samples: int,
    clock: Clock,
) -> Record:
    """Record of one utterance in one mode; times are not counted as search."""
    try:
        with clock.step(mode):
            best, *others = recogniser.decode(mode, posteriors)
    except (DataError, ValueError) as error:
        return failure(utterance, str(error))
    timed = recogniser.times(mode, best.text, posteriors, samples)
    return Record(
        utterance.utt,
        utterance.lang,
        timed.tokens,
        best.score,
        timed.start_s,
        timed.end_s,
        timed.scores,
        samples / SAMPLE_RATE_HZ,
        [{"text": o.text, "score": finite(o.score)} for o in others],
        text=best.text,
        scores=dict(best.scores),
        words=timed.words,
    )
