import subprocess
import sys

import numpy as np
import pytest

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.masking import (
    batch_span_mask,
    draw_span_mask,
    span_length,
    utterance_rng,
)


def share_masked(num_frames, draws=300):
    masks = [
        draw_span_mask(num_frames, utterance_rng(0, epoch, "u")).mean()
        for epoch in range(draws)
    ]
    return float(np.mean(masks))


@pytest.mark.parametrize(
    ("num_frames", "expected"), [(100, 0.499), (250, 0.493), (500, 0.491), (1000, 0.49)]
)
def test_share_of_masked_frames(num_frames, expected):
    # the standard error of 300 draws of 100 frames is about 0.004
    assert share_masked(num_frames) == pytest.approx(expected, abs=0.012)


def test_number_of_spans_follows_the_rule():
    # spans of length 1 cannot overlap: their number can be counted
    counts = [
        draw_span_mask(50, utterance_rng(1, e, "u"), mask_prob=0.33, mask_length=1)
        .sum()
        .item()
        for e in range(400)
    ]
    assert set(counts) == {16, 17}  # int(16.5 + U)
    assert np.mean(counts) == pytest.approx(16.5, abs=0.1)


def test_starts_are_uniform_and_spare_the_last_frame():
    total = np.zeros(40)
    for epoch in range(2000):
        total += draw_span_mask(40, utterance_rng(2, epoch, "u"))
    assert total[-1] == 0  # starts lie in [0, T - length)
    middle = total[12:27] / 2000
    assert middle.max() - middle.min() < 0.08


def test_every_run_is_a_union_of_spans():
    mask = draw_span_mask(300, utterance_rng(3, 0, "u"))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    runs = edges[1::2] - edges[::2]
    assert (runs >= 10).all()


def test_rng_depends_on_seed_epoch_and_utterance_only():
    def draw(*key):
        return utterance_rng(*key).random(4).tolist()

    assert draw(1, 2, "a") == draw(1, 2, "a")
    others = [draw(0, 2, "a"), draw(1, 3, "a"), draw(1, 2, "b"), draw(2, 1, "a")]
    assert all(other != draw(1, 2, "a") for other in others)


def test_rng_is_the_same_in_another_process():
    code = (
        "from espnet2_dq.ssl.masking import utterance_rng as r;"
        "print(r(7, 3, 'utt-\\u00e9').integers(1 << 60))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(filter(None, sys.path))},
    ).stdout
    assert int(printed) == utterance_rng(7, 3, "utt-é").integers(1 << 60)


def test_batch_rows_equal_single_draws():
    lengths = [30, 7, 1, 0]
    batch = batch_span_mask(lengths, [utterance_rng(0, 0, str(n)) for n in range(4)])
    assert batch.shape == (4, 30)
    for row, length in enumerate(lengths):
        alone = draw_span_mask(length, utterance_rng(0, 0, str(row)))
        assert (batch[row, :length] == alone).all()
        assert not batch[row, length:].any()


def test_probability_zero_masks_nothing():
    assert not draw_span_mask(50, utterance_rng(0, 0, "u"), mask_prob=0.0).any()


def test_span_length_of_short_utterances():
    assert [span_length(n, 10) for n in (2, 3, 10, 11, 500)] == [1, 1, 5, 10, 10]


@pytest.mark.parametrize(
    "bad", [{"mask_prob": 1.5}, {"mask_length": 0}, {"min_masks": -1}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        draw_span_mask(20, utterance_rng(0, 0, "u"), **bad)


def test_lengths_and_generators_must_agree():
    with pytest.raises(ValueError, match="2 lengths but 1"):
        batch_span_mask([3, 4], [utterance_rng(0, 0, "u")])
