"""Graphemes on the encoder, syllables two layers above it (K-wav2vec, METHODS 7.1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import nn

from espnet2_dq.asr.additional_layers import AdditionalLayers
from espnet2_dq.asr.config import HEADS, HierarchicalConfig
from espnet2_dq.asr.ctc_head import (
    Targets,
    blank_ratio,
    check_head,
    ctc_sum,
    head_logits,
    impossible_ratio,
    init_head,
    references,
    word_errors,
)
from espnet2_dq.asr.finetuned import FineTunedModel
from espnet2_dq.asr.tokens import SPACE, settle_token_lists
from espnet2_dq.config import from_mapping
from espnet2_dq.encoder.output import make_pad_mask
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError
from espnet2_dq.score.tokens import BLANK_ID, greedy_tokens, token_errors


class HierarchicalCTCModel(FineTunedModel):
    """Two CTC heads at two depths, trained together.

    The *main* head is the syllable head, or the only one. For ESPnet's decoders the
    model is a plain CTC model of it: ``encode``, ``ctc`` and ``token_list`` are the
    main head's.

    Args:
        vocab_size: Number of tokens of the main head.
        token_list: Its tokens by id.
        frontend: Waveform -> features.
        preencoder: Projection to the encoder's width, or ``None``.
        encoder: ``DQTransformerEncoder``.
        ctc: Main head; the other one is made like it.
        token_lists: Tokens (or the path of a ``tokens.txt``) of each head; may be
            left out where there is one head.
        specaug: Must be ``None``, like ``normalize``, ``postencoder``, ``decoder``
            and ``joint_network``: ESPnet's ASR task passes all of them.
        normalize: See ``specaug``.
        postencoder: See ``specaug``.
        decoder: See ``specaug``.
        joint_network: See ``specaug``.
        model_conf: Keys of :class:`HierarchicalConfig`.

    Attributes:
        heads: Names of the heads, graphemes first.
        token_lists: Head -> tokens by id.

    Raises:
        ConfigError: A key or value without a meaning, or token lists that do not fit.
    """

    conf: HierarchicalConfig

    def __init__(
        self,
        vocab_size: int,
        token_list: Sequence[str],
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: DQTransformerEncoder,
        ctc: CTC,
        *,
        token_lists: Mapping[str, Sequence[str] | str | Path] | None = None,
        specaug: nn.Module | None = None,
        normalize: nn.Module | None = None,
        postencoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        joint_network: nn.Module | None = None,
        **model_conf: Any,
    ) -> None:
        conf = from_mapping(HierarchicalConfig, model_conf, "model_conf")
        check_head(ctc, token_list, vocab_size)
        super().__init__(
            token_list,
            frontend,
            preencoder,
            encoder,
            ctc,
            conf,
            specaug=specaug,
            normalize=normalize,
            postencoder=postencoder,
            decoder=decoder,
            joint_network=joint_network,
        )
        del self._modules["ctc"]  # it stands under its head's name, and only there
        self.heads: tuple[str, ...] = conf.heads
        self.token_lists = settle_token_lists(conf.heads, token_lists, token_list)
        self.ctc_heads = nn.ModuleDict()
        for head, tokens in self.token_lists.items():
            self.ctc_heads[head] = (
                ctc if head == self.main else _sibling(ctc, len(tokens))
            )
            check_head(self.ctc_heads[head], tokens, len(tokens))
            init_head(self.ctc_heads[head])
        self.additional: AdditionalLayers | None = None
        if "syllable" in conf.heads and conf.additional_layers:
            self.additional = AdditionalLayers(
                encoder, conf.additional_layers, conf.additional_dropouts
            )

    @property
    def main(self) -> str:
        """The head that selects the best checkpoint."""
        return self.heads[-1]

    @property
    def ctc(self) -> CTC:
        """CTC of the main head, for ESPnet's decoders."""
        return self.ctc_heads[self.main]

    @property
    def syllables_rest(self) -> bool:
        """Whether the syllable term is still left out; evaluation does not ask."""
        delay = self.conf.syllable_delay_updates
        return self.training and bool(self.num_updates < delay)

    def lr_scales(self) -> dict[str, float]:
        """Learning-rate factor by prefix of parameter names."""
        return {
            "ctc_heads.": self.conf.head_lr_scale,
            "additional.": self.conf.additional_lr_scale,
        }

    def loss_weights(self) -> dict[str, float]:
        """Factor of each head's loss; a head that rests has none."""
        if len(self.heads) == 1:
            return {self.main: 1.0}
        weight = self.conf.syllable_weight
        weights = {"grapheme": 1.0 - weight, "syllable": weight}
        if self.conf.loss == "sum":
            weights = dict.fromkeys(HEADS, 1.0)
        if self.syllables_rest:
            del weights["syllable"]
        return weights

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        *,
        span_mask: torch.Tensor | None = None,
        channel_mask: torch.Tensor | None = None,
        totals: torch.Tensor | None = None,
        loss_scale: torch.Tensor | None = None,
        **streams: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Weighted CTC losses per utterance (METHODS 7.2).

        Args:
            speech: ``(B, S)`` samples at 16 kHz.
            speech_lengths: ``(B,)``.
            span_mask: ``(B, T)`` bool, True = masked frame; training only.
            channel_mask: ``(B, D)`` bool, True = zeroed channel; training only.
            totals: ``(3,)``; the last is the number of utterances of the whole update
                (all micro-batches, all ranks), by which the loss is then divided.
            loss_scale: Factor that undoes ESPnet's weighting (``tasks.trainer``).
            streams: For each head its targets, ``grapheme (B, L)`` padded with -1 and
                ``grapheme_lengths (B,)``; others (``utt_id``) are not looked at.

        Returns:
            Loss; statistics ``loss`` (per utterance of this batch), for each head
            ``loss_<head>``, ``blank_ratio_<head>``, ``impossible_<head>`` (share of
            utterances with too few frames; they add 0) and ``ter_<head>`` (greedy
            token error rate), then ``wer`` (greedy words of the main head), ``frozen``
            (1 while the encoder rests) and ``delayed`` (1 while the syllable term is
            left out); and the weight: utterances in training, reference words in
            evaluation, which makes ``wer`` the rate of the whole set (``ter_<head>``
            is then weighted by words, too, and may differ from the set's by a bit).

        Raises:
            ConfigError: A head has no targets.
        """
        targets = self._targets(streams)
        frames, lengths = self._encode(speech, speech_lengths, span_mask, channel_mask)
        logits = self._logits(frames, lengths)
        weights = self.loss_weights()
        utterances = speech.size(0)
        sums = {}
        for head in self.heads:
            with torch.set_grad_enabled(torch.is_grad_enabled() and head in weights):
                sums[head] = ctc_sum(
                    self.ctc_heads[head], logits[head], lengths, targets[head]
                )
        total = torch.stack([weights[head] * sums[head] for head in weights]).sum()
        loss = total / utterances
        stats = {"loss": loss.detach()}
        statistics, words = self._statistics(logits, lengths, targets)
        stats |= {f"loss_{h}": sums[h].detach() / utterances for h in self.heads}
        stats |= statistics
        if totals is not None and self.training:
            loss = total / totals[-1].to(total)
            loss = loss if loss_scale is None else loss * loss_scale.to(loss)
        weight = utterances if self.training else max(1, words)
        return force_gatherable((loss, stats, weight), speech.device)

    def encode(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the main head sees, for ESPnet's decoders.

        Args:
            speech: ``(B, S)`` samples at 16 kHz.
            speech_lengths: ``(B,)``.

        Returns:
            ``(B, T', D)`` with zero padding, and ``(B,)``; a frame is 20 ms times
            ``subsample``.
        """
        frames, lengths = self._encode(speech, speech_lengths)
        return self._inputs(frames, lengths)[self.main], lengths

    def posteriors(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Log-probabilities of every head over the same frames.

        Args:
            speech: ``(B, S)`` samples at 16 kHz; padding may hold anything.
            lengths: ``(B,)``.

        Returns:
            Head -> ``(B, T', V)`` fp32 natural logarithms, and ``(B,)`` valid frames.
            Padded frames are certainly blank (0 for the blank, -inf for the rest), so
            that decoding them, too, changes no output (trap T13).
        """
        frames, frame_lengths = self._encode(speech, lengths)
        found = {}
        pad_mask = make_pad_mask(frame_lengths, frames.size(1))[..., None]
        for head, logits in self._logits(frames, frame_lengths).items():
            silent = logits.new_full(logits.shape[-1:], -torch.inf)
            silent[BLANK_ID] = 0.0
            found[head] = torch.where(pad_mask, silent, logits.log_softmax(-1))
        return found, frame_lengths

    def _inputs(
        self, frames: torch.Tensor, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What each head sees, ``(B, T', D)`` fp32 with zero padding."""
        inputs = dict.fromkeys(self.heads, frames)
        if self.additional is not None:
            rest = torch.is_grad_enabled() and not self.syllables_rest
            with torch.set_grad_enabled(rest), self._autocast(frames.device):
                inputs["syllable"] = self.additional(frames, lengths).float()
        return inputs

    def _logits(
        self, frames: torch.Tensor, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Head -> ``(B, T', V)`` fp32; padded frames hold finite garbage."""
        rate, logits = self.conf.final_dropout, {}
        for head, inputs in self._inputs(frames, lengths).items():
            dropped = nn.functional.dropout(inputs, rate, self.training)
            logits[head] = head_logits(self.ctc_heads[head], dropped)
        return logits

    def _targets(self, streams: Mapping[str, Any]) -> dict[str, Targets]:
        missing = [h for h in self.heads if streams.get(h) is None]
        if missing:
            raise ConfigError(
                f"no targets '{missing[0]}' for the head of that name; train with"
                " espnet2_dq.bin.hier_train, or leave the head out (model_conf.heads)"
            )
        return {h: Targets(streams[h], streams[f"{h}_lengths"]) for h in self.heads}

    @torch.no_grad()
    def _statistics(
        self,
        logits: Mapping[str, torch.Tensor],
        lengths: torch.Tensor,
        targets: Mapping[str, Targets],
    ) -> tuple[dict[str, Any], int]:
        """Gauges of a batch, in the same order on every rank; and reference words."""
        stats: dict[str, Any] = {}
        errors = words = 0
        for head in self.heads:
            best = logits[head].argmax(-1)
            found, expected = greedy_tokens(best, lengths), references(targets[head])
            tokens = max(1, targets[head].tokens)
            stats[f"blank_ratio_{head}"] = blank_ratio(best, lengths)
            stats[f"impossible_{head}"] = impossible_ratio(lengths, targets[head])
            stats[f"ter_{head}"] = token_errors(found, expected) / tokens
            if head == self.main:
                errors, words = word_errors(found, expected, self._space(head))
        stats["wer"] = errors / max(1, words)
        stats["frozen"] = float(self.backbone_frozen)
        stats["delayed"] = float(self.syllables_rest)
        return stats, words

    def _space(self, head: str) -> int | None:
        tokens = self.token_lists[head]
        return tokens.index(SPACE) if SPACE in tokens else None


def _sibling(ctc: CTC, vocab_size: int) -> CTC:
    """A head like ``ctc`` with another vocabulary."""
    return CTC(
        vocab_size,
        ctc.ctc_lo.in_features,
        zero_infinity=ctc.ctc_loss.zero_infinity,
    )
