"""Phone times from our own fine-tuned CTC model (METHODS 6).

The best path of the known phones through the model's posteriors gives a spike for each
phone. Spikes are far narrower than phones: each phone is spread to the midpoints
between its spike and its neighbours'; quiet stretches are silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from espnet2_dq.analysis.alignments import AlignmentOptions, Alignments, fit
from espnet2_dq.analysis.batches import read_batches, read_lengths
from espnet2_dq.data.audio import SAMPLE_RATE_HZ, AudioScpReader
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.rejects import Reject
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import ConfigError, DataError

UNKNOWN = "<unk>"
SPACE = "<space>"
Stretch = tuple[float, float]


@dataclass(frozen=True)
class SpreadOptions:
    """What counts as silence; chosen on the dev set of the mini corpus.

    Attributes:
        silence_db: Frames that are so much quieter than the loudest one are quiet.
        shortest_pause_s: A quiet stretch between two phones is silence from this length
            on; shorter ones are closures of stops.
    """

    silence_db: float = 30.0
    shortest_pause_s: float = 0.1


def ctc_alignments(
    model_dir: Path | str,
    data_dir: Path | str,
    options: AlignmentOptions | None = None,
    *,
    device: str = "cpu",
    batch_s: float = 60.0,
) -> Alignments:
    """Align the phonemes of a data directory (file ``phn``, stage 4) with a model.

    Args:
        model_dir: Phoneme model that fine-tuning wrote.
        data_dir: ``wav.scp``, ``utt2num_samples``, ``phn``.
        options: What is accepted.
        device: Torch device.
        batch_s: Padded seconds of audio in a batch.

    Raises:
        ConfigError: A model of characters.
        DataError: No ``phn``.
        CheckpointError: No such model.
    """
    from espnet2_dq.asr.build import load_ctc_model
    from espnet2_dq.decode.recogniser import Recogniser

    folder = Path(data_dir)
    if not (folder / "phn").is_file():
        raise DataError(
            f"{folder}/phn: missing; --align_with needs the phonemes that stage 4"
            " (units) writes for a set with a text"
        )
    model, _ = load_ctc_model(model_dir, device=device)
    recogniser = Recogniser(model, device=device)
    if SPACE in recogniser.tokens:
        raise ConfigError(
            f"--align_with {model_dir}: a model of characters; give one that was"
            " fine-tuned on phonemes (finetune_phn)"
        )
    aligner = Aligner(
        recogniser.tokens,
        cast(FrameGrid, model.frame_grid),
        int(getattr(model.conf, "subsample", 1)),
    )
    tokens = read_table(folder / "phn", allow_empty=True)
    reader = AudioScpReader(folder / "wav.scp")
    samples = read_lengths(folder, [utt for utt in reader if tokens.get(utt)])
    phones: dict[str, Sequence[PhoneSegment]] = {}
    ends: dict[str, float] = {}
    rejects: list[Reject] = []
    for batch, sounds in read_batches(reader, samples, batch_s):
        for utt, sound, log_probs in zip(
            batch, sounds, recogniser.posteriors(sounds), strict=True
        ):
            try:
                phones[utt] = aligner.align(sound, log_probs, tokens[utt].split())
            except ValueError as error:
                rejects.append((utt, f"too short: {error}"))
            else:
                ends[utt] = len(sound) / SAMPLE_RATE_HZ
    source = str(model_dir)
    return fit("ctc", source, phones, ends, data_dir, options, rejects=rejects)


@dataclass(frozen=True)
class Aligner:
    """Turns posteriors and known phones into phone times.

    Attributes:
        tokens: Of the model, by id.
        grid: Of the model's frontend.
        pooled: Frames of ``grid`` in one frame of the posteriors.
        options: What counts as silence.
    """

    tokens: Sequence[str]
    grid: FrameGrid
    pooled: int = 1
    options: SpreadOptions = field(default_factory=SpreadOptions)

    def align(
        self, sound: np.ndarray, log_probs: np.ndarray, phones: Sequence[str]
    ) -> list[PhoneSegment]:
        """Align one utterance.

        Args:
            sound: ``(S,)`` samples at 16 kHz.
            log_probs: ``(T, V)`` natural logarithms.
            phones: What was said; one that the model has no token for is aligned as
                ``<unk>`` and keeps its name.

        Raises:
            ValueError: Fewer frames than CTC needs for the phones.
        """
        ids = {token: i for i, token in enumerate(self.tokens)}
        frames = spikes(log_probs, [ids.get(p, ids.get(UNKNOWN, 0)) for p in phones])
        duration_s = len(sound) / SAMPLE_RATE_HZ
        # the centre of a group of frames; a last group that is not full may lie late
        centres = self.grid.centre_s(self.pooled * frames + (self.pooled - 1) / 2)
        spike_s = np.minimum(centres, duration_s)
        times = spread(
            spike_s, quiet_stretches(sound, spike_s, self.options), duration_s
        )
        pairs = zip(times, phones, strict=True)
        return [
            PhoneSegment(start, end - start, phone) for (start, end), phone in pairs
        ]


def spikes(log_probs: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Most certain frame of each token in the best path ``(L,)`` int64.

    Args:
        log_probs: ``(T, V)`` natural logarithms.
        ids: ``L`` tokens without blanks.

    Raises:
        ValueError: The frames do not suffice.
    """
    from espnet2_dq.decode.alignment import viterbi_spans

    spans = viterbi_spans(log_probs, ids)
    peaks = [
        span.start + int(np.argmax(log_probs[span.start : span.end, token]))
        for span, token in zip(spans, ids, strict=True)
    ]
    return np.array(peaks, dtype=np.int64)


