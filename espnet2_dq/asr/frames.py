"""What happens to frames on their way to the head: masks, pooling, feasibility."""

import torch


def apply_masks(
    feats: torch.Tensor,
    span_mask: torch.Tensor | None,
    channel_mask: torch.Tensor | None,
    mask_embedding: torch.Tensor | None,
) -> torch.Tensor:
    """Mask spans of frames, then zero channels (wav2vec 2.0's fine-tuning masks).

    Channels go to zero in masked frames too, as in fairseq; that order is why the
    encoder's own ``span_mask`` argument is not used here.

    Args:
        feats: ``(B, T, D)`` projected features; not changed in place.
        span_mask: ``(B, T)`` bool, True = frame replaced by ``mask_embedding``.
        channel_mask: ``(B, D)`` bool, True = channel zeroed in all frames.
        mask_embedding: ``(D,)``; needed with ``span_mask``.

    Returns:
        ``(B, T, D)``; padding is zeroed by the encoder.

    Raises:
        ValueError: A mask's shape does not fit.
    """
    if span_mask is not None:
        _check_shape("span_mask", span_mask, feats.shape[:2])
        if mask_embedding is None:
            raise ValueError("span_mask: the encoder was built without mask_embedding")
        feats = torch.where(span_mask[..., None], mask_embedding.to(feats.dtype), feats)
    if channel_mask is not None:
        _check_shape("channel_mask", channel_mask, (feats.size(0), feats.size(2)))
        feats = feats.masked_fill(channel_mask[:, None, :], 0.0)
    return feats


def _check_shape(
    name: str, mask: torch.Tensor, expected: tuple[int, ...] | torch.Size
) -> None:
    if tuple(mask.shape) != tuple(expected):
        raise ValueError(f"{name}: shape {tuple(mask.shape)}, not {tuple(expected)}")


def pool_frames(
    frames: torch.Tensor, lengths: torch.Tensor, factor: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Average groups of ``factor`` frames over their valid members.

    Args:
        frames: ``(B, T, D)``; padded frames are zero.
        lengths: ``(B,)`` valid frames.
        factor: Frames in a group; 1 changes nothing.

    Returns:
        ``(B, ceil(T / factor), D)`` with zero padding, and ``(B,)`` valid groups; a
        last group that is not full counts as one.
    """
    if factor == 1:
        return frames, lengths
    batch, time, width = frames.shape
    groups = -(-time // factor)
    padded = torch.nn.functional.pad(frames, (0, 0, 0, groups * factor - time))
    # (B, groups * factor, D) -> (B, groups, factor, D)
    total = padded.view(batch, groups, factor, width).sum(2)
    first = torch.arange(groups, device=frames.device) * factor
    members = (lengths[:, None] - first).clamp(min=1, max=factor)
    return total / members[..., None].to(total.dtype), pooled_length(lengths, factor)


def pooled_length(frames: torch.Tensor, factor: int) -> torch.Tensor:
    """Number of groups that ``frames`` valid frames make."""
    return (frames + factor - 1) // factor


def required_frames(
    targets: torch.Tensor, target_lengths: torch.Tensor
) -> torch.Tensor:
    """Fewest frames in which CTC can emit each target: tokens plus equal neighbours.

    Args:
        targets: ``(B, L)`` token ids; padding may hold anything.
        target_lengths: ``(B,)``.

    Returns:
        ``(B,)`` int64.
    """
    if targets.size(1) < 2:
        return target_lengths
    valid = torch.arange(1, targets.size(1), device=targets.device)
    inside = valid[None, :] < target_lengths[:, None]
    repeats = (targets[:, 1:] == targets[:, :-1]) & inside
    return target_lengths + repeats.sum(1)
