"""The frame-phone probe on a corpus: fixed utterances, any encoder, every layer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_dq.analysis.batches import (
    length_batches,
    read_languages,
    spread_order,
    unseen_speakers,
)
from espnet2_dq.analysis.frame_labels import (
    SILENCE,
    label_frames,
    phone_table,
    read_alignments,
)
from espnet2_dq.analysis.probe import fit_probe, probe_hits, standard_error
from espnet2_dq.data.audio import AudioScpReader
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import ConfigError, DataError

Encode = Callable[[torch.Tensor, torch.Tensor], Sequence[torch.Tensor]]
Alignment = Mapping[str, Sequence[PhoneSegment]]


@dataclass(frozen=True)
class ProbeResult:
    """Accuracy on the frames of unseen speakers.

    Attributes:
        layer_accuracy: Per layer; index 0 is the encoder's input.
        best: Highest of them.
        best_layer: Where; the lowest of equals.
        majority: Accuracy of always answering the most frequent training label.
        num_classes: Labels seen in training.
        train_frames: Frames fitted on.
        test_frames: Frames scored.
        seconds: Encoding and fitting.
        layer_error: Standard error of each accuracy, over utterances.
    """

    layer_accuracy: list[float]
    best: float
    best_layer: int
    majority: float
    num_classes: int
    train_frames: int
    test_frames: int
    seconds: float
    layer_error: list[float]

    def record(self, update: int, network: str = "student") -> dict[str, Any]:
        """One line of ``probe.jsonl``."""
        return {
            "update": update,
            "layer": [round(a, 5) for a in self.layer_accuracy],
            "best": round(self.best, 5),
            "best_layer": self.best_layer,
            "majority": round(self.majority, 5),
            "network": network,
        }


@dataclass(frozen=True)
class _Side:
    """Chosen utterances of one data directory, shortest first; arrays per utterance."""

    speech: list[np.ndarray]
    labels: list[np.ndarray]
    keep: list[np.ndarray]

    def kept_labels(self) -> np.ndarray:
        """``(N,)`` labels of the kept frames, utterance after utterance."""
        pairs = zip(self.labels, self.keep, strict=True)
        return np.concatenate([labels[keep] for labels, keep in pairs])

    def owners(self) -> torch.Tensor:
        """``(N,)`` int64: which utterance each kept frame belongs to."""
        kept = torch.tensor([int(keep.sum()) for keep in self.keep])
        return torch.repeat_interleave(torch.arange(len(kept)), kept)


@dataclass(frozen=True)
class _Labels:
    """Ids of phones, and the id whose frames are left out."""

    ids: Mapping[str, int]
    ignore: int | None


class FrameProbe:
    """Fits and scores the probe on the same frames each time it is called.

    The audio of the chosen utterances stays in memory as 16 kHz float32 (4 MB a
    minute); a call costs encoding plus about 1 s of CPU per layer of 12,000 x 128.

    Args:
        train_dir: Data directory with ``wav.scp``, ``utt2num_samples``, ``phn.ctm``
            and ``utt2spk``; utterances are taken in turn from each ``utt2lang``.
        test_dir: The same with other speakers; those of ``train_dir`` are left out.
        grid: Of the frontend.
        max_train_frames: Frames to fit on.
        max_test_frames: Frames to score.
        batch_s: Padded seconds of audio in a batch given to ``encode``.
        seed: Picks the utterances.
        skip_silence: Leave frames without a phone out of both sides.
        iterations: Of the fit.
        phones: Aligned phones of both directories; by default their own ``phn.ctm``.

    Raises:
        DataError: No alignments, or no test utterance of an unseen speaker.
    """

    def __init__(
        self,
        train_dir: Path | str,
        test_dir: Path | str,
        *,
        grid: FrameGrid | None = None,
        max_train_frames: int = 12000,
        max_test_frames: int = 8000,
        batch_s: float = 30.0,
        seed: int = 0,
        skip_silence: bool = False,
        iterations: int = 20,
        phones: Alignment | None = None,
    ) -> None:
        self.grid = grid or FrameGrid()
        self.batch_samples = int(batch_s * 16000)
        self.seed = seed
        self.iterations = iterations
        train, test = Path(train_dir), Path(test_dir)
        on_train = read_alignments(train) if phones is None else phones
        on_test = read_alignments(test) if phones is None else phones
        ids = {p: i for i, p in enumerate(phone_table(on_train.values()))}
        ignore = ids[SILENCE] if skip_silence else None
        seen = set(read_table(train / "utt2spk").values())
        everyone = list(read_table(train / "utt2spk"))
        labels = _Labels(ids, ignore)
        self._train = self._load(train, everyone, on_train, labels, max_train_frames)
        fresh = unseen_speakers(test, seen)
        self._test = self._load(test, fresh, on_test, labels, max_test_frames)
        self._renumber()

    def run(self, encode: Encode) -> ProbeResult:
        """Fit and score each layer that ``encode`` returns.

        Args:
            encode: ``(speech (B, S) float32, lengths (B,))`` -> layers ``(B, T, D)``,
                index 0 = encoder input; called under ``no_grad``. Eval mode and the
                device are the caller's affair.
        """
        started = time.perf_counter()
        with torch.no_grad():
            x_train, y_train = self._collect(encode, self._train)
            x_test, y_test = self._collect(encode, self._test)
        accuracy, errors = [], []
        for layer, (fit_on, score_on) in enumerate(zip(x_train, x_test, strict=True)):
            if not bool(fit_on.isfinite().all() & score_on.isfinite().all()):
                raise DataError(f"probe: layer {layer} has NaN or infinite features")
            target = y_train.to(fit_on.device)
            weights = fit_probe(
                fit_on,
                target,
                num_classes=self.num_classes,
                seed=self.seed,
                iterations=self.iterations,
            )
            hits = probe_hits(weights, score_on, y_test.to(fit_on.device))
            accuracy.append(float(hits.double().mean()))
            errors.append(standard_error(hits, self._test.owners()))
        best_layer = int(np.argmax(accuracy))
        top = int(torch.bincount(y_train).argmax())
        return ProbeResult(
            layer_accuracy=accuracy,
            best=accuracy[best_layer],
            best_layer=best_layer,
            majority=float((y_test == top).double().mean()),
            num_classes=self.num_classes,
            train_frames=len(y_train),
            test_frames=len(y_test),
            seconds=time.perf_counter() - started,
            layer_error=errors,
        )

    def _load(
        self,
        data_dir: Path,
        utterances: Sequence[str],
        alignments: Alignment,
        labels: _Labels,
        max_frames: int,
    ) -> _Side:
        """Choose utterances in seeded order until ``max_frames`` are kept."""
        lengths = read_table(data_dir / "utt2num_samples")
        reader = AudioScpReader(data_dir / "wav.scp")
        chosen: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        left = max_frames
        aligned = [utt for utt in utterances if utt in alignments]
        for utt in spread_order(aligned, read_languages(data_dir), self.seed):
            if left <= 0:
                break
            frames = int(self.grid.num_frames(int(lengths[utt])))
            found = label_frames(alignments[utt], frames, labels.ids, grid=self.grid)
            keep = np.full(frames, True)
            if labels.ignore is not None:
                keep = found != labels.ignore
            keep &= np.cumsum(keep) <= left
            if keep.any():
                left -= int(keep.sum())
                chosen.append((frames, reader[utt], found, keep))
        chosen.sort(key=lambda row: row[0])
        if not chosen:
            raise DataError(f"{data_dir}: no labelled frames for the probe")
        _, speech, rows, keeps = zip(*chosen, strict=True)
        return _Side(list(speech), list(rows), list(keeps))

    def _renumber(self) -> None:
        """Number the labels met in training 0..C-1; others become -1 (never right)."""
        used = np.unique(
            np.concatenate(
                [
                    x[k]
                    for x, k in zip(self._train.labels, self._train.keep, strict=True)
                ]
            )
        )
        self.num_classes = len(used)
        for side in (self._train, self._test):
            for i, labels in enumerate(side.labels):
                position = np.searchsorted(used, labels).clip(max=len(used) - 1)
                side.labels[i] = np.where(used[position] == labels, position, -1)

    def _collect(
        self, encode: Encode, side: _Side
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Kept frames of all layers: list of ``(N, D)``, and labels ``(N,)``."""
        layers: list[list[torch.Tensor]] = []
        sizes = {i: len(sound) for i, sound in enumerate(side.speech)}
        for batch in length_batches(sizes, self.batch_samples):
            speech = [torch.from_numpy(side.speech[i]) for i in batch]
            outputs = encode(
                torch.nn.utils.rnn.pad_sequence(speech, batch_first=True),
                torch.tensor([len(s) for s in speech]),
            )
            layers = layers or [[] for _ in outputs]
            for store, output in zip(layers, outputs, strict=True):
                for row, i in enumerate(batch):
                    store.append(_take(output[row], side.keep[i]))
        labels = torch.from_numpy(side.kept_labels().astype(np.int64))
        return [torch.cat(store) for store in layers], labels


def _take(features: torch.Tensor, keep: np.ndarray) -> torch.Tensor:
    """``(T, D)`` -> kept frames ``(n, D)`` float32."""
    if len(features) < len(keep):
        raise ConfigError(
            f"probe: the encoder made {len(features)} frames where the frame grid"
            f" says {len(keep)}; give FrameProbe the frontend's own frame_grid"
        )
    chosen = torch.from_numpy(np.flatnonzero(keep)).to(features.device)
    return features[chosen].detach().float()
