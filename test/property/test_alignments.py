"""Phone times of any kind: what must hold for all of them."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid

from espnet2_dq.analysis.alignments import AlignmentOptions, user_alignments
from espnet2_dq.analysis.ctc_alignment import quiet_stretches, spread
from espnet2_dq.analysis.frame_labels import label_frames, phone_table
from espnet2_dq.data.ctm import PhoneSegment, write_ctm
from espnet2_dq.data.tables import write_table
from espnet2_dq.data.textgrid import read_textgrid

# Praat's text formats keep what a label holds, so any printable letters will do.
names = st.text(st.characters(categories=["L", "M", "S", "P"]), min_size=1, max_size=4)
# Boundaries in milliseconds, and a phone or silence between two.
cuts = st.lists(st.integers(1, 3000), min_size=2, max_size=12, unique=True).map(sorted)


@st.composite
def utterance(draw: st.DrawFn) -> tuple[list[PhoneSegment], float]:
    """Phones with gaps, and the length of the sound."""
    edges = draw(cuts)
    phones = []
    for start, end in zip(edges, edges[1:], strict=False):
        if draw(st.booleans()):
            phones.append(PhoneSegment(start / 1000, (end - start) / 1000, draw(names)))
    return phones, edges[-1] / 1000 + draw(st.integers(0, 500)) / 1000


def write_grid(path: Path, phones: list[PhoneSegment], end_s: float, form: str) -> None:
    grid = textgrid.Textgrid()
    entries = [(p.start_s, round(p.start_s + p.duration_s, 3), p.phone) for p in phones]
    grid.addTier(textgrid.IntervalTier("phones", entries, 0, end_s))
    grid.save(str(path), format=f"{form}_textgrid", includeBlankSpaces=True)


@given(utterance(), st.sampled_from(["short", "long"]))
def test_textgrids_give_back_what_was_written(made, form) -> None:
    phones, end_s = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "u.TextGrid"
        write_grid(path, phones, end_s, form)
        tier = read_textgrid(path)
    assert tier.end_s == pytest.approx(end_s)
    assert [s.phone for s in tier.segments] == [p.phone for p in phones]
    for found, given_ in zip(tier.segments, phones, strict=True):
        assert found.start_s == pytest.approx(given_.start_s, abs=1e-6)
        assert found.duration_s == pytest.approx(given_.duration_s, abs=1e-6)


@given(utterance())
def test_textgrid_and_ctm_label_frames_alike(made) -> None:
    phones, end_s = made
    if not phones:
        return
    samples = round(16000 * end_s)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "utt2num_samples", {"u": str(samples)})
        (folder / "grids").mkdir()
        write_grid(folder / "grids" / "u.TextGrid", phones, end_s, "long")
        write_ctm(folder / "u.ctm", {"u": phones})
        anything = AlignmentOptions(tolerance_s=9.0)
        one = user_alignments(folder / "grids", folder, anything).phones
        two = user_alignments(folder / "u.ctm", folder, anything).phones
    ids = {phone: i for i, phone in enumerate(phone_table(two.values()))}
    frames = max(0, (samples - 400) // 320 + 1)
    labels = [label_frames(found["u"], frames, ids) for found in (one, two)]
    # whole milliseconds never fall on a frame's centre (12.5 + 20 t ms)
    assert labels[0].tolist() == labels[1].tolist()


@given(st.data())
def test_spread_covers_each_spike_and_no_silence_twice(data: st.DataObject) -> None:
    size = data.draw(st.integers(800, 40000))
    parts = data.draw(st.lists(st.sampled_from([0.0, 1e-4, 0.5]), max_size=20))
    rng = np.random.default_rng(0)
    level = np.repeat(parts or [0.5], -(-size // max(1, len(parts))))[:size]
    sound = (rng.standard_normal(size) * level).astype(np.float32)
    duration_s = size / 16000
    ticks = data.draw(
        st.lists(st.integers(1, 99), unique=True, max_size=15).map(sorted)
    )
    spike_s = np.array([duration_s * tick / 100 for tick in ticks])
    times = spread(spike_s, quiet_stretches(sound, spike_s), duration_s)
    assert len(times) == len(spike_s)
    edge = 0.0
    for (start, end), spike in zip(times, spike_s, strict=True):
        assert edge - 1e-9 <= start <= spike <= end <= duration_s + 1e-9
        edge = end
