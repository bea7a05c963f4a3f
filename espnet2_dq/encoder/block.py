"""One Transformer block of wav2vec 2.0 / data2vec."""

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.attention import SelfAttention
from espnet2_dq.encoder.dropout import dropout


class TransformerBlock(nn.Module):
    """Self-attention and GELU feed-forward, post-norm or pre-norm.

    Parameter names follow fairseq's ``TransformerSentenceEncoderLayer``.

    Args:
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Hidden units of the feed-forward part.
        dropout_rate: After attention and after the feed-forward part.
        attention_dropout_rate: On the attention weights.
        activation_dropout_rate: After GELU.
        normalize_before: Pre-norm (wav2vec 2.0 large) instead of post-norm.
        layer_norm_eps: LayerNorm epsilon.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        linear_units: int,
        *,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        activation_dropout_rate: float = 0.0,
        normalize_before: bool = False,
        layer_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.normalize_before = normalize_before
        self.dropout_rate = dropout_rate
        self.activation_dropout_rate = activation_dropout_rate
        self.self_attn = SelfAttention(size, heads, attention_dropout_rate)
        self.self_attn_layer_norm = nn.LayerNorm(size, eps=layer_norm_eps)
        self.fc1 = nn.Linear(size, linear_units)
        self.fc2 = nn.Linear(linear_units, size)
        self.final_layer_norm = nn.LayerNorm(size, eps=layer_norm_eps)

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the block.

        Args:
            x: ``(B, T, D)``.
            bias: ``(B, 1, 1, T)`` attention bias of padded keys, or None.

        Returns:
            Block output ``(B, T, D)`` and the feed-forward result ``(B, T, D)`` before
            dropout and residual. Padded frames hold arbitrary finite values.
        """
        if self.normalize_before:
            x = x + self._drop(self.self_attn(self.self_attn_layer_norm(x), bias))
            ffn = self._feed_forward(self.final_layer_norm(x))
            return x + self._drop(ffn), ffn
        x = self.self_attn_layer_norm(x + self._drop(self.self_attn(x, bias)))
        ffn = self._feed_forward(x)
        return self.final_layer_norm(x + self._drop(ffn)), ffn

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(self.fc1(x))
        hidden = dropout(hidden, self.activation_dropout_rate, self.training)
        return self.fc2(hidden)

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return dropout(x, self.dropout_rate, self.training)


def init_bert(module: nn.Module) -> None:
    """As fairseq: linears get normal(0, 0.02) weights and zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
