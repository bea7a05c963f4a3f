"""CTC recogniser on top of the pretrained frontend, projection and encoder."""

from collections.abc import Sequence
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import nn

from espnet2_dq.asr.config import CTCModelConfig
from espnet2_dq.asr.ctc_head import (
    Targets,
    blank_ratio,
    check_head,
    ctc_sum,
    head_logits,
    impossible_ratio,
    init_head,
    references,
)
from espnet2_dq.asr.finetuned import FineTunedModel
from espnet2_dq.config import from_mapping
from espnet2_dq.score.tokens import greedy_tokens, token_errors


class CTCModel(FineTunedModel):
    """Encoder plus one linear layer, trained with CTC (METHODS section 5).

    It is an ESPnet ASR model: ``encode`` and ``ctc`` are all that ESPnet's or our
    decoders need. What the fine-tuning recipe adds lies in :class:`CTCModelConfig`.

    Args:
        vocab_size: Number of tokens, blank included.
        token_list: Tokens by id; the first is the blank.
        frontend: Waveform -> features.
        preencoder: Projection to the encoder's width, or ``None``.
        encoder: ``DQTransformerEncoder``.
        ctc: ESPnet's CTC head.
        specaug: Must be ``None``, like ``normalize``, ``postencoder``, ``decoder``
            and ``joint_network``: ESPnet's ASR task passes all of them.
        normalize: See ``specaug``.
        postencoder: See ``specaug``.
        decoder: See ``specaug``.
        joint_network: See ``specaug``.
        model_conf: Keys of :class:`CTCModelConfig`.
    """

    def __init__(
        self,
        vocab_size: int,
        token_list: Sequence[str],
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: nn.Module,
        ctc: CTC,
        *,
        specaug: nn.Module | None = None,
        normalize: nn.Module | None = None,
        postencoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        joint_network: nn.Module | None = None,
        **model_conf: Any,
    ) -> None:
        check_head(ctc, token_list, vocab_size)
        super().__init__(
            token_list,
            frontend,
            preencoder,
            encoder,
            ctc,
            from_mapping(CTCModelConfig, model_conf, "model_conf"),
            specaug=specaug,
            normalize=normalize,
            postencoder=postencoder,
            decoder=decoder,
            joint_network=joint_network,
        )
        init_head(ctc)

    def lr_scales(self) -> dict[str, float]:
        """Learning-rate factor by prefix of parameter names."""
        return {"ctc.": self.conf.head_lr_scale}

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        *,
        span_mask: torch.Tensor | None = None,
        channel_mask: torch.Tensor | None = None,
        totals: torch.Tensor | None = None,
        loss_scale: torch.Tensor | None = None,
        **unused: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """CTC loss per utterance (fairseq's ``sentence_avg``).

        Args:
            speech: ``(B, S)`` samples at 16 kHz.
            speech_lengths: ``(B,)``.
            text: ``(B, L)`` token ids, padded with -1.
            text_lengths: ``(B,)``.
            span_mask: ``(B, T)`` bool, True = masked frame; training only.
            channel_mask: ``(B, D)`` bool, True = zeroed channel; training only.
            totals: ``(3,)``; the last is the number of utterances of the whole update
                (all micro-batches, all ranks), by which the loss is then divided.
            loss_scale: Factor that undoes ESPnet's weighting (``tasks.trainer``).
            unused: ``utt_id`` and streams of other tasks.

        Returns:
            Loss; statistics ``loss`` (per utterance of this batch), ``blank_ratio``
            (share of frames whose best token is blank), ``impossible`` (share of
            utterances with too few frames; they add 0), ``ter`` (greedy token error
            rate; in training with masks and dropout) and ``frozen`` (1 while only
            the head trains); and the weight: utterances in training, reference
            tokens in evaluation, which makes ``ter`` the rate of the whole set.
        """
        frames, lengths = self._encode(speech, speech_lengths, span_mask, channel_mask)
        frames = nn.functional.dropout(frames, self.conf.final_dropout, self.training)
        logits = head_logits(self.ctc, frames)
        targets = Targets(text, text_lengths)
        total = ctc_sum(self.ctc, logits, lengths, targets)
        utterances = speech.size(0)
        loss = total / utterances
        stats = {"loss": loss.detach()}
        stats |= self._statistics(logits, lengths, targets)
        weight = utterances if self.training else max(1, targets.tokens)
        if totals is not None and self.training:
            loss = total / totals[-1].to(total)
            loss = loss if loss_scale is None else loss * loss_scale.to(loss)
        return force_gatherable((loss, stats, weight), speech.device)

    def encode(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head sees, for decoding.

        Args:
            speech: ``(B, S)`` samples at 16 kHz.
            speech_lengths: ``(B,)``.

        Returns:
            ``(B, T', D)`` with zero padding, and ``(B,)``; a frame is 20 ms times
            ``subsample``.
        """
        return self._encode(speech, speech_lengths)

    @torch.no_grad()
    def _statistics(
        self, logits: torch.Tensor, lengths: torch.Tensor, targets: Targets
    ) -> dict[str, Any]:
        """Gauges of a batch; the same keys in the same order on every rank."""
        best = logits.argmax(-1)
        errors = token_errors(greedy_tokens(best, lengths), references(targets))
        return {
            "blank_ratio": blank_ratio(best, lengths),
            "impossible": impossible_ratio(lengths, targets),
            "ter": errors / max(1, targets.tokens),
            "frozen": float(self.backbone_frozen),
        }
