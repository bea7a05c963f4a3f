"""What every CTC model on a pretrained encoder shares: encoding, freezing, updates."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from torch import nn

from espnet2_dq.asr.config import CTCModelConfig
from espnet2_dq.asr.frames import apply_masks, pool_frames
from espnet2_dq.errors import ConfigError


class FineTunedModel(ESPnetASRModel):
    """Frontend, projection and encoder of a pretrained model, to be fine-tuned.

    Args:
        token_list: Tokens of ``ctc`` by id.
        frontend: Waveform -> features.
        preencoder: Projection to the encoder's width, or ``None``.
        encoder: ``DQTransformerEncoder``.
        ctc: The head that ESPnet's own decoders look at.
        conf: Freezing, pooling, mixed precision.
        unused: Modules that ESPnet's ASR task passes; each must be ``None``.

    Attributes:
        num_updates: Optimizer updates so far (float: averaging models adds integers).
        updates_total: Updates of the whole run, set by the task; for the log only.
        frame_grid: Samples to frames, before ``conf.subsample``.

    Raises:
        ConfigError: A module that the model has no place for.
    """

    num_updates: torch.Tensor

    def __init__(
        self,
        token_list: Sequence[str],
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: nn.Module,
        ctc: CTC,
        conf: CTCModelConfig,
        **unused: nn.Module | None,
    ) -> None:
        _refuse(**unused)
        super().__init__(
            vocab_size=len(token_list),
            token_list=list(token_list),
            frontend=frontend,
            specaug=None,
            normalize=None,
            preencoder=preencoder,
            encoder=encoder,
            postencoder=None,
            decoder=None,
            ctc=ctc,
            joint_network=None,
            ctc_weight=1.0,
            report_cer=False,
            report_wer=False,
        )
        self.conf = conf
        self.frame_grid = frontend.frame_grid
        self.updates_total = 0
        self.register_buffer("num_updates", torch.zeros(()))
        if conf.freeze_frontend:
            # the output LayerNorm is no part of fairseq's extractor: it trains
            for parameter in getattr(frontend, "layers", nn.Module()).parameters():
                parameter.requires_grad_(False)

    @property
    def backbone_frozen(self) -> bool:
        """Whether the encoder rests now; evaluation does not ask."""
        return self.training and bool(self.num_updates < self.conf.freeze_updates)

    def on_update(self, _optimizer: torch.optim.Optimizer | None = None) -> None:
        """Count a real optimizer step; the optimizer's post-step hook calls it."""
        self.num_updates += 1

    def _encode(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor | None = None,
        channel_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``(B, S)`` -> pooled encoder output ``(B, T', D)`` fp32, zero padding."""
        with_grad = torch.is_grad_enabled() and not self.backbone_frozen
        with torch.set_grad_enabled(with_grad), self._autocast(speech.device):
            feats, lengths = self.frontend(speech, speech_lengths)
            if self.preencoder is not None:
                feats, lengths = self.preencoder(feats, lengths)
            if self.training:
                feats = apply_masks(
                    feats, span_mask, channel_mask, self.encoder.mask_embedding
                )
            frames, lengths, _ = self.encoder(feats, lengths)
        return pool_frames(frames.float(), lengths, self.conf.subsample)

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Our own mixed precision, or whatever the trainer has switched on."""
        if self.conf.autocast == "none":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def _refuse(**modules: nn.Module | None) -> None:
    """ESPnet's ASR task can pass modules that these models have no place for."""
    for name, module in modules.items():
        if module is not None:
            raise ConfigError(
                f"{name}: our CTC models have none; set '{name}: null' (masks are"
                " configured by time_mask and channel_mask)"
            )
