"""CTC recogniser on top of the pretrained frontend, projection and encoder."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable
from rapidfuzz.distance import Levenshtein
from torch import nn

from espnet2_dq.asr.config import CTCModelConfig
from espnet2_dq.asr.frames import apply_masks, pool_frames, required_frames
from espnet2_dq.config import from_mapping
from espnet2_dq.errors import ConfigError

BLANK_ID = 0


class CTCModel(ESPnetASRModel):
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

    Attributes:
        num_updates: Optimizer updates so far (float: averaging models adds integers).
        updates_total: Updates of the whole run, set by the task; for the log only.
    """

    num_updates: torch.Tensor

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
        _refuse(
            specaug=specaug,
            normalize=normalize,
            postencoder=postencoder,
            decoder=decoder,
            joint_network=joint_network,
        )
        _check_head(ctc, token_list, vocab_size)
        super().__init__(
            vocab_size=vocab_size,
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
        self.conf = from_mapping(CTCModelConfig, model_conf, "model_conf")
        self.frame_grid = frontend.frame_grid
        self.updates_total = 0
        self.register_buffer("num_updates", torch.zeros(()))
        # fairseq's initialisation of the output layer
        nn.init.xavier_uniform_(ctc.ctc_lo.weight)
        nn.init.zeros_(ctc.ctc_lo.bias)
        if self.conf.freeze_frontend:
            # the output LayerNorm is no part of fairseq's extractor: it trains
            for parameter in getattr(frontend, "layers", nn.Module()).parameters():
                parameter.requires_grad_(False)

    @property
    def backbone_frozen(self) -> bool:
        """Whether only the head trains now; evaluation does not ask."""
        return self.training and bool(self.num_updates < self.conf.freeze_updates)

    def on_update(self, _optimizer: torch.optim.Optimizer | None = None) -> None:
        """Count a real optimizer step; the optimizer's post-step hook calls it."""
        self.num_updates += 1

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
        logits = self._logits(frames)
        total = self._ctc_sum(logits, lengths, text, text_lengths)
        utterances = speech.size(0)
        loss = total / utterances
        stats = {"loss": loss.detach()}
        with torch.no_grad():
            stats |= self._statistics(logits, lengths, text, text_lengths)
        weight = utterances if self.training else max(1, int(text_lengths.sum()))
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
        return self._encode(speech, speech_lengths, None, None)

    def _encode(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor | None,
        channel_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
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

    def _logits(self, frames: torch.Tensor) -> torch.Tensor:
        """``(B, T', D)`` -> ``(B, T', V)`` in fp32.

        ``CTC.forward`` is not used: its dropout stays on in evaluation.
        """
        with torch.autocast(frames.device.type, enabled=False):
            logits: torch.Tensor = self.ctc.ctc_lo(frames.float())
        return logits

    def _ctc_sum(
        self,
        logits: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Sum of the utterances' losses; 0 for targets that cannot be emitted."""
        valid = torch.arange(text.size(1), device=text.device) < text_lengths[:, None]
        with torch.autocast(logits.device.type, enabled=False):
            # (B, T', V) -> (T', B, V); targets end to end
            losses = self.ctc.ctc_loss(
                logits.transpose(0, 1).log_softmax(2),
                text[valid],
                lengths,
                text_lengths,
            )
        return losses.sum()

    def _statistics(
        self,
        logits: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> dict[str, Any]:
        """Gauges of a batch; the same keys in the same order on every rank."""
        best = logits.argmax(-1)
        valid = torch.arange(best.size(1), device=best.device) < lengths[:, None]
        blanks = ((best == BLANK_ID) & valid).sum() / valid.sum().clamp(min=1)
        impossible = required_frames(text, text_lengths) > lengths
        errors = _token_errors(best, lengths, text, text_lengths)
        return {
            "blank_ratio": blanks,
            "impossible": impossible.float().mean(),
            "ter": errors / max(1, int(text_lengths.sum())),
            "frozen": float(self.backbone_frozen),
        }


def _token_errors(
    best: torch.Tensor,
    lengths: torch.Tensor,
    text: torch.Tensor,
    text_lengths: torch.Tensor,
) -> int:
    """Edit operations between the greedy output and the references of a batch."""
    errors = 0
    rows = zip(best.cpu(), lengths.tolist(), text.cpu(), text_lengths.tolist())
    for path, frames, target, tokens in rows:
        merged = torch.unique_consecutive(path[:frames])
        output = merged[merged != BLANK_ID].tolist()
        errors += Levenshtein.distance(output, target[:tokens].tolist())
    return errors


def _refuse(**modules: nn.Module | None) -> None:
    """ESPnet's ASR task can pass modules that this model has no place for."""
    for name, module in modules.items():
        if module is not None:
            raise ConfigError(
                f"{name}: the dq_ctc model has none; set '{name}: null' (masks are"
                " configured by time_mask and channel_mask)"
            )


def _check_head(ctc: CTC, token_list: Sequence[str], vocab_size: int) -> None:
    """The head must fit the token list, and be one whose loss we compute ourselves."""
    if ctc.ctc_type != "builtin" or ctc.dropout_rate != 0.0:
        raise ConfigError(
            f"ctc_conf: ctc_type {ctc.ctc_type}, dropout_rate {ctc.dropout_rate};"
            " only 'builtin' and 0 (use model_conf.final_dropout)"
        )
    if len(token_list) != vocab_size or ctc.ctc_lo.out_features != vocab_size:
        raise ConfigError(
            f"token_list: {len(token_list)} tokens, vocab_size {vocab_size}, head"
            f" {ctc.ctc_lo.out_features}; all three must agree"
        )
    if token_list[BLANK_ID] != "<blank>":
        raise ConfigError(
            f"token_list: the first token is {token_list[0]!r}; it must be '<blank>'"
        )
