"""Multi-head self-attention over right-padded frames."""

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.dropout import dropout
from espnet2_dq.errors import ConfigError

# From this length on the fused kernel's backward pass is the faster one (see attend).
FUSED_BACKWARD_FRAMES = 200


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
    dropout_rate: float,
) -> torch.Tensor:
    """Softmax attention, by the faster of two implementations.

    PyTorch's fused kernel on an accelerator, and on a CPU without gradients (the
    teacher, inference); plain matrix products for training on a CPU, where the fused
    kernel has no dropout and a slow bfloat16 backward pass. CPU milliseconds, plain /
    fused, one thread with AVX-512 and AMX, 12 heads of 64, 800 to 1000 frames in a
    batch of utterances of T frames; training is forward and backward, the last column
    with dropout 0.1 on the weights (PyTorch's, about twice as slow as ours):

    ======== ===== =========== ========== ==============
    type     T     no gradient training   with dropout
    ======== ===== =========== ========== ==============
    float32  50    6.5 / 6.2   12 / 14    23 / 26
    float32  100   9 / 6       22 / 24    37 / 44
    float32  250   25 / 14     48 / 40    85 / 100
    float32  500   60 / 20     114 / 85   215 / 240
    bfloat16 50    5 / 4       9 / 53     14 / 27
    bfloat16 100   6 / 5       10 / 46    23 / 47
    bfloat16 250   14 / 9      27 / 42    62 / 97
    bfloat16 500   19 / 11     48 / 70    110 / 204
    ======== ===== =========== ========== ==============

    Args:
        query: ``(B, H, T, d)``, already scaled.
        key: ``(B, H, T, d)``.
        value: ``(B, H, T, d)``.
        bias: ``(B, 1, 1, T)``, added to the scores; very negative at padded keys.
        dropout_rate: Dropout on the attention weights.

    Returns:
        ``(B, H, T, d)``.
    """
    if bias is not None:
        bias = bias.to(query.dtype)
    if prefer_fused(query, dropout_rate):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=dropout_rate, scale=1.0
        )
    scores = query @ key.transpose(-1, -2)  # (B, H, T, T)
    if bias is not None:
        scores += bias  # in place: the product's gradient does not need the scores
    weights = dropout(torch.softmax(scores, dim=-1), dropout_rate, training=True)
    return weights @ value


def prefer_fused(query: torch.Tensor, dropout_rate: float) -> bool:
    """Whether the fused kernel is the faster one (measured, see `attend`)."""
    if query.device.type != "cpu" or not query.requires_grad:
        return True
    long = query.size(2) >= FUSED_BACKWARD_FRAMES
    return long and query.dtype == torch.float32 and dropout_rate == 0.0


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
