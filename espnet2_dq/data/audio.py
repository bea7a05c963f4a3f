"""Sound files: headers probed, samples read as 16 kHz mono float32.

Any file that libsndfile opens is accepted (wav, flac, mp3, ogg, ...), and headerless
``.pcm`` (see :mod:`espnet2_dq.data.pcm`); other rates are resampled by soxr and
channels are averaged. Nothing here imports torch.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from espnet2_dq.data import pcm
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import DataError

SAMPLE_RATE_HZ = 16000
# A wav writer that streamed to a pipe leaves such sizes in the header: not a fault.
_STREAMED_SIZE = 0x7FFF0000


class AudioError(DataError):
    """A sound file that cannot be used; ``reason`` is ``kind: detail``."""

    def __init__(self, path: Path | str, reason: str) -> None:
        """Keep the reason apart from the path, for ``reject.tsv``."""
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a sound file says."""

    rate: int
    channels: int
    frames: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def num_samples(self, sample_rate: int = SAMPLE_RATE_HZ) -> int:
        """Length in samples after resampling to ``sample_rate``."""
        return resampled_length(self.frames, self.rate, sample_rate)


def resampled_length(frames: int, rate: int, sample_rate: int) -> int:
    """Samples that soxr returns for ``frames`` at ``rate``: rounded, halves up.

    >>> resampled_length(481, 32000, 16000)
    241
    """
    return (2 * frames * sample_rate + rate) // (2 * rate)


def probe(path: Path | str) -> AudioInfo:
    """Read the header of a sound file.

    Raises:
        AudioError: Missing, empty, not a sound file, cut off, or 0 samples.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise AudioError(path, f"missing file: {_why(error)}") from error
    if size == 0:
        raise AudioError(path, "empty file: 0 bytes")
    if pcm.is_pcm(path):
        if size < 2:
            raise AudioError(path, "no samples: 1 byte, half a sample")
        return AudioInfo(pcm.RATE_HZ, 1, pcm.count_samples(size))
    try:
        info = soundfile.info(str(path), verbose=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            path, f"unreadable: {size} bytes that libsndfile does not know"
        ) from error
    _check_wav_size(path, info.extra_info)
    if info.frames <= 0 or info.samplerate <= 0:
        raise AudioError(path, "no samples: the header says 0")
    return AudioInfo(info.samplerate, info.channels, info.frames)


def _why(error: Exception) -> str:
    """The words of the system without the path, which the message has already."""
    return getattr(error, "strerror", None) or str(error)


def _check_wav_size(path: Path, header_log: str) -> None:
    """A cut-off wav is shortened in silence by libsndfile; its header log tells."""
    found = re.search(r"^\s*data : (\d+) \(should be (\d+)\)", header_log, re.MULTILINE)
    if not found:
        return
    declared, present = int(found[1]), int(found[2])
    if present < declared < _STREAMED_SIZE:
        raise AudioError(path, f"truncated: {present} of {declared} bytes of samples")


def decode(path: Path | str) -> tuple[np.ndarray, int]:
    """Decode a whole file.

    Returns:
        Samples ``(S,)`` float32, channels averaged, and the rate in Hz.

    Raises:
        AudioError: As ``probe``, or fewer samples than the header promises (truncated),
            or values that are not finite.
    """
    info = probe(path)
    if pcm.is_pcm(path):
        try:
            return pcm.read_pcm(path), info.rate
        except (OSError, ValueError) as error:
            raise AudioError(path, f"unreadable: {_why(error)}") from error
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(path, "truncated: decoding failed") from error
    if len(samples) < info.frames:
        raise AudioError(
            path, f"truncated: {len(samples)} of {info.frames} samples decoded"
        )
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(path, "not finite: holds NaN or infinite samples")
    return mono, rate


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Read a sound file as mono samples at ``sample_rate``.

    Returns:
        ``(S,)`` float32 in about [-1, 1]; S = ``probe(path).num_samples(sample_rate)``.

    Raises:
        AudioError: As ``decode``.
    """
    samples, rate = decode(path)
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


class AudioScpReader(Mapping[str, np.ndarray]):
    """The sounds of a ``wav.scp`` by utterance, read when asked for.

    >>> reader = AudioScpReader("dump/train/wav.scp")  # doctest: +SKIP
    >>> reader["es-0a1b-clip_1"].shape  # doctest: +SKIP
    (61440,)
    """

    def __init__(self, path: Path | str, sample_rate: int = SAMPLE_RATE_HZ) -> None:
        """Read the table; no sound file is touched yet."""
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.paths = read_table(path)

    def __getitem__(self, utt: str) -> np.ndarray:
        """Samples ``(S,)`` float32 of one utterance at the reader's rate."""
        sound = self.paths[utt]
        try:
            return read_audio(sound, self.sample_rate)
        except DataError as error:
            raise DataError(
                f"{self.path}: utterance '{utt}': {error}; "
                "run the check stage (stage 2) again to reject it"
            ) from error

    def __contains__(self, utt: object) -> bool:
        """Whether the table names ``utt`` (no sound is read)."""
        return utt in self.paths

    def __iter__(self) -> Iterator[str]:
        """Utterances in file order."""
        return iter(self.paths)

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.paths)
