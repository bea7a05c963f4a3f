"""Text of single sound files, with any of our fine-tuned models.

>>> from espnet2_dq.decode.transcriber import Transcriber  # doctest: +SKIP
>>> model = Transcriber.load("exp/tag/finetune_hier")  # doctest: +SKIP
>>> model.transcribe("a.wav").text  # doctest: +SKIP
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, read_audio
from espnet2_dq.decode.corpus import check_length
from espnet2_dq.decode.records import finite
from espnet2_dq.errors import ConfigError, DataError

SPACE = "<space>"
BEAM_SIZE = 10


@dataclass(frozen=True)
class Transcript:
    """What was heard in one sound.

    Attributes:
        text: NFC with single spaces; of a phoneme model the phonemes.
        mode: How it was searched.
        score: Natural logarithm, of the mode: comparable within one sound.
        scores: Head -> log-probability of the text, where the mode knows it.
        units: Stream -> tokens of the text: ``syllable`` and ``grapheme`` of a Korean
            model, ``char`` or ``phn`` of an older one.
        tokens: ``{"token", "start_s", "end_s"}`` in order.
        words: ``{"word", "start_s", "end_s"}`` in order.
        audio_s: Seconds of sound.
    """

    text: str
    mode: str
    score: float
    scores: dict[str, float]
    units: dict[str, list[str]]
    tokens: list[dict[str, Any]]
    words: list[dict[str, Any]]
    audio_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values; impossible scores are None, since JSON has no infinity."""
        row = asdict(self)
        row["score"] = finite(self.score)
        row["scores"] = {head: finite(value) for head, value in self.scores.items()}
        return row


