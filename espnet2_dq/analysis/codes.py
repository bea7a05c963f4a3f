"""Codes of both quantizers for every utterance of a data directory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_dq.analysis.batches import read_batches, read_lengths
from espnet2_dq.data.audio import AudioScpReader

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CodeTable:
    """Codes of a data directory, utterances in LC_ALL=C order.

    Attributes:
        utterances: U ids.
        language: ``(U, G)`` int32, or ``None`` without a language quantizer.
        phoneme: ``(N, G)`` int32, all utterances' frames in one, or ``None``.
        lengths: Frames of each utterance ``(U,)``; they sum to N.
    """

    utterances: list[str]
    language: np.ndarray | None
    phoneme: np.ndarray | None
    lengths: np.ndarray

    def save(self, path: Path | str) -> None:
        """Write a compressed ``.npz`` atomically; a missing stream is left out."""
        arrays: dict[str, Any] = {
            "utterances": np.array(self.utterances),
            "lengths": self.lengths,
        }
        if self.language is not None:
            arrays["language"] = self.language
        if self.phoneme is not None:
            arrays["phoneme"] = self.phoneme
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        with part.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        part.replace(target)

    @classmethod
    def load(cls, path: Path | str) -> "CodeTable":
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(
                utterances=[str(utt) for utt in arrays["utterances"]],
                language=arrays.get("language"),
                phoneme=arrays.get("phoneme"),
                lengths=arrays["lengths"],
            )


def extract_codes(
    model: Any, data_dir: Path | str, *, batch_s: float = 60.0, device: str = "cpu"
) -> CodeTable:
    """Run the model over all utterances of ``wav.scp``, batched by length.

    Args:
        model: Has ``extract_codes(speech (B, S), lengths (B,))`` returning
            ``language (B, G) | None``, ``phoneme (B, T, G) | None``, ``lengths (B,)``.
        data_dir: Data directory with ``wav.scp`` and ``utt2num_samples``.
        batch_s: Padded seconds of audio in a batch.
        device: Of the model.
    """
    import torch

    folder = Path(data_dir)
    reader = AudioScpReader(folder / "wav.scp")
    samples = read_lengths(folder, list(reader))
    language: dict[str, np.ndarray] = {}
    phoneme: dict[str, np.ndarray] = {}
    lengths: dict[str, int] = {}
    for batch, sounds in read_batches(reader, samples, batch_s):
        speech = [torch.from_numpy(sound) for sound in sounds]
        with torch.inference_mode():
            codes = model.extract_codes(
                torch.nn.utils.rnn.pad_sequence(speech, batch_first=True).to(device),
                torch.tensor([len(s) for s in speech], device=device),
            )
        for row, utt in enumerate(batch):
            lengths[utt] = int(codes.lengths[row])
            if codes.language is not None:
                language[utt] = _int32(codes.language[row])
            if codes.phoneme is not None:
                phoneme[utt] = _int32(codes.phoneme[row, : lengths[utt]])
    utterances = sorted(lengths)
    return CodeTable(
        utterances=utterances,
        language=np.stack([language[u] for u in utterances]) if language else None,
        phoneme=np.concatenate([phoneme[u] for u in utterances]) if phoneme else None,
        lengths=np.array([lengths[u] for u in utterances], dtype=np.int64),
    )


def _int32(codes: "torch.Tensor") -> np.ndarray:
    return codes.cpu().numpy().astype(np.int32)
