"""From utterances to a padded batch: crop, masks, and what the batch counts.

Crops and masks are drawn here, per utterance, from ``(seed, epoch, utterance,
ordinal)``. So neither batch mates, nor the number of ranks, nor a resumed run
change them, and the trainer knows the number of masked frames of a whole update
before its first forward pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from espnet2_dq.data.batches import Draw
from espnet2_dq.ssl.masking import draw_span_mask, utterance_rng
from espnet2_dq.tasks.labels import LabelSet

Item = tuple[Draw, dict[str, np.ndarray]]


@dataclass(frozen=True)
class SpanMaskConfig:
    """Masked spans of an utterance (METHODS 1.4).

    Attributes:
        prob: Expected share of frames that start or continue a span, before
            overlaps; 0 draws no mask.
        length: Frames in a span.
        min_masks: Fewest spans in an utterance.
    """

    prob: float = 0.65
    length: int = 10
    min_masks: int = 1


@dataclass
class Collate:
    """Make a batch out of ``(Draw, streams)`` items.

    Attributes:
        num_frames: Frames that the frontend makes of a number of samples.
        seed: Seed of the run.
        time_mask: Spans of frames to mask; ``None`` draws none.
        channel_mask: Spans of channels to zero (fine-tuning); ``None`` draws none.
        channels: Width that ``channel_mask`` applies to.
        crop_samples: Longest stretch of speech to keep; ``None`` keeps all.
        length_multiple: The padded length is a multiple of this [samples].
        labels: Of weakly supervised pretraining; ``None`` adds none.
        epoch: Set by the iterator factory before an epoch starts.
    """

    num_frames: Callable[[int], int]
    seed: int
    time_mask: SpanMaskConfig | None = None
    channel_mask: SpanMaskConfig | None = None
    channels: int = 0
    crop_samples: int | None = None
    length_multiple: int = 1
    labels: LabelSet | None = None
    epoch: int = field(default=0)

    def __call__(self, items: Sequence[Item]) -> tuple[list[str], dict[str, Any]]:
        """Return utterance ids and the batch.

        The batch holds ``speech (B, S)`` float32 padded with 0 and
        ``speech_lengths (B,)``; every other stream ``x`` as ``x (B, L)`` int64
        padded with -1 and ``x_lengths (B,)``; ``span_mask (B, T)`` and
        ``channel_mask (B, D)`` where asked for; with labels ``lang (B, 1)``,
        ``phn (B, L)``, ``phn_lengths (B,)`` (0: unlabelled), ``mix_frames (B, T)``
        and ``mix_utterance (B,)`` bool; and ``counts (3,)`` float64: masked frames,
        valid frames, utterances.
        """
        speech, spans, channels, frames = [], [], [], []
        mixed: list[torch.Tensor] = []
        for draw, streams in items:
            rng = utterance_rng(self.seed, self.epoch, f"{draw.utt_id}/{draw.ordinal}")
            wave = np.asarray(streams["speech"], np.float32)
            if self.labels is None or draw.utt_id not in self.labels.phn:
                wave = self._crop(wave, rng)
            speech.append(torch.from_numpy(np.ascontiguousarray(wave)))
            frames.append(max(0, int(self.num_frames(len(wave)))))
            if self.time_mask is not None:
                spans.append(_draw(frames[-1], rng, self.time_mask))
            if self.channel_mask is not None:
                channels.append(_draw(self.channels, rng, self.channel_mask))
            if self.labels is not None:
                # one draw for the utterance, then one for every frame
                drawn = rng.random() < self.labels.replace_prob
                chosen = self.labels.draw_frames(frames[-1], rng)
                mixed.append(torch.from_numpy(np.append(drawn, chosen)))
        longest = max(len(wave) for wave in speech)
        width = longest + -longest % self.length_multiple
        batch: dict[str, Any] = {
            "speech": _pad(speech, 0.0, width),
            "speech_lengths": torch.tensor([len(w) for w in speech]),
        }
        if self.time_mask is not None:
            batch["span_mask"] = _pad(spans, False, max(0, self.num_frames(width)))
        if self.channel_mask is not None:
            batch["channel_mask"] = torch.stack(channels)
        for name in items[0][1]:
            if name != "speech":
                rows = [
                    torch.from_numpy(np.asarray(s[name], np.int64)) for _, s in items
                ]
                batch[name] = _pad(rows, -1)
                batch[f"{name}_lengths"] = torch.tensor([len(r) for r in rows])
        if self.labels is not None:
            utterances = [draw.utt_id for draw, _ in items]
            whole = _pad(mixed, False, 1 + max(0, self.num_frames(width)))
            batch["mix_utterance"], batch["mix_frames"] = whole[:, 0], whole[:, 1:]
            batch |= _label_streams(self.labels, utterances)
        masked = float(sum(int(m.sum()) for m in spans))
        counts = [masked, float(sum(frames)), float(len(items))]
        batch["counts"] = torch.tensor(counts, dtype=torch.float64)
        return [draw.utt_id for draw, _ in items], batch

    def _crop(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.crop_samples is None or len(wave) <= self.crop_samples:
            return wave
        start = int(rng.integers(len(wave) - self.crop_samples + 1))
        return wave[start : start + self.crop_samples]


def _label_streams(
    labels: LabelSet, utterances: Sequence[str]
) -> dict[str, torch.Tensor]:
    """``lang``, ``phn``, ``phn_lengths`` of these utterances."""
    none = np.zeros(0, np.int64)
    rows = [torch.from_numpy(labels.phn.get(utt, none)) for utt in utterances]
    return {
        "lang": torch.tensor([[labels.lang[utt]] for utt in utterances]),
        "phn": _pad(rows, -1),
        "phn_lengths": torch.tensor([len(row) for row in rows]),
    }


def _draw(size: int, rng: np.random.Generator, conf: SpanMaskConfig) -> torch.Tensor:
    if conf.prob <= 0.0 or size <= 0:
        return torch.zeros(max(size, 0), dtype=torch.bool)
    mask = draw_span_mask(
        size,
        rng,
        mask_prob=conf.prob,
        mask_length=conf.length,
        min_masks=conf.min_masks,
    )
    return torch.from_numpy(mask)


def _pad(
    rows: Sequence[torch.Tensor], value: float | int | bool, width: int = 0
) -> torch.Tensor:
    """``(B, L)``, L at least ``width``."""
    padded = torch.nn.utils.rnn.pad_sequence(
        list(rows), batch_first=True, padding_value=value
    )
    missing = max(0, width - padded.size(1))
    return torch.nn.functional.pad(padded, (0, missing), value=value)
