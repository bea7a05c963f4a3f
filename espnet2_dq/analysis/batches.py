"""Which utterances of a data directory are analysed, and in which batches."""

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from espnet2_dq.data.audio import AudioScpReader
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import DataError

K = TypeVar("K")


def read_lengths(folder: Path, utterances: Sequence[str]) -> dict[str, int]:
    """Samples at 16 kHz by utterance, shortest first.

    Raises:
        DataError: No utterances, or one without a length.
    """
    if not utterances:
        raise DataError(f"{folder}/wav.scp: no utterances to analyse")
    table = read_table(folder / "utt2num_samples")
    for utt in utterances:
        if not table.get(utt, "").isdigit():
            raise DataError(
                f"{folder}/utt2num_samples: '{utt}' of wav.scp has no length there;"
                " run the check stage (stage 2) again"
            )
    return {u: int(table[u]) for u in sorted(utterances, key=lambda u: int(table[u]))}


def length_batches(lengths: Mapping[K, int], max_samples: int) -> list[list[K]]:
    """Group sounds in their order; no batch pads to more than ``max_samples``.

    Args:
        lengths: Samples of each sound, best in rising order.
        max_samples: Of a padded batch; a longer sound is a batch of its own.
    """
    batches: list[list[K]] = []
    longest = 0
    for key, length in lengths.items():
        longest = max(longest, length)
        if not batches or longest * (len(batches[-1]) + 1) > max_samples:
            batches.append([])
            longest = length
        batches[-1].append(key)
    return batches


def read_batches(
    reader: AudioScpReader, samples: Mapping[str, int], batch_s: float
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Batches of ids and their sounds ``(S,)`` float32, read when asked for."""
    limit = int(batch_s * reader.sample_rate)
    for batch in length_batches(samples, limit):
        yield batch, [reader[utt] for utt in batch]


def spread_order(
    utterances: Iterable[str], languages: Mapping[str, str], seed: int
) -> list[str]:
    """Shuffle utterances, then take one of each language in turn.

    Args:
        utterances: Ids.
        languages: By utterance; those without one form a language of their own.
        seed: Of the shuffle.
    """
    per_language: dict[str, list[str]] = {}
    for utt in sorted(utterances):
        per_language.setdefault(languages.get(utt, ""), []).append(utt)
    rng = np.random.default_rng(seed)
    for utts in per_language.values():
        rng.shuffle(utts)
    longest = max((len(utts) for utts in per_language.values()), default=0)
    return [
        utts[i]
        for i in range(longest)
        for _, utts in sorted(per_language.items())
        if i < len(utts)
    ]


def unseen_speakers(data_dir: Path, seen: Container[str]) -> list[str]:
    """Utterances whose speaker is not among those ``seen``.

    Raises:
        DataError: There are none.
    """
    speakers = read_table(data_dir / "utt2spk")
    fresh = [utt for utt in speakers if speakers[utt] not in seen]
    if not fresh:
        raise DataError(
            f"{data_dir}/utt2spk: all speakers are also in the probe's training"
            " directory; the probe needs unseen speakers"
        )
    if len(fresh) < len(speakers):
        logging.info(
            f"probe: {len(speakers) - len(fresh)} utterances of {data_dir} left out,"
            " their speakers are in the training directory"
        )
    return fresh


def read_languages(data_dir: Path) -> dict[str, str]:
    """``utt2lang``, empty where there is none."""
    path = data_dir / "utt2lang"
    return read_table(path) if path.exists() else {}
