"""Headerless sound: ``.pcm`` files of little-endian int16, mono, 16 kHz.

KsponSpeech comes this way. Such a file says nothing about itself: its length follows
from its size in bytes, so nothing is opened to count samples. Some of the corpus'
test files have an odd number of bytes (trap T20): the last byte is half a sample and
is dropped, as every reader of the corpus does; :func:`log_odd_files` says so once.

Samples are divided by 32768 as libsndfile divides those of a wav, so that a pcm and a
wav of the same samples are equal (the reference code divides by 32767: 0.003 %).
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SUFFIX = ".pcm"
RATE_HZ = 16000
_FULL_SCALE = 32768


def is_pcm(path: Path | str) -> bool:
    """Whether a path names a headerless sound file; only its ending can say.

    >>> is_pcm("KsponSpeech_000001.pcm"), is_pcm("a.wav"), is_pcm("a.PCM")
    (True, False, True)
    """
    return str(path).lower().endswith(SUFFIX)


def count_samples(size_bytes: int) -> int:
    """Whole samples in a file of this size.

    >>> count_samples(640), count_samples(641), count_samples(1)
    (320, 320, 0)
    """
    return size_bytes // 2


def read_pcm(path: Path | str) -> np.ndarray:
    """All whole samples of a file: ``(S,)`` float32 in [-1, 1), 16 kHz.

    Raises:
        OSError: The file cannot be read.
        ValueError: It begins as a wav file does: it has a header after all.
    """
    raw = Path(path).read_bytes()
    if raw.startswith(b"RIFF"):
        raise ValueError("a wav file named .pcm; rename it")
    samples = np.frombuffer(raw, dtype="<i2", count=count_samples(len(raw)))
    return samples.astype(np.float32) / _FULL_SCALE


def write_pcm(path: Path | str, samples: np.ndarray) -> None:
    """Write int16 ``(S,)`` samples of 16 kHz without a header.

    Raises:
        TypeError: The samples are of another type.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise TypeError(f"expected int16 (S,), got {samples.dtype} {samples.shape}")
    Path(path).write_bytes(samples.astype("<i2").tobytes())


def log_odd_files(name: str, paths: Iterable[str]) -> int:
    """Say how many pcm files of a set lose half a sample; their number.

    Args:
        name: Name of the set, for the message.
        paths: Sound files of any kind; those that are missing are passed over.
    """
    odd = []
    for path in paths:
        if is_pcm(path):
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if size % 2:
                odd.append(path)
    if odd:
        logging.info(
            "%s: %d pcm files have an odd number of bytes: the last byte, half a "
            "sample, is not read; first %s",
            name,
            len(odd),
            odd[0],
        )
    return len(odd)