class Transcriber:
    """A loaded model that turns sounds into text, one at a time.

    Args:
        recognise: ``(S,)`` float32 samples at 16 kHz -> :class:`Transcript`.
        shortest_samples: Fewest samples that make a frame.
    """

    def __init__(
        self, recognise: Callable[[np.ndarray], Transcript], shortest_samples: int
    ) -> None:
        self._recognise = recognise
        self._shortest_samples = shortest_samples

    @classmethod
    def load(
        cls,
        model_dir: Path | str,
        *,
        checkpoint: Path | str | None = None,
        mode: str | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> "Transcriber":
        """Load what fine-tuning wrote.

        Args:
            model_dir: Directory with ``config.yaml`` and checkpoints.
            checkpoint: A file, or a name inside ``model_dir``; by default the best.
            mode: Two heads: one of ``korean_recogniser.MODES``, by default
                ``rescore``; else ``greedy`` (the default) or ``beam``.
            device: Where the model computes.
            options: Of the search: ``beam_size``, ``weight``, ... (fields of
                ``KoreanDecodeOptions`` or ``BeamOptions``).

        Raises:
            CheckpointError: No model, or files that do not fit each other.
            ConfigError: A mode or option that the model does not have.
        """
        from espnet2_dq.asr.build import read_config

        load = _load_ctc
        # the same test as asr.hierarchical_build.is_hierarchical
        if read_config(Path(model_dir) / "config.yaml").get("token_lists"):
            load = _load_korean
        return cls(*load(model_dir, checkpoint, mode, device, options))

    def transcribe(self, path: Path | str) -> Transcript:
        """Transcribe a file of any rate and number of channels.

        Raises:
            DataError: The file cannot be read, or is too short for one frame.
        """
        sound = read_audio(str(path))
        try:
            check_length(sound, self._shortest_samples)
        except DataError:
            raise DataError(
                f"{path}: {len(sound)} samples at 16 kHz; at least"
                f" {self._shortest_samples} are needed"
            ) from None
        return self._recognise(sound)

    def transcribe_samples(self, sound: np.ndarray) -> Transcript:
        """Transcribe ``(S,)`` float32 samples at 16 kHz.

        Raises:
            DataError: Too short for one frame.
        """
        check_length(sound, self._shortest_samples)
        return self._recognise(sound)


def _load_korean(
    model_dir: Path | str,
    checkpoint: Path | str | None,
    mode: str | None,
    device: str,
    options: dict[str, Any],
) -> tuple[Callable[[np.ndarray], Transcript], int]:
    """A hierarchical model."""
    from espnet2_dq.asr.hierarchical_build import load_hierarchical_model
    from espnet2_dq.decode.korean_recogniser import KoreanRecogniser, mode_options
    from espnet2_dq.text.hangul import graphemes, syllables

    model, _ = load_hierarchical_model(model_dir, checkpoint, device)
    name = mode or ("rescore" if len(model.heads) > 1 else f"greedy_{model.main}")
    smallest = min(len(tokens) for tokens in model.token_lists.values())
    values = {"beam_size": min(BEAM_SIZE, smallest), **options}
    recogniser = KoreanRecogniser(
        model, {name: mode_options(name, model.heads, **values)}, device=device
    )

    def recognise(sound: np.ndarray) -> Transcript:
        posteriors = recogniser.posteriors([sound])[0]
        best = recogniser.decode(name, posteriors)[0]
        timed = recogniser.times(name, best.text, posteriors, len(sound))
        edges = zip(timed.tokens, timed.start_s, timed.end_s, strict=True)
        return Transcript(
            best.text,
            name,
            best.score,
            dict(best.scores),
            {"syllable": syllables(best.text), "grapheme": graphemes(best.text)},
            [{"token": t, "start_s": a, "end_s": b} for t, a, b in edges],
            timed.words,
            len(sound) / SAMPLE_RATE_HZ,
        )

    return recognise, recogniser.shortest_samples


def _load_ctc(
    model_dir: Path | str,
    checkpoint: Path | str | None,
    mode: str | None,
    device: str,
    options: dict[str, Any],
) -> tuple[Callable[[np.ndarray], Transcript], int]:
    """A model with one head, phonemes or characters."""
    from espnet2_dq.asr.build import load_ctc_model
    from espnet2_dq.config import from_mapping
    from espnet2_dq.decode.beam import BeamOptions
    from espnet2_dq.decode.recogniser import Recogniser

    name = mode or "greedy"
    if name not in ("greedy", "beam"):
        raise ConfigError(f"mode {name!r}: greedy or beam for a model with one head")
    model, _ = load_ctc_model(model_dir, checkpoint, device)
    values = {"beam_size": min(BEAM_SIZE, len(model.token_list)), **options}
    beam = from_mapping(BeamOptions, values, "options") if name == "beam" else None
    recogniser = Recogniser(model, beam, device=device)
    # character lists hold the space, phoneme lists have no word boundaries
    unit = "char" if SPACE in recogniser.tokens else "phn"

    def recognise(sound: np.ndarray) -> Transcript:
        best = recogniser.decode(recogniser.posteriors([sound])[0])[0]
        timed = recogniser.describe(best, len(sound))
        edges = zip(timed.tokens, timed.start_s, timed.end_s, strict=True)
        rows = [
            {"token": t, "start_s": round(a, 4), "end_s": round(b, 4)}
            for t, a, b in edges
        ]
        return Transcript(
            _written(timed.tokens, unit),
            name,
            timed.score,
            {unit: timed.score},
            {unit: timed.tokens},
            [row for row in rows if row["token"] != SPACE],
            _words(rows) if unit == "char" else [],
            len(sound) / SAMPLE_RATE_HZ,
        )

    return recognise, recogniser.shortest_samples


def _written(tokens: list[str], unit: str) -> str:
    """Text of characters; phonemes with spaces between."""
    if unit == "phn":
        return " ".join(tokens)
    return " ".join("".join(" " if t == SPACE else t for t in tokens).split())


def _words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Words of timed characters; a space stands between."""
    words: list[dict[str, Any]] = []
    fresh = True
    for row in rows:
        if row["token"] == SPACE:
            fresh = True
        elif fresh:
            word = {"word": row["token"], **{k: row[k] for k in ("start_s", "end_s")}}
            words.append(word)
            fresh = False
        else:
            words[-1]["word"] += row["token"]
            words[-1]["end_s"] = row["end_s"]
    return words
