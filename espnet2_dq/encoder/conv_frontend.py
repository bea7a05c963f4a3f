"""Raw-waveform frontend: wav2vec 2.0's convolution stack."""

import logging
from collections.abc import Sequence

import torch
from espnet2.asr.frontend.cnn import CNNFrontend
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.frame_grid import KERNELS, STRIDES, FrameGrid
from espnet2_dq.encoder.output import make_pad_mask
from espnet2_dq.encoder.strided_conv import strided_conv
from espnet2_dq.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


class WaveformFrontend(CNNFrontend):
    """ESPnet's ``CNNFrontend`` made independent of padding and batch mates.

    Args:
        norm_mode: ``layer_norm`` (recommended) or ``group_norm`` (wav2vec 2.0 base;
            its statistics run over time, so results depend on padding).
        channels: Channels of every layer when ``shapes`` is not given.
        shapes: ``(channels, kernel, stride)`` per layer; None is wav2vec 2.0's stack.
        bias: Bias in the convolutions.
        normalize_audio: Zero mean and unit variance per utterance, over its own
            samples only.
        normalize_output: LayerNorm over the channels of the output.
    """

    def __init__(
        self,
        norm_mode: str = "layer_norm",
        channels: int = 512,
        shapes: Sequence[Sequence[int]] | None = None,
        bias: bool = False,
        normalize_audio: bool = True,
        normalize_output: bool = True,
    ) -> None:
        if norm_mode not in ("layer_norm", "group_norm"):
            raise ConfigError(
                f"frontend_conf: norm_mode '{norm_mode}' is not one of "
                "['layer_norm', 'group_norm']"
            )
        if norm_mode == "group_norm":
            logger.warning(
                "frontend_conf: norm_mode group_norm takes statistics over time, "
                "padding included: features depend on batch mates"
            )
        if shapes is None:
            shapes = [(channels, k, s) for k, s in zip(KERNELS, STRIDES, strict=True)]
        super().__init__(
            norm_mode=norm_mode,
            conv_mode="standard",
            bias=bias,
            shapes=[(c, k, s) for c, k, s in shapes],
            normalize_audio=False,  # the parent's runs over the whole padded batch
            normalize_output=normalize_output,
        )
        self.normalize_utterance = normalize_audio
        self.frame_grid = FrameGrid([s[1] for s in shapes], [s[2] for s in shapes])

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Waveforms -> features.

        Args:
            speech: ``(B, S)`` float samples at 16 kHz; padding may hold anything.
            lengths: ``(B,)`` valid samples.

        Returns:
            Features ``(B, T, C)`` with zero padded frames, and lengths ``(B,)``.
        """
        return self.finish(*self.convolve(speech, lengths))

    def convolve(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The convolutions without the final LayerNorm; see ``forward``.

        Returns:
            ``(B, T, C)``, padded frames hold arbitrary finite values; lengths.
        """
        check_long_enough(speech, self.frame_grid)
        lengths = lengths.to(speech.device)
        pad_mask = make_pad_mask(lengths, speech.size(1))
        speech = speech.masked_fill(pad_mask, 0.0)
        if self.normalize_utterance:
            speech = normalize_utterances(speech, lengths, pad_mask)
        return self._convolve(speech), self.frame_grid.num_frames(lengths)

    def finish(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From what ``convolve`` gives to what ``forward`` gives."""
        frame_pad = make_pad_mask(lengths, feats.size(1))
        return self.final_norm(feats).masked_fill(frame_pad[..., None], 0.0), lengths

    def _convolve(self, speech: torch.Tensor) -> torch.Tensor:
        """The parent's forward on rows of channels, with the same parameters.

        All utterances become one long row; each has a slot of whole hops, so that no
        stride straddles a border. The last frame of a slot reads into the next slot
        and is cut off.

        Args:
            speech: ``(B, S)``.

        Returns:
            ``(B, T, C)``.
        """
        batch, samples = speech.shape
        slot = -(-samples // self.frame_grid.hop) * self.frame_grid.hop
        # (B, S) -> (B * slot, 1)
        x = F.pad(speech, (0, slot - samples)).reshape(-1, 1)
        count = samples
        for layer in self.layers:
            conv = layer.conv
            x = strided_conv(x, conv.weight, conv.bias, layer.stride)
            count = (count - layer.kernel_size) // layer.stride + 1
            x = F.gelu(_normalize(x, layer.layer_norm, batch, count))
        # (B * slot / hop, C) -> (B, T, C)
        return x.view(batch, -1, self.output_channels)[:, :count]


def _normalize(
    x: torch.Tensor, norm: nn.Module | None, batch: int, count: int
) -> torch.Tensor:
    """Apply a layer's norm to rows ``(N, C)``; ``count`` rows per utterance count."""
    if isinstance(norm, nn.LayerNorm):
        # not norm(x): ESPnet's subclass expects channels first
        return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    if isinstance(norm, nn.GroupNorm):
        # one group per channel: statistics over the frames of each utterance
        frames = x.view(batch, -1, x.size(1))
        variance, mean = torch.var_mean(
            frames[:, :count].float(), 1, correction=0, keepdim=True
        )
        scale = torch.rsqrt(variance + norm.eps) * norm.weight
        return torch.addcmul(norm.bias - mean * scale, frames, scale).view_as(x)
    return x


def normalize_utterances(
    x: torch.Tensor, lengths: torch.Tensor, pad_mask: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """Zero mean, unit (biased) variance over dimension 1 of valid entries.

    Args:
        x: ``(B, N)`` or ``(B, N, C)`` with zero padding; channels apart.
        lengths: ``(B,)`` valid entries.
        pad_mask: ``(B, N)`` True = padding.
        eps: Added to the variance.

    Returns:
        Same shape, zero padding.
    """
    shape = (-1,) + (1,) * (x.dim() - 1)
    count = lengths.clamp(min=1).to(x.dtype).view(shape)
    pad = pad_mask.view(*pad_mask.shape, *(1,) * (x.dim() - 2))
    x = (x - x.sum(1, keepdim=True) / count).masked_fill(pad, 0.0)
    variance = x.square().sum(1, keepdim=True) / count
    return x * torch.rsqrt(variance + eps)


def check_long_enough(speech: torch.Tensor, grid: FrameGrid) -> None:
    """Refuse a batch in which no utterance can have a single frame.

    Raises:
        DataError: The shape is not ``(B, S)``, or S is below the receptive field.
    """
    if speech.dim() != 2:
        raise DataError(f"speech must be (batch, samples), got {tuple(speech.shape)}")
    if speech.size(1) < grid.receptive_field:
        raise DataError(
            f"speech has {speech.size(1)} samples; one frame needs "
            f"{grid.receptive_field}: filter shorter utterances out"
        )
