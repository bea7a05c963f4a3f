"""Log-mel frontend on the same 20 ms grid as the waveform frontend."""

import torch
from espnet2.asr.frontend.default import DefaultFrontend

from espnet2_dq.encoder.conv_frontend import check_long_enough, normalize_utterances
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.encoder.output import make_pad_mask
from espnet2_dq.errors import ConfigError


class LogMelFrontend(DefaultFrontend):
    """ESPnet's log-mel features, normalised per utterance and channel.

    Args:
        n_mels: Mel channels.
        win_length: Window and FFT length in samples.
        hop_length: Frame shift in samples.
        norm: ``utterance`` (mean and variance over valid frames) or ``none``.
    """

    def __init__(
        self,
        n_mels: int = 80,
        win_length: int = 400,
        hop_length: int = 320,
        norm: str = "utterance",
    ) -> None:
        if norm not in ("utterance", "none"):
            raise ConfigError(
                f"frontend_conf: norm '{norm}' is not one of ['utterance', 'none']"
            )
        super().__init__(
            fs=16000,
            n_fft=win_length,
            win_length=win_length,
            hop_length=hop_length,
            center=False,
            n_mels=n_mels,
            frontend_conf=None,
        )
        self.norm = norm
        self.frame_grid = FrameGrid([win_length], [hop_length])

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Waveforms -> log-mel features.

        Args:
            speech: ``(B, S)`` float samples at 16 kHz; padding may hold anything.
            lengths: ``(B,)`` valid samples.

        Returns:
            Features ``(B, T, n_mels)`` with zero padded frames, and lengths ``(B,)``.
        """
        check_long_enough(speech, self.frame_grid)
        lengths = lengths.to(speech.device)
        # powers span ten decades: never in reduced precision
        with torch.autocast(speech.device.type, enabled=False):
            feats, _ = super().forward(speech.float(), lengths)
        feats_lengths = self.frame_grid.num_frames(lengths)
        pad_mask = make_pad_mask(feats_lengths, feats.size(1))
        feats = feats.masked_fill(pad_mask[..., None], 0.0)
        if self.norm == "utterance":
            feats = normalize_utterances(feats, feats_lengths, pad_mask)
        return feats, feats_lengths
