"""Data directories of tones: one for the language, one for the speaker, one a phone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from espnet2_dq.analysis.feature_source import FeatureSource
from espnet2_dq.data.ctm import PhoneSegment, write_ctm
from espnet2_dq.data.tables import write_table
from espnet2_dq.encoder.frame_grid import FrameGrid

LANGUAGE_HZ = {"de": 440.0, "pl": 760.0}
SPEAKER_HZ = {f"s{i}": 2200.0 + 320.0 * i for i in range(6)}
PHONE_HZ = {"a": 5800.0, "b": 6600.0, "c": 7400.0}


def write_tones(
    root: Path,
    *,
    speakers: Sequence[str],
    each: int,
    seed: int = 0,
    phones: bool = True,
) -> Path:
    """Write ``each`` utterances of each speaker in each language, 0.5 to 0.8 s."""
    rng = np.random.default_rng(seed)
    (root / "wav").mkdir(parents=True)
    tables: dict[str, dict[str, str]] = {
        name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2num_samples")
    }
    segments = {}
    for speaker in speakers:
        for lang, hz in LANGUAGE_HZ.items():
            for number in range(each):
                utt = f"{speaker}-{lang}-{number:02d}"
                spoken = rng.choice(list(PHONE_HZ), int(rng.integers(5, 9)))
                time = np.arange(1600 * len(spoken)) / 16000
                tone = np.repeat([PHONE_HZ[p] for p in spoken], 1600)
                wave = sum(
                    0.2 * np.sin(2 * np.pi * f * time + rng.uniform(0, 6))
                    for f in (hz, SPEAKER_HZ[speaker], tone)
                ) + 0.02 * rng.standard_normal(len(time))
                path = root / "wav" / f"{utt}.wav"
                soundfile.write(path, wave, 16000)
                tables["wav.scp"][utt] = str(path)
                tables["utt2spk"][utt] = speaker
                tables["utt2lang"][utt] = lang
                tables["utt2num_samples"][utt] = str(len(time))
                segments[utt] = [
                    PhoneSegment(0.1 * i, 0.1, str(p)) for i, p in enumerate(spoken)
                ]
    for name, table in tables.items():
        write_table(root / name, table)
    if phones:
        write_ctm(root / "phn.ctm", segments)
    return root


def band_source(*, useful: bool = True) -> FeatureSource:
    """Layers 1, 2, 3 hear the tones of language, speaker, phone; layer 0 is noise.

    Args:
        useful: False: every layer is noise, as of a network that has learned nothing.
    """

    def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        frames = speech.unfold(1, 400, 320) * torch.hann_window(400)
        log_power = (torch.fft.rfft(frames).abs().square() + 1e-3).log()
        # bins of 40 Hz: 0-50 language, 50-120 speaker, 130-200 phone
        bands = [log_power[..., a:b] for a, b in ((0, 50), (50, 120), (130, 200))]
        generator = torch.Generator().manual_seed(0)
        noise = [torch.randn(band.shape, generator=generator) for band in bands]
        return [noise[0], *(bands if useful else noise)]

    return FeatureSource("bands", encode, FrameGrid(), 3)
