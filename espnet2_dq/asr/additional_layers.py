"""Transformer layers between the encoder and the syllable head (METHODS 7.1)."""

import torch
from torch import nn

from espnet2_dq.asr.config import AdditionalDropouts
from espnet2_dq.encoder.attention import padding_bias
from espnet2_dq.encoder.block import TransformerBlock, init_bert
from espnet2_dq.encoder.output import make_pad_mask
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError


class AdditionalLayers(nn.Module):
    """Further blocks of the encoder's own shape, without LayerDrop and positions.

    Width, heads, feed-forward units and the order of the norms are the encoder's. In
    a pre-norm encoder the last LayerNorm stands before these layers, so they end with
    one of their own; post-norm blocks need none.

    Args:
        encoder: Whose shape to take.
        num_layers: At least 1.
        dropouts: Rates in these layers.

    Raises:
        ConfigError: The encoder has no block to take the shape from.
    """

    def __init__(
        self,
        encoder: DQTransformerEncoder,
        num_layers: int,
        dropouts: AdditionalDropouts,
    ) -> None:
        super().__init__()
        if not len(encoder.blocks):
            raise ConfigError(
                "model_conf.additional_layers: they are shaped like the encoder's"
                " blocks, and encoder_conf.num_blocks is 0; give it at least 1"
            )
        shape = encoder.blocks[0]
        assert isinstance(shape, TransformerBlock)
        size = encoder.output_size()
        eps = shape.final_layer_norm.eps
        self.blocks = nn.ModuleList(
            TransformerBlock(
                size,
                shape.self_attn.heads,
                shape.fc1.out_features,
                dropout_rate=dropouts.residual,
                attention_dropout_rate=dropouts.attention,
                activation_dropout_rate=dropouts.activation,
                normalize_before=shape.normalize_before,
                layer_norm_eps=eps,
            )
            for _ in range(num_layers)
        )
        self.layer_norm = (
            nn.LayerNorm(size, eps=eps) if shape.normalize_before else None
        )
        self.blocks.apply(init_bert)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Run the blocks.

        Args:
            frames: ``(B, T, D)`` encoder output; padding may hold anything finite.
            lengths: ``(B,)`` valid frames.

        Returns:
            ``(B, T, D)`` with zero padding; no padded frame was attended to.
        """
        pad_mask = make_pad_mask(lengths, frames.size(1))
        bias = padding_bias(pad_mask)
        for block in self.blocks:
            frames, _ = block(frames, bias)
        if self.layer_norm is not None:
            frames = self.layer_norm(frames)
        return frames.masked_fill(pad_mask[..., None], 0.0)
