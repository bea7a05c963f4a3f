"""The supervised losses of the data2vec objective: gamma_3 (L_ce + L_ctc), Eq. 14."""

from collections.abc import Mapping

import torch
from torch import nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.ssl.centring import RunningNorm
from espnet2_dq.ssl.norms import masked_mean
from espnet2_dq.ssl.supervision import (
    HeadLoss,
    Labels,
    LanguageHead,
    PhonemeHead,
    SupervisionConfig,
    mix,
)


class SupervisedLosses(nn.Module):
    """Both heads on what Eq. 11 mixes.

    Args:
        dim: Model dimension ``D``.
        conf: Which heads, which mixture.
        language_layer: Student layer of the language branch, 1-based.
        phoneme_layer: Student layer of the phoneme branch, 1-based.
    """

    def __init__(
        self,
        dim: int,
        conf: SupervisionConfig,
        language_layer: int,
        phoneme_layer: int,
    ) -> None:
        super().__init__()
        self.conf = conf
        self.language_layer, self.phoneme_layer = language_layer, phoneme_layer
        self.language_head = LanguageHead(dim, conf) if conf.language else None
        self.norm: RunningNorm | None = None
        if conf.language and conf.norm_momentum > 0.0:
            self.norm = RunningNorm(dim, conf.norm_momentum)
        self.phoneme_head: PhonemeHead | None = None
        if conf.phoneme != "off":
            self.phoneme_head = PhonemeHead(dim, conf)

    def forward(
        self,
        student: EncoderOutput,
        codes: Mapping[str, torch.Tensor],
        labels: Labels,
        totals: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted loss of this batch, and statistics.

        Args:
            student: On masked features; masked and other frames count alike.
            codes: Codewords of the branches: ``language (B, D)``,
                ``phoneme (B, T, D)``; a branch that is off is missing.
            labels: Of the batch.
            totals: Masked frames, valid frames, utterances of the update ``(3,)``.
        """
        masked, _, utterances = totals.clamp_min(1.0)
        loss = totals.new_zeros(())
        stats: dict[str, torch.Tensor] = {}
        if self.language_head is not None:
            states = masked_mean(
                student.layers[self.language_layer - 1], student.pad_mask
            )
            if self.norm is not None:
                if self.training:
                    self.norm.observe(states)
                states = self.norm(states)
            mixed = mix(states, codes["language"], labels.mix_utterance)
            term = self.language_head(mixed, labels.lang)
            loss = loss + term.loss / utterances
            stats |= term.stats("loss_ce", "error_lang")
        if self.phoneme_head is not None:
            term = self._phonemes(student, codes, labels)
            items = masked if self.conf.ctc_items == "masked" else utterances
            loss = loss + term.loss / items
            stats |= term.stats("loss_ctc", "ter_ctc")
        return self.conf.weight * loss, stats

    def on_update(self) -> None:
        """After each optimizer update."""
        if self.norm is not None:
            self.norm.step()

    def _phonemes(
        self,
        student: EncoderOutput,
        codes: Mapping[str, torch.Tensor],
        labels: Labels,
    ) -> HeadLoss:
        if self.conf.phoneme == "mixed":
            states = student.layers[self.phoneme_layer - 1]
            frames = mix(states, codes["phoneme"], labels.mix_frames)
        elif self.conf.layer:
            frames = student.layers[self.conf.layer - 1]
        else:
            frames = student.output
        assert self.phoneme_head is not None
        term: HeadLoss = self.phoneme_head(
            frames, student.lengths, labels.phn, labels.phn_lengths
        )
        return term