def quiet_stretches(
    sound: np.ndarray, spike_s: np.ndarray, options: SpreadOptions | None = None
) -> list[Stretch]:
    """Stretches of silence, in seconds; none holds a spike.

    Args:
        sound: ``(S,)`` samples at 16 kHz, at least one frame.
        spike_s: ``(L,)`` times at which somebody speaks, rising.
        options: What counts as silence.
    """
    options = options or SpreadOptions()
    grid = FrameGrid()
    windows = np.lib.stride_tricks.sliding_window_view(sound, grid.receptive_field)
    power = np.square(windows[:: grid.hop], dtype=np.float64).mean(1)
    quiet = power < np.max(power) * 10 ** (-options.silence_db / 10)
    spoken = np.searchsorted(grid.centre_s(np.arange(len(quiet))), spike_s)
    for frame in (spoken - 1, spoken):  # the centres on both sides of a spike
        quiet[frame.clip(0, len(quiet) - 1)] = False
    # from runs of quiet frames [first, end) to seconds: half a hop around the centres
    first, end = (
        np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2).T
    )
    half = grid.hop / 2 / SAMPLE_RATE_HZ
    duration_s = len(sound) / SAMPLE_RATE_HZ
    starts = np.where(first == 0, 0.0, grid.centre_s(first) - half)
    ends = np.where(end == len(quiet), duration_s, grid.centre_s(end - 1) + half)
    at_edge = (first == 0) | (end == len(quiet))
    long = at_edge | (ends - starts >= options.shortest_pause_s)
    return [(float(a), float(b)) for a, b in zip(starts[long], ends[long], strict=True)]


def spread(
    spike_s: np.ndarray, quiet: Sequence[Stretch], duration_s: float
) -> list[Stretch]:
    """Start and end of each phone.

    Args:
        spike_s: ``(L,)`` time of each phone's spike, rising.
        quiet: Silences in time order; none holds a spike.
        duration_s: Of the sound.

    Returns:
        ``L`` stretches in time order that do not overlap, each around its spike. Two
        neighbours meet at the midpoint of their spikes, or at the silence between them.
    """
    if len(spike_s) == 0:
        return []
    ends, starts = [], []
    edges = [0.0, *spike_s.tolist(), duration_s]
    meet = [0.0, *((spike_s[1:] + spike_s[:-1]) / 2).tolist(), duration_s]
    for left, middle, right in zip(edges[:-1], meet, edges[1:], strict=True):
        between = [s for s in quiet if s[0] >= left and s[1] <= right]
        ends.append(between[0][0] if between else middle)
        starts.append(between[-1][1] if between else middle)
    return list(zip(starts[:-1], ends[1:], strict=True))
