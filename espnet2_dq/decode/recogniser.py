"""From sounds to timed tokens with a fine-tuned CTC model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.decode.alignment import viterbi_spans
from espnet2_dq.decode.beam import BeamDecoder, BeamOptions
from espnet2_dq.decode.greedy import greedy_path
from espnet2_dq.decode.hypothesis import CTCHypothesis
from espnet2_dq.encoder.frame_grid import FrameGrid

END_TOKEN = "<sos/eos>"


@dataclass(frozen=True)
class TimedTokens:
    """A hypothesis in words of the user: tokens and seconds."""

    tokens: list[str]
    score: float
    start_s: list[float]
    end_s: list[float]
    token_scores: list[float]


class Recogniser:
    """Decodes batches of sounds; results do not depend on batch mates.

    Args:
        model: Has ``encode(speech, speech_lengths)`` -> ``(B, T, D)``, ``(B,)``;
            ``ctc.log_softmax`` -> ``(B, T, V)``; ``token_list``; ``frame_grid``; and
            ``conf.subsample`` where frames are pooled.
        beam: Options of the beam search; None: greedy.
        device: Where the model computes; searches run on the CPU.

    Raises:
        ConfigError: A beam that does not fit the vocabulary.
    """

    def __init__(
        self, model: Any, beam: BeamOptions | None = None, *, device: str = "cpu"
    ) -> None:
        self.model = model.to(device).eval()
        self.device = device
        self.tokens: list[str] = list(model.token_list)
        self.end = self.tokens.index(END_TOKEN) if END_TOKEN in self.tokens else None
        self.decoder = (
            None if beam is None else BeamDecoder(len(self.tokens), beam, eos=self.end)
        )
        self._grid = model.frame_grid
        self._pooled = int(getattr(getattr(model, "conf", None), "subsample", 1))

    @property
    def shortest_samples(self) -> int:
        """Fewest samples that make a frame."""
        return int(self._grid.receptive_field)

    @torch.no_grad()
    def posteriors(self, sounds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-probabilities ``(T, V)`` float32 of each sound, without padding.

        Args:
            sounds: ``(S,)`` float32 samples at 16 kHz, each of at least
                ``shortest_samples``.
        """
        speech, lengths = pad_sounds(sounds)
        frames, frame_lengths = self.model.encode(
            speech.to(self.device), lengths.to(self.device)
        )
        log_probs = self.model.ctc.log_softmax(frames).float().cpu().numpy()
        return [
            row[:length]
            for row, length in zip(log_probs, frame_lengths.tolist(), strict=True)
        ]

    def decode(self, log_probs: np.ndarray) -> list[CTCHypothesis]:
        """Search one utterance, ``(T, V)``; the best hypothesis comes with spans.

        Raises:
            ValueError: Posteriors that are NaN, or no frames.
        """
        if len(log_probs) == 0 or np.isnan(log_probs).any():
            raise ValueError(
                "no frames" if len(log_probs) == 0 else "posteriors hold NaN"
            )
        if self.decoder is None:
            return [self._without_end(greedy_path(log_probs))]
        best, *others = self.decoder.decode(torch.from_numpy(log_probs))
        return [replace(best, spans=viterbi_spans(log_probs, best.ids)), *others]

    def _without_end(self, hypothesis: CTCHypothesis) -> CTCHypothesis:
        """Greedy search may pick ``<sos/eos>``, which is no token of a transcript."""
        pairs = zip(hypothesis.ids, hypothesis.spans, strict=True)
        kept = [(i, span) for i, span in pairs if i != self.end]
        return replace(
            hypothesis,
            ids=tuple(i for i, _ in kept),
            spans=tuple(span for _, span in kept),
        )

    def describe(self, hypothesis: CTCHypothesis, samples: int) -> TimedTokens:
        """Tokens and their times in a sound of ``samples`` samples."""
        return TimedTokens(
            [self.tokens[i] for i in hypothesis.ids],
            hypothesis.score,
            [self._edge_s(span.start, samples) for span in hypothesis.spans],
            [self._edge_s(span.end, samples) for span in hypothesis.spans],
            [span.score for span in hypothesis.spans],
        )

    def _edge_s(self, frame: int, samples: int) -> float:
        """Time between ``frame - 1`` and ``frame``."""
        return frame_edge_s(self._grid, frame * self._pooled, samples)


def pad_sounds(sounds: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sounds ``(S,)`` as a batch ``(B, S)`` float32 padded with 0, and ``(B,)``."""
    lengths = torch.tensor([len(sound) for sound in sounds])
    speech = torch.zeros(len(sounds), int(lengths.max()))
    for row, sound in zip(speech, sounds, strict=True):
        row[: len(sound)] = torch.from_numpy(np.ascontiguousarray(sound))
    return speech, lengths


def frame_edge_s(grid: FrameGrid, frame: int, samples: int) -> float:
    """Time between ``frame - 1`` and ``frame``: half a hop before its centre.

    Args:
        grid: The frontend's frames.
        frame: Its index, before any pooling.
        samples: Length of the sound, which no time exceeds.
    """
    edge_s = float(grid.centre_s(frame)) - grid.hop / 2 / SAMPLE_RATE_HZ
    return min(edge_s, samples / SAMPLE_RATE_HZ)
