"""Phone label of every 20 ms frame, from time-aligned phones. No torch here."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet2_dq.data.ctm import PhoneSegment, read_ctm
from espnet2_dq.encoder.frame_grid import SAMPLE_RATE_HZ, FrameGrid
from espnet2_dq.errors import DataError

SILENCE = "sil"
UNKNOWN_ID = -1
# What aligners write for "nobody speaks": MFA, Kaldi, our own CTC alignment.
_SILENCES = frozenset({SILENCE, "SIL", "sp", "<eps>", "_"})


def phone_table(alignments: Iterable[Sequence[PhoneSegment]]) -> list[str]:
    """Return label names: ``sil`` first, then the phones in code point order.

    >>> phone_table([[PhoneSegment(0.0, 0.1, "b"), PhoneSegment(0.1, 0.1, "a")]])
    ['sil', 'a', 'b']
    """
    phones = {s.phone for segments in alignments for s in segments}
    return [SILENCE, *sorted(phones - _SILENCES)]


def label_frames(
    segments: Sequence[PhoneSegment],
    num_frames: int,
    phone_ids: Mapping[str, int],
    *,
    grid: FrameGrid | None = None,
) -> np.ndarray:
    """Label each frame with the phone aligned at its centre (METHODS 6).

    A segment covers ``[start, start + duration)``. Where segments overlap the one
    that starts later wins; those of no length label nothing.

    Args:
        segments: Aligned phones of one utterance, in any order.
        num_frames: T, the frames the frontend makes of the utterance.
        phone_ids: Label id of each phone; must hold ``sil``.
        grid: Where frames lie; the default is hop 320, receptive field 400.

    Returns:
        ``(T,)`` int32 label ids: ``sil`` where no phone is aligned, -1 where the
        phone has no id.
    """
    grid = grid or FrameGrid()
    labels = np.full(num_frames, phone_ids[SILENCE], dtype=np.int32)
    # hundredths of a sample absorb the rounding of decimal seconds
    centres = np.round(grid.centre_s(np.arange(num_frames)) * SAMPLE_RATE_HZ, 2)
    for segment in sorted(segments, key=lambda s: s.start_s):
        end_s = segment.start_s + segment.duration_s
        first, last = np.searchsorted(
            centres, np.round(np.array([segment.start_s, end_s]) * SAMPLE_RATE_HZ, 2)
        )
        phone = SILENCE if segment.phone in _SILENCES else segment.phone
        labels[first:last] = phone_ids.get(phone, UNKNOWN_ID)
    return labels


def has_alignments(data_dir: Path | str) -> bool:
    """Whether the corpus came with aligned phones."""
    path = Path(data_dir) / "phn.ctm"
    return path.is_file() and path.stat().st_size > 0


def read_alignments(data_dir: Path | str) -> dict[str, list[PhoneSegment]]:
    """Read ``phn.ctm`` of a data directory.

    Raises:
        DataError: There is none, or it is empty.
    """
    if not has_alignments(data_dir):
        raise DataError(
            f"{data_dir}/phn.ctm: missing or empty; frame labels need aligned phones,"
            " which --corpus mini writes for synthetic speech"
        )
    return read_ctm(Path(data_dir) / "phn.ctm")
