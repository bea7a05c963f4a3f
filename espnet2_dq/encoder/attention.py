"""Multi-head self-attention over right-padded frames."""

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.errors import ConfigError


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    dropout_rate: float,
) -> torch.Tensor:
    """Softmax attention as plain matrix products.

    Args:
        query: ``(B, H, T, d)``, already scaled.
        key: ``(B, H, T, d)``.
        value: ``(B, H, T, d)``.
        bias: ``(B, 1, 1, T)``, added to the scores; very negative at padded keys.
        dropout_rate: Dropout on the attention weights.

    Returns:
        ``(B, H, T, d)``.
    """
    scores = query @ key.transpose(-1, -2)  # (B, H, T, T)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    weights = torch.softmax(scores, dim=-1)
    return F.dropout(weights, dropout_rate, training=dropout_rate > 0.0) @ value


class SelfAttention(nn.Module):
    """Multi-head attention with separate projections, named as in fairseq."""

    def __init__(self, size: int, heads: int, dropout_rate: float) -> None:
        super().__init__()
        if size % heads:
            raise ConfigError(
                f"encoder_conf: output_size {size} is not a multiple of "
                f"attention_heads {heads}; change one of them"
            )
        self.heads = heads
        self.scale = (size // heads) ** -0.5
        self.dropout_rate = dropout_rate
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Attend over time.

        Args:
            x: ``(B, T, D)``.
            bias: ``(B, 1, 1, T)`` or None when nothing is padded.

        Returns:
            ``(B, T, D)``; padded frames hold arbitrary finite values.
        """
        batch, frames, size = x.shape
        shape = (batch, frames, self.heads, size // self.heads)
        # (B, T, D) -> (B, H, T, d)
        query = (self.q_proj(x) * self.scale).view(shape).transpose(1, 2)
        key = self.k_proj(x).view(shape).transpose(1, 2)
        value = self.v_proj(x).view(shape).transpose(1, 2)
        rate = self.dropout_rate if self.training else 0.0
        context = attend(query, key, value, bias, rate)
        # (B, H, T, d) -> (B, T, D)
        return self.out_proj(context.transpose(1, 2).reshape(batch, frames, size))


def padding_bias(pad_mask: torch.Tensor) -> torch.Tensor | None:
    """Score bias ``(B, 1, 1, T)`` float32 for padded keys; None if none is padded.

    Finite also in float16: an utterance without a valid frame must not give NaN.
    On an accelerator the bias is always made, because asking whether the mask is
    empty would wait for the device.
    """
    if pad_mask.device.type == "cpu" and not bool(pad_mask.any()):
        return None
    bias = torch.zeros(pad_mask.shape, device=pad_mask.device)
    return bias.masked_fill(pad_mask, -3e4)[:, None, None, :]
