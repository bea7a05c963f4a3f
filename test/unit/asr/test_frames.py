"""Masks, pooling and feasibility on small tensors."""

import pytest
import torch

from espnet2_dq.asr.frames import apply_masks, pool_frames, required_frames


def test_masks_change_only_what_they_name() -> None:
    feats = torch.randn(2, 5, 4)
    span = torch.zeros(2, 5, dtype=torch.bool)
    span[0, 1:3] = True
    channel = torch.zeros(2, 4, dtype=torch.bool)
    channel[0, 3] = True
    before = feats.clone()
    embedding = torch.full((4,), 7.0)
    out = apply_masks(feats, span, channel, embedding)
    assert torch.equal(feats, before)
    assert torch.equal(out[1], feats[1])
    assert torch.equal(out[0, 1], torch.tensor([7.0, 7.0, 7.0, 0.0]))
    assert torch.equal(out[0, [0, 3, 4], :3], feats[0, [0, 3, 4], :3])
    assert out[0, :, 3].abs().sum() == 0


def test_masks_of_another_shape_are_refused() -> None:
    feats = torch.zeros(2, 5, 4)
    with pytest.raises(ValueError, match="span_mask"):
        apply_masks(feats, torch.zeros(2, 6, dtype=torch.bool), None, torch.zeros(4))
    with pytest.raises(ValueError, match="channel_mask"):
        apply_masks(feats, None, torch.zeros(2, 5, dtype=torch.bool), None)


def test_pooling_averages_valid_frames_only() -> None:
    frames = torch.arange(1.0, 6.0).view(1, 5, 1).repeat(2, 1, 1)
    frames[1, 3:] = 0.0
    pooled, lengths = pool_frames(frames, torch.tensor([5, 3]), 2)
    assert lengths.tolist() == [3, 2]
    assert pooled[..., 0].tolist() == [[1.5, 3.5, 5.0], [1.5, 3.0, 0.0]]


def test_pooling_by_one_is_nothing() -> None:
    frames = torch.randn(2, 5, 3)
    assert pool_frames(frames, torch.tensor([5, 3]), 1)[0] is frames


def test_required_frames_counts_equal_neighbours_inside_the_target() -> None:
    text = torch.tensor([[3, 3, 5, 5], [3, 4, -1, -1], [6, 6, 6, -1]])
    assert required_frames(text, torch.tensor([4, 2, 3])).tolist() == [6, 2, 5]
    single = torch.tensor([[2]])
    assert required_frames(single, torch.tensor([1])).tolist() == [1]
