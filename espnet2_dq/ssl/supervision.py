"""Weak supervision (Eqs. 11 to 14): student states and codes mixed, two heads.

Language labels of all utterances, phonemes of the high-resource languages only. Which
frames and utterances are mixed is drawn with the masks, per utterance
(``tasks.collate``), so that batch mates never change it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.score.tokens import BLANK_ID, greedy_tokens, token_errors


@dataclass(frozen=True)
class SupervisionConfig:
    """``model_conf.supervision``; the defaults are off.

    Attributes:
        weight: gamma_3 of Eq. 14 (R24 for the baselines).
        language: Cross-entropy over languages on mixed pooled vectors (Eq. 12); needs
            the language branch.
        phoneme: CTC (Eq. 13): ``mixed`` on the phoneme branch's mixture, ``output``
            on the student alone, without a mixture (UniData2vec).
        layer: For ``output``: which layer, 1-based; 0 is the last.
        languages: Size of the language head; 0 follows the data.
        tokens: Size of the phoneme head, blank included; 0 follows the token list.
        replace_prob: Share of frames, and of utterances, replaced by their codes.
        exact_half: Exactly that share of an utterance's frames, rounded down, instead
            of a draw for every frame (R19).
        dropout: In front of both heads.
        ctc_items: What the sum of CTC losses is divided by: ``masked`` frames of the
            update (UniSpeech) or ``utterances``, with those that have no labels.
        norm_momentum: Above 0: pooled student states are normalised per channel by
            running statistics of this momentum before they are mixed. The paper's
            blocks end in a norm; without one (pre-norm) all utterances look alike.
        head_lr_scale: Factor on the heads' learning rate; short runs need one.
        codebook_gradient: Let the supervised losses move the codewords, too (R11).
    """

    weight: float = 0.1
    language: bool = False
    phoneme: Literal["off", "mixed", "output"] = "off"
    layer: int = 0
    languages: int = 0
    tokens: int = 0
    replace_prob: float = 0.5
    exact_half: bool = False
    dropout: float = 0.1
    ctc_items: Literal["masked", "utterances"] = "masked"
    norm_momentum: float = 0.0
    head_lr_scale: float = 1.0
    codebook_gradient: bool = False

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        where = "model_conf.supervision"
        for name in ("replace_prob", "dropout", "norm_momentum"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{where}.{name}: {getattr(self, name)}; 0 to 1")
        for name in ("weight", "layer", "languages", "tokens", "head_lr_scale"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{where}.{name}: {getattr(self, name)}; 0 or more")

    @property
    def active(self) -> bool:
        """Whether any label is used."""
        return self.language or self.phoneme != "off"

    def check_sizes(self) -> None:
        """Refuse a head without outputs.

        Raises:
            ConfigError: A size of 0, which only the training task may fill in.
        """
        sizes = {"languages": self.language, "tokens": self.phoneme != "off"}
        for name, used in sizes.items():
            if used and getattr(self, name) < 2:
                raise ConfigError(
                    f"model_conf.supervision.{name}: {getattr(self, name)}; 2 or more."
                    " 0 is only allowed in training, where it follows from the data"
                )


@dataclass(frozen=True)
class Labels:
    """Labels of a batch, and what is mixed.

    Attributes:
        lang: ``(B,)`` int64 language ids.
        phn: ``(B, L)`` int64 phoneme ids; padding may hold anything.
        phn_lengths: ``(B,)``, 0 for utterances without phoneme labels.
        mix_frames: ``(B, T)`` bool, True = the frame's code stands for its state.
        mix_utterance: ``(B,)`` bool, the same for the pooled vector.
    """

    lang: torch.Tensor
    phn: torch.Tensor
    phn_lengths: torch.Tensor
    mix_frames: torch.Tensor
    mix_utterance: torch.Tensor

    @classmethod
    def of_batch(cls, streams: Mapping[str, torch.Tensor]) -> "Labels":
        """Take the labels out of a batch.

        Raises:
            DataError: The batch has none.
        """
        missing = [name for name in _STREAMS if name not in streams]
        if missing:
            raise DataError(
                f"the batch has no {', '.join(missing)}, which model_conf.supervision"
                " needs; give --supervised_langs and --token_list (for phonemes), and"
                " data directories with utt2lang"
            )
        lang, *others = (streams[name] for name in _STREAMS)
        return cls(lang.flatten(), *others)


_STREAMS = ("lang", "phn", "phn_lengths", "mix_frames", "mix_utterance")


def mix(
    states: torch.Tensor, codes: torch.Tensor, replaced: torch.Tensor
) -> torch.Tensor:
    """Eq. 11: ``codes`` where ``replaced``, else ``states``.

    Args:
        states: ``(B, T, D)`` or ``(B, D)`` of the student.
        codes: The same shape, quantised teacher features.
        replaced: ``(B, T)`` or ``(B,)`` bool.
    """
    return torch.where(replaced.unsqueeze(-1), codes, states.to(codes.dtype))


@dataclass(frozen=True)
class HeadLoss:
    """A head's loss of one batch, as a sum.

    Attributes:
        loss: Sum over the labelled utterances; connected to the graph even if none.
        items: How many they are.
        wrong: Of the best answer: wrong languages, or edit operations.
        references: Of what: utterances, or reference tokens.
    """

    loss: torch.Tensor
    items: torch.Tensor
    wrong: torch.Tensor
    references: torch.Tensor

    def stats(self, loss: str, rate: str) -> dict[str, torch.Tensor]:
        """Loss per labelled utterance and error rate, under these names.

        NaN without any: the log averages over the batches that have some.
        """
        return {
            loss: self.loss.detach() / self.items,
            rate: self.wrong / self.references,
        }


class LanguageHead(nn.Module):
    """Linear layer and cross-entropy over languages (Eq. 12).

    Args:
        dim: Model dimension ``D``.
        conf: Sizes and dropout.
    """

    def __init__(self, dim: int, conf: SupervisionConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(conf.dropout)
        self.linear = nn.Linear(dim, conf.languages)

    def forward(self, mixed: torch.Tensor, lang: torch.Tensor) -> HeadLoss:
        """Loss of pooled vectors ``(B, D)`` with languages ``(B,)``."""
        with torch.autocast(mixed.device.type, enabled=False):
            logits = self.linear(self.dropout(mixed.float()))
            loss = F.cross_entropy(logits, lang, reduction="sum")
        count = loss.new_tensor(float(len(lang)))
        wrong = (logits.detach().argmax(-1) != lang).sum().to(loss)
        return HeadLoss(loss, count, wrong, count)


class PhonemeHead(nn.Module):
    """Linear layer and CTC over the shared phoneme list (Eq. 13, reading R20).

    Args:
        dim: Model dimension ``D``.
        conf: Sizes and dropout.
    """

    def __init__(self, dim: int, conf: SupervisionConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(conf.dropout)
        self.linear = nn.Linear(dim, conf.tokens)

    def forward(
        self,
        frames: torch.Tensor,
        lengths: torch.Tensor,
        phn: torch.Tensor,
        phn_lengths: torch.Tensor,
    ) -> HeadLoss:
        """CTC of the labelled utterances, summed.

        Utterances without labels are taken out before the head (trap T9), so they
        cost nothing and cannot give a NaN; a batch of such utterances alone gives a 0
        that is connected to the head, as every rank of a distributed run needs.

        Args:
            frames: ``(B, T, D)``; padding may hold anything finite.
            lengths: ``(B,)`` valid frames.
            phn: ``(B, L)`` ids from 1 on; padding may hold anything.
            phn_lengths: ``(B,)``.
        """
        labelled = phn_lengths > 0
        frames, lengths = frames[labelled], lengths[labelled]
        phn, phn_lengths = phn[labelled], phn_lengths[labelled]
        with torch.autocast(frames.device.type, enabled=False):
            logits = self.linear(self.dropout(frames.float()))
            if not len(phn):
                none = logits.new_zeros(())
                return HeadLoss(logits.sum(), none, none, none)
            valid = torch.arange(phn.size(1), device=phn.device) < phn_lengths[:, None]
            loss = F.ctc_loss(
                logits.transpose(0, 1).log_softmax(-1),  # (T, B, V)
                phn[valid],
                lengths,
                phn_lengths,
                blank=BLANK_ID,
                reduction="sum",
                zero_infinity=True,
            )
        found = greedy_tokens(logits.detach().argmax(-1), lengths)
        rows = zip(phn.cpu(), phn_lengths.tolist(), strict=True)
        wrong = token_errors(found, [row[:count].tolist() for row, count in rows])
        return HeadLoss(
            loss,
            loss.new_tensor(float(len(phn))),
            loss.new_tensor(float(wrong)),
            phn_lengths.sum().to(loss),
        )
