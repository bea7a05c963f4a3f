"""UniSpeech's part of wav2vec 2.0 pretraining: CTC on states mixed with codewords.

In about half of the frames the codeword stands in the place of the encoder's output
(METHODS 4), so both have to carry phonemes, in the same directions of one space. CTC
moves encoder, frontend and the choice of codes; in UniSpeech the codewords, too
(``codebook_gradient: true``).
"""

from collections.abc import Callable

import torch
from torch import nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.ssl.supervision import (
    HeadLoss,
    Labels,
    PhonemeHead,
    SupervisionConfig,
    mix,
)
from espnet2_dq.ssl.wav2vec2_loss import scatter_rows


class UniSpeech(nn.Module):
    """The mixture and its phoneme head.

    Args:
        dim: The encoder's dimension ``D``.
        conf: ``phoneme: mixed``.
    """

    def __init__(self, dim: int, conf: SupervisionConfig) -> None:
        super().__init__()
        conf.check_sizes()
        self.conf = conf
        self.phoneme_head = PhonemeHead(dim, conf)

    def forward(
        self,
        encoded: EncoderOutput,
        labels: Labels,
        codewords: Callable[[torch.Tensor], torch.Tensor],
    ) -> HeadLoss:
        """CTC of the labelled utterances, summed.

        Masked and other frames count alike. Only frames whose codewords are used are
        quantised: those that are replaced, in utterances with labels.

        Args:
            encoded: Encoder on masked features.
            labels: Of the batch.
            codewords: Gives ``(N, D)`` codewords of the frames of a ``(B, T)`` mask, in
                the order of ``x[mask]``; N may be 0.
        """
        labelled = (labels.phn_lengths > 0)[:, None]
        replaced = labels.mix_frames & ~encoded.pad_mask & labelled
        codes = scatter_rows(codewords(replaced), replaced)
        frames = mix(encoded.output, codes, replaced)
        loss: HeadLoss = self.phoneme_head(
            frames, encoded.lengths, labels.phn, labels.phn_lengths
        )
        return loss

    def combine(
        self, wav2vec2: torch.Tensor, ctc: HeadLoss, totals: torch.Tensor
    ) -> torch.Tensor:
        """(1 - a) * wav2vec 2.0 + a * CTC, where a is ``weight`` (R24).

        Args:
            wav2vec2: This batch's part of the unsupervised loss.
            ctc: This batch's sum.
            totals: Masked frames, valid frames, utterances of the update ``(3,)``.
        """
        masked, _, utterances = totals.clamp_min(1.0)
        items = masked if self.conf.ctc_items == "masked" else utterances
        weight = self.conf.weight
        return (1.0 - weight) * wav2vec2 + weight * ctc.loss / items
