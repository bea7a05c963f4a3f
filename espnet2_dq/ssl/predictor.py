"""Student-side predictors of the decoupling branches (Eq. 7; reading R13)."""

import torch
from torch import nn

from espnet2_dq.encoder.attention import padding_bias
from espnet2_dq.encoder.block import TransformerBlock, init_bert
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.norms import zero_padding


class Predictor(nn.Module):
    """Transformer blocks and one linear layer; dropped after pretraining.

    No positional convolution and no LayerDrop: the input comes from a layer of the
    student that has seen positions already.

    Args:
        size: Model dimension ``D``, in and out.
        heads: Attention heads.
        linear_units: Feed-forward units.
        num_blocks: Blocks (2 in the paper; 0 leaves the linear layer).
        dropout_rate: Dropout of residual branches.
        attention_dropout_rate: Dropout of attention weights.
        activation_dropout_rate: Dropout after GELU.
        normalize_before: Pre-norm, as the encoder; then a LayerNorm stands before
            the linear layer.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        linear_units: int,
        num_blocks: int = 2,
        *,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        activation_dropout_rate: float = 0.0,
        normalize_before: bool = False,
    ) -> None:
        super().__init__()
        if num_blocks < 0:
            raise ConfigError(f"predictor blocks: {num_blocks}; choose 0 or more")
        self.blocks = nn.ModuleList(
            TransformerBlock(
                size,
                heads,
                linear_units,
                dropout_rate=dropout_rate,
                attention_dropout_rate=attention_dropout_rate,
                activation_dropout_rate=activation_dropout_rate,
                normalize_before=normalize_before,
            )
            for _ in range(num_blocks)
        )
        self.layer_norm: nn.LayerNorm | None = None
        if normalize_before:
            self.layer_norm = nn.LayerNorm(size)
        self.linear = nn.Linear(size, size)
        self.blocks.apply(init_bert)

    def forward(
        self, x: torch.Tensor, pad_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict per frame: ``(B, T, D)`` -> ``(B, T, D)``, padded frames 0.

        Args:
            x: ``(B, T, D)`` output of a student block; padding is never attended to.
            pad_mask: ``(B, T)`` bool, True = padding, or None.
        """
        x = zero_padding(x, pad_mask)
        bias = None if pad_mask is None else padding_bias(pad_mask)
        for block in self.blocks:
            x, _ = block(x, bias)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return zero_padding(self.linear(x), pad_mask)
