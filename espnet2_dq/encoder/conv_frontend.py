"""Raw-waveform frontend: wav2vec 2.0's convolution stack."""

import logging
from collections.abc import Sequence

import torch
from espnet2.asr.frontend.cnn import CNNFrontend

from espnet2_dq.encoder.frame_grid import KERNELS, STRIDES, FrameGrid
from espnet2_dq.encoder.output import make_pad_mask
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
        check_long_enough(speech, self.frame_grid)
        lengths = lengths.to(speech.device)
        pad_mask = make_pad_mask(lengths, speech.size(1))
        speech = speech.masked_fill(pad_mask, 0.0)
        if self.normalize_utterance:
            speech = normalize_utterances(speech, lengths, pad_mask)
        feats, _ = super().forward(speech, None)
        feats_lengths = self.frame_grid.num_frames(lengths)
        frame_pad = make_pad_mask(feats_lengths, feats.size(1))
        return feats.masked_fill(frame_pad[..., None], 0.0), feats_lengths


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
