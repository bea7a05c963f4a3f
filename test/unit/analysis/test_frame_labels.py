"""Frame labels: the phone at the frame's centre (320 t + 200) / 16000 s."""

import numpy as np
import pytest

from espnet2_dq.analysis.frame_labels import (
    label_frames,
    phone_table,
    read_alignments,
)
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.errors import DataError

IDS = {"sil": 0, "a": 1, "b": 2}


def segment(first_sample: int, end_sample: int, phone: str) -> PhoneSegment:
    start = first_sample / 16000
    return PhoneSegment(start, end_sample / 16000 - start, phone)


def test_centre_decides_and_intervals_are_half_open() -> None:
    # centres: 200, 520, 840, 1160
    segments = [segment(200, 520, "a"), segment(520, 840, "b")]
    assert label_frames(segments, 4, IDS).tolist() == [1, 2, 0, 0]
    segments = [segment(201, 521, "a")]
    assert label_frames(segments, 4, IDS).tolist() == [0, 1, 0, 0]


def test_every_sample_position_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.integers(0, 32000, 30))
    names = ["a", "b"] * 15
    segments = [
        segment(int(s), int(e), n)
        for s, e, n in zip(cuts[:-1], cuts[1:], names[:-1], strict=True)
    ]
    per_sample = np.zeros(40000, dtype=int)
    for s, e, n in zip(cuts[:-1], cuts[1:], names[:-1], strict=True):
        per_sample[s:e] = IDS[n]
    frames = (40000 - 400) // 320 + 1
    expected = per_sample[320 * np.arange(frames) + 200]
    assert label_frames(segments, frames, IDS).tolist() == expected.tolist()


def test_later_segment_wins_overlap_and_empty_segment_labels_nothing() -> None:
    segments = [segment(500, 900, "b"), segment(0, 1000, "a"), segment(200, 200, "b")]
    assert label_frames(segments, 3, IDS).tolist() == [1, 2, 2]


def test_unknown_phone_and_silence_names() -> None:
    segments = [segment(0, 300, "q"), segment(300, 600, "sp")]
    assert label_frames(segments, 3, IDS).tolist() == [-1, 0, 0]
    assert label_frames([], 0, IDS).shape == (0,)


def test_phone_table_is_sorted_behind_silence() -> None:
    rows = [[segment(0, 1, "sp"), segment(1, 2, "ʃ")], [segment(0, 1, "b")]]
    assert phone_table(rows) == ["sil", "b", "ʃ"]


def test_missing_alignment_names_the_file(tmp_path) -> None:
    with pytest.raises(DataError, match=r"phn\.ctm"):
        read_alignments(tmp_path)
