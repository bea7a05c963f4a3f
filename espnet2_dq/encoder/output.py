"""What the encoder returns."""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class EncoderOutput:
    """Everything pretraining and analysis tap from the encoder.

    Attributes:
        output: ``(B, T, D)`` final representation; padded frames are zero.
        lengths: ``(B,)`` valid frames.
        pad_mask: ``(B, T)`` bool, True = padding.
        layers: Block outputs ``(B, T, D)``, one per block, before any final
            LayerNorm; padded frames hold arbitrary finite values.
        ffn: Result of each block's second feed-forward linear, before dropout and
            residual ("layer result" of fairseq); empty unless asked for. A block that
            LayerDrop skipped contributes zeros.
        encoder_input: ``(B, T, D)`` what the first block received.
    """

    output: torch.Tensor
    lengths: torch.Tensor
    pad_mask: torch.Tensor
    layers: list[torch.Tensor]
    ffn: list[torch.Tensor] = field(default_factory=list)
    encoder_input: torch.Tensor = field(default_factory=lambda: torch.empty(0))


def make_pad_mask(lengths: torch.Tensor, num_frames: int) -> torch.Tensor:
    """``(B,)`` lengths -> ``(B, num_frames)`` bool mask, True = padding."""
    steps = torch.arange(num_frames, device=lengths.device)
    return steps[None, :] >= lengths[:, None]
