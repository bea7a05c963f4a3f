"""From sounds to Korean text with a hierarchical model, in any of the modes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from espnet2_dq.config import from_mapping
from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.decode.korean_times import time_text
from espnet2_dq.decode.recogniser import frame_edge_s, pad_sounds
from espnet2_dq.errors import ConfigError, DataError

# Names of what can be decoded side by side -> mode and head of KoreanDecodeOptions.
MODES: dict[str, tuple[str, str | None]] = {
    "greedy_syllable": ("greedy", "syllable"),
    "greedy_grapheme": ("greedy", "grapheme"),
    "merge": ("merge", None),
    "rescore": ("rescore", None),
    "joint": ("joint", None),
}


@dataclass(frozen=True)
class KoreanTimes:
    """Where a text lies in a sound; all empty where no head can emit the text.

    Attributes:
        tokens: Characters of the text, spaces left out.
        start_s: Seconds at which each begins.
        end_s: Seconds at which it ends.
        scores: Its log-probability in its surest frame.
        words: ``{"word", "start_s", "end_s"}``.
    """

    tokens: list[str]
    start_s: list[float]
    end_s: list[float]
    scores: list[float]
    words: list[dict[str, Any]]


class KoreanRecogniser:
    """Encodes batches of sounds and searches one by one; batch mates do not matter.

    Args:
        model: Has ``posteriors(speech, lengths)`` -> head -> ``(B, T, V)`` and
            ``(B,)``; ``heads``, ``token_lists`` and ``frame_grid``; and
            ``conf.subsample`` where frames are pooled.
        options: Of each mode that will be asked for (see :func:`mode_options`).
        device: Where the model computes; searches run on the CPU.

    Raises:
        ConfigError: Options that do not fit the model.
    """

    def __init__(
        self,
        model: Any,
        options: Mapping[str, KoreanDecodeOptions],
        *,
        device: str = "cpu",
    ) -> None:
        self.model = model.to(device).eval()
        self.device = device
        self.heads: tuple[str, ...] = tuple(model.heads)
        self.token_lists: dict[str, list[str]] = dict(model.token_lists)
        self.decoders = {
            mode: KoreanDecoder(self.token_lists, chosen)
            for mode, chosen in options.items()
        }
        self.grid = model.frame_grid
        self.pooled = int(getattr(getattr(model, "conf", None), "subsample", 1))

    @property
    def shortest_samples(self) -> int:
        """Fewest samples that make a frame."""
        return int(self.grid.receptive_field)

    @torch.no_grad()
    def posteriors(self, sounds: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Log-probabilities of each sound: head -> ``(T, V)`` float32, no padding.

        Args:
            sounds: ``(S,)`` float32 samples at 16 kHz, each of at least
                ``shortest_samples``.
        """
        speech, lengths = pad_sounds(sounds)
        found, frames = self.model.posteriors(
            speech.to(self.device), lengths.to(self.device)
        )
        heads = {head: values.float().cpu().numpy() for head, values in found.items()}
        return [
            {head: values[row, :count] for head, values in heads.items()}
            for row, count in enumerate(frames.tolist())
        ]

    def decode(
        self, mode: str, posteriors: Mapping[str, np.ndarray]
    ) -> list[JointHypothesis]:
        """Search one utterance; at least one hypothesis, best first.

        Args:
            mode: One of those given to the constructor.
            posteriors: Head -> ``(T, V)``.

        Raises:
            DataError: Posteriors that are NaN, or no frames.
        """
        return self.decoders[mode].decode(posteriors)

    def times(
        self, mode: str, text: str, posteriors: Mapping[str, np.ndarray], samples: int
    ) -> KoreanTimes:
        """Times of a text in a sound of ``samples`` samples at 16 kHz.

        Args:
            mode: Its heads are those that may align the text.
            text: What :meth:`decode` found.
            posteriors: Head -> ``(T, V)``.
            samples: Length of the sound.
        """
        try:
            timed = time_text(text, posteriors, self.decoders[mode].spellings)
        except DataError:  # the text is right all the same
            return KoreanTimes([], [], [], [], [])
        spans = [span for _, span in timed.syllables]
        return KoreanTimes(
            [token for token, _ in timed.syllables],
            [self._edge_s(span.start, samples) for span in spans],
            [self._edge_s(span.end, samples) for span in spans],
            [span.score for span in spans],
            [
                {
                    "word": word,
                    "start_s": self._edge_s(span.start, samples),
                    "end_s": self._edge_s(span.end, samples),
                }
                for word, span in timed.words
            ],
        )

    def _edge_s(self, frame: int, samples: int) -> float:
        return round(frame_edge_s(self.grid, frame * self.pooled, samples), 4)

    def warm_up(self) -> None:
        """Search a few frames in each mode: compiling is not part of a measurement."""
        rng = np.random.default_rng(0)
        frames = {}
        for head, tokens in self.token_lists.items():
            scores = rng.standard_normal((4, len(tokens)))
            total = np.log(np.exp(scores).sum(-1, keepdims=True))
            frames[head] = (scores - total).astype(np.float32)
        for mode in self.decoders:
            self.decode(mode, frames)


def mode_options(mode: str, heads: Sequence[str], **values: Any) -> KoreanDecodeOptions:
    """Options of one of ``MODES``.

    Args:
        mode: Its name.
        heads: Those of the model; with one head ``merge`` is its beam search.
        values: Further fields of ``KoreanDecodeOptions``.

    Raises:
        ConfigError: An unknown mode or field, a value without a meaning, or a mode
            that needs a head which the model lacks.
    """
    if mode not in MODES:
        raise ConfigError(f"mode {mode!r}: one of {', '.join(MODES)} is allowed")
    if mode not in possible_modes(heads):
        raise ConfigError(
            f"mode '{mode}': the model has only the head {' and '.join(heads)}; choose"
            f" from {', '.join(possible_modes(heads))}"
        )
    name, head = MODES[mode]
    fields = {"mode": name, "head": head, **values}
    return from_mapping(KoreanDecodeOptions, fields, f"options of {mode}")


def possible_modes(heads: Sequence[str]) -> list[str]:
    """Modes that a model with these heads can do."""
    both = len(heads) > 1
    return [
        mode
        for mode, (name, head) in MODES.items()
        if (head is None or head in heads) and (both or name != "joint")
    ]
