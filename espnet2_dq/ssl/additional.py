"""The additional block in front of a quantizer (grey in Fig. 1 b; readings R20, R21).

Deep decoupling needs it: the quantizer's own convolution sees one frame only. Without
a supervised loss it lets the codes ignore the input (ablations S5 and S6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.attention import padding_bias
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.norms import zero_padding


@dataclass(frozen=True)
class AdditionalConfig:
    """``additional`` of a branch.

    Attributes:
        type: ``none``, ``conv`` (the paper's, deep decoupling) or ``transformer`` (S5).
        layers: Convolutions, or Transformer blocks.
        kernel: Width of a convolution in frames, odd.
        position: On the averaged layers before the branch's pooling or norm, or behind
            that norm (R21).
        lr_scale: Factor on its learning rate.
    """

    type: Literal["none", "conv", "transformer"] = "none"
    layers: int = 2
    kernel: int = 3
    position: Literal["pre_norm", "post_norm"] = "pre_norm"
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        if self.layers < 1:
            raise ConfigError(f"additional.layers: {self.layers}; 1 or more")
        if self.lr_scale < 0.0:
            raise ConfigError(f"additional.lr_scale: {self.lr_scale}; 0 or more")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"additional.kernel: {self.kernel}; an odd number")


def make_additional(
    dim: int, conf: AdditionalConfig, blocks: Callable[[int], nn.ModuleList]
) -> nn.Module | None:
    """The block that ``conf`` describes.

    Args:
        dim: Channels ``D``.
        conf: Which.
        blocks: Makes so many Transformer blocks of the encoder's sizes.
    """
    if conf.type == "conv":
        return AdditionalConv(dim, conf)
    if conf.type == "transformer":
        return AdditionalTransformer(blocks(conf.layers))
    return None


class AdditionalConv(nn.Module):
    """Convolutions over time with GELU between them.

    The last has no bias: the instance norm behind it would take that out again, and
    Adam would move it by the rounding errors of its gradient.

    Args:
        dim: Channels ``D``, in and out.
        conf: How many, how wide.
    """

    def __init__(self, dim: int, conf: AdditionalConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(
                dim,
                dim,
                conf.kernel,
                padding=conf.kernel // 2,
                bias=number < conf.layers,
            )
            for number in range(1, conf.layers + 1)
        )

    def forward(
        self, x: torch.Tensor, pad_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(B, T, D)`` -> ``(B, T, D)``; no convolution sees padding.

        Args:
            x: Averaged teacher layers.
            pad_mask: ``(B, T)`` bool, True = padding, or None.
        """
        for number, layer in enumerate(self.layers):
            x = zero_padding(x if number == 0 else F.gelu(x), pad_mask)
            x = layer(x.transpose(1, 2)).transpose(1, 2)
        return zero_padding(x, pad_mask)


class AdditionalTransformer(nn.Module):
    """Transformer blocks as the encoder's.

    Args:
        blocks: Of the encoder's sizes.
    """

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(
        self, x: torch.Tensor, pad_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(B, T, D)`` -> ``(B, T, D)``, padding 0; arguments as above."""
        x = zero_padding(x, pad_mask)
        bias = None if pad_mask is None else padding_bias(pad_mask)
        for block in self.blocks:
            x, _ = block(x, bias)
        return zero_padding(x, pad_mask)
