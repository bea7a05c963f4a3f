"""The collate: crops and masks belong to the utterance, not to its batch."""

import numpy as np
import torch
from training_factories import make_items

from espnet2_dq.data.batches import Draw
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig


def make_collate(**kwargs):
    options = {"time_mask": SpanMaskConfig(), "seed": 1, "epoch": 2}
    return Collate(FrameGrid().num_frames, **(options | kwargs))


def test_batch_mates_change_neither_crop_nor_mask():
    items = make_items(32000, 60000, 48000)
    collate = make_collate(crop_samples=40000)
    _, together = collate(items)
    _, alone = collate(items[2:])
    frames = alone["span_mask"].shape[1]
    assert torch.equal(together["span_mask"][2, :frames], alone["span_mask"][0])
    assert torch.equal(together["speech"][2], alone["speech"][0])
    assert together["speech_lengths"].tolist() == [32000, 40000, 40000]


def test_epoch_and_ordinal_change_the_mask():
    (draw, streams), *_ = make_items(48000)
    masks = [
        make_collate(epoch=epoch)([(Draw(draw.utt_id, ordinal), streams)])[1]
        for epoch, ordinal in ((2, 0), (3, 0), (2, 1))
    ]
    first, other_epoch, repeat = (m["span_mask"] for m in masks)
    assert not torch.equal(first, other_epoch)
    assert not torch.equal(first, repeat)


def test_counts_and_padding():
    grid = FrameGrid()
    _, batch = make_collate()(make_items(16000, 48000))
    masked, valid, utterances = batch["counts"].tolist()
    assert masked == batch["span_mask"].sum()
    assert valid == grid.num_frames(16000) + grid.num_frames(48000)
    assert utterances == 2
    assert not batch["span_mask"][0, grid.num_frames(16000) :].any()
    assert (batch["speech"][0, 16000:] == 0).all()


def test_other_streams_are_padded_with_minus_one_and_kept():
    items = make_items(16000, 16000)
    items[0][1]["text"] = np.array([3, 1, 4])
    items[1][1]["text"] = np.array([], dtype=np.int64)
    _, batch = make_collate()(items)
    assert batch["text"].tolist() == [[3, 1, 4], [-1, -1, -1]]
    assert batch["text_lengths"].tolist() == [3, 0]


def test_channel_mask_and_no_mask():
    collate = make_collate(
        time_mask=None, channel_mask=SpanMaskConfig(0.5, 4), channels=32
    )
    _, batch = collate(make_items(16000, 16000))
    assert "span_mask" not in batch
    assert batch["channel_mask"].shape == (2, 32)
    assert batch["channel_mask"].any()
    assert batch["counts"][0] == 0


def test_length_multiple_adds_padding_and_nothing_else():
    items = make_items(16000, 20000)
    _, plain = make_collate()(items)
    _, padded = make_collate(length_multiple=3200)(items)
    assert padded["speech"].shape == (2, 22400)
    assert torch.equal(padded["speech"][:, :20000], plain["speech"])
    assert (padded["speech"][:, 20000:] == 0).all()
    frames = plain["span_mask"].shape[1]
    assert padded["span_mask"].shape[1] == FrameGrid().num_frames(22400)
    assert torch.equal(padded["span_mask"][:, :frames], plain["span_mask"])
    assert not padded["span_mask"][:, frames:].any()
    assert torch.equal(padded["counts"], plain["counts"])
    assert torch.equal(padded["speech_lengths"], plain["speech_lengths"])
