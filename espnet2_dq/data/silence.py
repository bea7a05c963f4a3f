"""Removal of long silences, as K-wav2vec trains without them.

``librosa.effects.split`` (30 dB below the loudest frame) finds what is loud; these
parts are joined. The reference did so in training and, by accident, not in evaluation
(trap T12); here all sets are treated alike unless the user asks for something else.
Phone times no longer hold and are left out.
"""

import functools
import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.probing import map_threads
from espnet2_dq.data.rejects import Reject
from espnet2_dq.errors import ConfigError, DataError


@dataclass(frozen=True)
class SilenceOptions:
    """What counts as silence.

    Attributes:
        top_db: Frames (2048 samples, hop 512) that are more than so many dB below the
            loudest one are silent.
        shortest_s: A result shorter than this is not used: the sound stays whole.
        workers: Threads.
    """

    top_db: float = 30.0
    shortest_s: float = 0.1
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.top_db <= 0:
            raise ConfigError(f"--top_db {self.top_db}: expected more than 0")


@dataclass(frozen=True)
class Shortened:
    """A set without silences; seconds of its usable sounds before and after."""

    directory: KaldiDir
    before_s: float
    after_s: float
    untouched: int

    def describe(self) -> str:
        """One line for the log."""
        share = 1 - self.after_s / self.before_s if self.before_s else 0.0
        return (
            f"{len(self.directory)} utterances, {self.before_s / 3600:.2f} h before, "
            f"{self.after_s / 3600:.2f} h after: {share:.1%} removed; "
            f"{self.untouched} have no silence to remove"
        )


def cut_silences(samples: np.ndarray, options: SilenceOptions) -> np.ndarray:
    """Loud parts of ``samples`` (S,) float32, joined: (S' <= S,) float32.

    A sound of zeros, or one of which too little is left, is returned as it is.
    """
    import librosa

    if not samples.any():
        return samples
    parts = librosa.effects.split(samples, top_db=options.top_db)
    kept = sum(end - begin for begin, end in parts)
    if kept == len(samples) or kept < options.shortest_s * SAMPLE_RATE_HZ:
        return samples
    return np.concatenate([samples[begin:end] for begin, end in parts])


def shorten_set(
    directory: KaldiDir, audio_out: Path, name: str, options: SilenceOptions
) -> Shortened:
    """Write shortened flac copies (16 kHz, 16 bits) of a set's sounds.

    Args:
        directory: The set; its sounds are only read.
        audio_out: Folder of the copies.
        name: Name of the set, for the progress bar.
        options: What counts as silence.

    Returns:
        The new directory: paths and lengths changed, ``phn.ctm`` dropped, sounds that
        cannot be read rejected; all else as it was.

    Raises:
        DataError: No sound of the set can be read.
    """
    audio_out = audio_out.absolute()
    audio_out.mkdir(parents=True, exist_ok=True)
    work = functools.partial(_shorten, audio_out=audio_out, options=options)
    rows = list(directory)
    utterances: list[Utterance] = []
    rejects: list[Reject] = []
    before = untouched = 0
    results = map_threads(work, rows, workers=options.workers, label=f"{name}: silence")
    for old, new in zip(rows, results, strict=True):
        if isinstance(new, AudioError):
            rejects.append((old.utt, new.reason))
            continue
        utterances.append(new)
        before += old.num_samples
        untouched += new.num_samples == old.num_samples
    if not utterances:
        raise DataError(f"{name}: no sound can be read; first rejects: {rejects[:3]}")
    made = directory.subset([u.utt for u in utterances])
    made.utterances = {u.utt: u for u in utterances}
    made.rejects = [*directory.rejects, *rejects]
    if made.phones:
        logging.info("%s: phn.ctm left out: its times no longer hold", name)
        made.phones = {}
    after = sum(u.num_samples for u in utterances)
    return Shortened(made, before / SAMPLE_RATE_HZ, after / SAMPLE_RATE_HZ, untouched)


def _shorten(
    utterance: Utterance, *, audio_out: Path, options: SilenceOptions
) -> Utterance | AudioError:
    """The utterance with its shortened copy, or why it cannot be read."""
    try:
        samples = cut_silences(read_audio(utterance.path), options)
    except AudioError as error:
        return error
    target = audio_out / f"{utterance.utt.replace('/', '_')}.flac"
    partial = target.with_suffix(".part")
    # rounded by us: what libsndfile writes for 1.0 differs between its versions
    whole = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(str(partial), whole, SAMPLE_RATE_HZ, format="FLAC")
    partial.replace(target)
    return replace(utterance, path=str(target), num_samples=len(whole))


def choose_sets(present: Collection[str], asked: Collection[str]) -> set[str]:
    """Sets whose silences go: those asked for, or all.

    Raises:
        ConfigError: A set that is not there.
    """
    unknown = sorted(set(asked) - set(present))
    if unknown:
        raise ConfigError(
            f"--only {' '.join(unknown)}: no such set; there are "
            f"{' '.join(sorted(present))}"
        )
    return set(asked) or set(present)
