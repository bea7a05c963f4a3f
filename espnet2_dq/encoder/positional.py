"""Convolutional positional embeddings of wav2vec 2.0 and data2vec."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.config import unknown_key_message
from espnet2_dq.errors import ConfigError

DEFAULTS: dict[str, dict[str, Any]] = {
    "wav2vec2": {"kernel": 128, "groups": 16, "depth": 1},
    "data2vec": {"kernel": 19, "groups": 16, "depth": 5, "mask_between": True},
}


def _same_conv(conv: nn.Module, x: torch.Tensor, kernel: int) -> torch.Tensor:
    """Convolve ``(B, D, T)``; an even kernel gives one frame too many, cut it."""
    y: torch.Tensor = conv(x)
    return y[..., :-1] if kernel % 2 == 0 else y


class Wav2Vec2PositionalConv(nn.Module):
    """One wide grouped convolution with weight norm, then GELU."""

    def __init__(self, size: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel = kernel
        conv = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=groups)
        # fairseq make_conv_pos: fan counted over all channels, not those of a group
        nn.init.normal_(conv.weight, mean=0.0, std=math.sqrt(4.0 / (kernel * size)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = nn.utils.parametrizations.weight_norm(conv, name="weight", dim=2)

    def forward(self, x: torch.Tensor, pad_mask: torch.Tensor) -> torch.Tensor:
        """``(B, T, D)`` with zero padded frames -> embedding ``(B, T, D)``."""
        y = _same_conv(self.conv, x.transpose(1, 2), self.kernel)
        return F.gelu(y).transpose(1, 2)


class Data2VecPositionalConv(nn.Module):
    """A stack of convolutions, each followed by LayerNorm (no affine) and GELU.

    Args:
        size: Model dimension D.
        kernel: Kernel of every convolution.
        groups: Groups of every convolution.
        depth: Number of convolutions.
        mask_between: Zero the padded frames between convolutions, so that padding
            never reaches a valid frame. fairseq and Hugging Face do not do it: turn
            it off only to reproduce their numbers on padded batches.
    """

    def __init__(
        self, size: int, kernel: int, groups: int, depth: int, mask_between: bool = True
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.mask_between = mask_between
        self.convs = nn.ModuleList(
            nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=groups)
            for _ in range(depth)
        )

    def forward(self, x: torch.Tensor, pad_mask: torch.Tensor) -> torch.Tensor:
        """``(B, T, D)`` with zero padded frames -> embedding ``(B, T, D)``."""
        for index, conv in enumerate(self.convs):
            if index and self.mask_between:
                x = x.masked_fill(pad_mask[..., None], 0.0)
            y = _same_conv(conv, x.transpose(1, 2), self.kernel).transpose(1, 2)
            x = F.gelu(F.layer_norm(y, y.shape[-1:]))
        return x


def build_positional(size: int, conf: Mapping[str, Any] | None) -> nn.Module:
    """Positional convolution from ``{"style", "kernel", "groups", "depth"}``.

    Raises:
        ConfigError: Unknown style or key, or groups that do not divide ``size``.
    """
    where = "encoder_conf.positional"
    given = dict(conf or {})
    style = given.pop("style", "wav2vec2")
    if style not in DEFAULTS:
        raise ConfigError(f"{where}: style '{style}' is not one of {list(DEFAULTS)}")
    values = dict(DEFAULTS[style])
    for key, value in given.items():
        if key not in values:
            raise ConfigError(unknown_key_message(key, ["style", *values], where))
        values[key] = value
    if size % values["groups"]:
        raise ConfigError(
            f"{where}: groups {values['groups']} do not divide the model size {size}"
        )
    if style == "data2vec":
        return Data2VecPositionalConv(size, **values)
    if values.pop("depth") != 1:
        raise ConfigError(
            f"{where}: style 'wav2vec2' has depth 1; use 'data2vec' for a stack"
        )
    return Wav2Vec2PositionalConv(size, **values)
