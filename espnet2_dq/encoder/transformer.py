"""The Transformer encoder of wav2vec 2.0 / data2vec as an ESPnet encoder."""

from collections.abc import Mapping
from typing import Any

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import nn

from espnet2_dq.encoder.attention import padding_bias
from espnet2_dq.encoder.block import TransformerBlock, init_bert
from espnet2_dq.encoder.dropout import dropout
from espnet2_dq.encoder.output import EncoderOutput, make_pad_mask
from espnet2_dq.encoder.positional import build_positional
from espnet2_dq.errors import ConfigError


class DQTransformerEncoder(AbsEncoder):
    """Positional convolution, then Transformer blocks; every layer can be tapped.

    ESPnet's own encoder cannot be configured to equal wav2vec 2.0 or data2vec (no
    residual around the positional convolution, ReLU, LayerNorm epsilon, LayerDrop
    without effect), hence this one. Padding never changes a valid frame.

    Args:
        input_size: Feature dimension; must equal ``output_size`` (project with
            ESPnet's ``preencoder: linear``).
        output_size: Model dimension D.
        attention_heads: Heads per block.
        linear_units: Feed-forward units per block.
        num_blocks: Number of blocks L.
        dropout_rate: Dropout of residual branches and of the encoder input.
        attention_dropout_rate: Dropout of attention weights.
        activation_dropout_rate: Dropout after GELU.
        layer_drop_rate: Probability of skipping a block in training.
        normalize_before: Pre-norm (wav2vec 2.0 large) instead of post-norm (base).
        positional: ``{"style": "wav2vec2"|"data2vec", "kernel", "groups", "depth"}``;
            None means wav2vec2 with kernel 128, 16 groups.
        layer_norm_eps: LayerNorm epsilon.
        mask_embedding: Own the vector that replaces masked frames (U(0, 1) at start).
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 768,
        attention_heads: int = 12,
        linear_units: int = 3072,
        num_blocks: int = 12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        activation_dropout_rate: float = 0.0,
        layer_drop_rate: float = 0.05,
        normalize_before: bool = False,
        positional: Mapping[str, Any] | None = None,
        layer_norm_eps: float = 1e-5,
        mask_embedding: bool = True,
    ) -> None:
        super().__init__()
        if input_size != output_size:
            raise ConfigError(
                f"encoder_conf: input size {input_size} is not output_size "
                f"{output_size}; add 'preencoder: linear' with "
                f"'preencoder_conf: {{output_size: {output_size}}}'"
            )
        self._output_size = output_size
        self.dropout_rate = dropout_rate
        self.layer_drop_rate = layer_drop_rate
        self.normalize_before = normalize_before
        self.mask_embedding: nn.Parameter | None = None
        if mask_embedding:
            self.mask_embedding = nn.Parameter(torch.rand(output_size))
        self.pos_conv = build_positional(output_size, positional)
        self.layer_norm = nn.LayerNorm(output_size, eps=layer_norm_eps)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                output_size,
                attention_heads,
                linear_units,
                dropout_rate=dropout_rate,
                attention_dropout_rate=attention_dropout_rate,
                activation_dropout_rate=activation_dropout_rate,
                normalize_before=normalize_before,
                layer_norm_eps=layer_norm_eps,
            )
            for _ in range(num_blocks)
        )
        self.blocks.apply(init_bert)

    def output_size(self) -> int:
        """Model dimension D."""
        return self._output_size

    def forward(
        self,
        xs_pad: torch.Tensor,
        ilens: torch.Tensor,
        prev_states: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """ESPnet's interface: ``(B, T, D)``, ``(B,)`` -> output, lengths, None."""
        result = self.extract(xs_pad, ilens)
        return result.output, result.lengths, None

    def extract(
        self,
        xs: torch.Tensor,
        lengths: torch.Tensor,
        *,
        span_mask: torch.Tensor | None = None,
        need_ffn: bool = False,
        max_layer: int | None = None,
    ) -> EncoderOutput:
        """Encode and keep what the layers computed.

        Args:
            xs: ``(B, T, D)`` projected features; not changed in place.
            lengths: ``(B,)`` valid frames.
            span_mask: ``(B, T)`` bool, True = frame replaced by ``mask_embedding``.
            need_ffn: Also return the feed-forward results.
            max_layer: Stop after this many blocks; ``output`` is then that block's
                output, and a pre-norm encoder's final LayerNorm is not applied.
        """
        depth = len(self.blocks) if max_layer is None else max_layer
        if not 0 <= depth <= len(self.blocks):
            raise ValueError(f"max_layer {max_layer} not in 0..{len(self.blocks)}")
        lengths = lengths.to(xs.device)
        pad_mask = make_pad_mask(lengths, xs.size(1))
        x = encoder_input = self._embed(xs, pad_mask, span_mask)
        bias = padding_bias(pad_mask)
        layers: list[torch.Tensor] = []
        taps: list[torch.Tensor] = []
        for block in self.blocks[:depth]:
            x, ffn = self._run_block(block, x, bias)
            layers.append(x)
            if need_ffn:
                taps.append(torch.zeros_like(x) if ffn is None else ffn)
        if self.normalize_before and depth == len(self.blocks):
            x = self.layer_norm(x)
        output = x.masked_fill(pad_mask[..., None], 0.0)
        return EncoderOutput(output, lengths, pad_mask, layers, taps, encoder_input)

    def _embed(
        self, xs: torch.Tensor, pad_mask: torch.Tensor, span_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Mask spans, zero padding, add positions, normalise (post-norm), drop."""
        x = xs
        if span_mask is not None:
            x = self._apply_span_mask(x, span_mask)
        x = x.masked_fill(pad_mask[..., None], 0.0)
        x = x + self.pos_conv(x, pad_mask)
        if not self.normalize_before:
            x = self.layer_norm(x)
        return dropout(x, self.dropout_rate, self.training)

    def _apply_span_mask(
        self, x: torch.Tensor, span_mask: torch.Tensor
    ) -> torch.Tensor:
        if self.mask_embedding is None:
            raise ConfigError(
                "encoder_conf: a span mask was given but mask_embedding is false"
            )
        if span_mask.shape != x.shape[:2]:
            raise ValueError(
                f"span_mask {tuple(span_mask.shape)} does not fit the frames "
                f"{tuple(x.shape[:2])}"
            )
        return torch.where(span_mask[..., None], self.mask_embedding.to(x.dtype), x)

    def _run_block(
        self, block: nn.Module, x: torch.Tensor, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Run one block, or pass ``x`` through when LayerDrop skips it."""
        # drawn on the CPU: a draw on the device would wait for it
        if self.training and torch.rand(()).item() < self.layer_drop_rate:
            return _keep_in_graph(x, block), None
        out, ffn = block(x, bias)
        return out, ffn


def _keep_in_graph(x: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """Add nothing to ``x``, but give every parameter of ``block`` a zero gradient.

    DistributedDataParallel waits for the gradient of each parameter, so a skipped
    block must stay in the graph; sums over empty slices cost nothing.
    """
    empty = [p.flatten()[:0].sum() for p in block.parameters() if p.requires_grad]
    return x + torch.stack(empty).sum().to(x.dtype) if empty else x
