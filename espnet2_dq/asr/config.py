"""Configuration of the fine-tuning model (``model_conf`` of the CTC task)."""

from dataclasses import dataclass
from typing import Literal

from espnet2_dq.errors import ConfigError


@dataclass(frozen=True)
class CTCModelConfig:
    """Defaults are what fairseq's ``base_1h.yaml`` does, except the freezing time.

    Attributes:
        subsample: Frames averaged into one before the head; 2 gives 25 Hz, with which
            CTC leaves the all-blank plateau sooner.
        final_dropout: Dropout on the head's input.
        freeze_updates: Updates in which only the head trains; the backbone then runs
            without gradient, dropout and masks still on, as in fairseq.
        freeze_frontend: Never train the convolutions of the waveform frontend
            (``feature_grad_mult: 0``, reading R26); nothing to freeze in log-mel.
        head_lr_scale: Learning rate of the head relative to the encoder's.
        autocast: ``bfloat16`` runs the backbone in mixed precision on any device; head
            and loss stay fp32.
    """

    subsample: int = 1
    final_dropout: float = 0.0
    freeze_updates: int = 0
    freeze_frontend: bool = True
    head_lr_scale: float = 1.0
    autocast: Literal["none", "bfloat16"] = "none"

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        for name, lowest in (("subsample", 1), ("freeze_updates", 0)):
            if getattr(self, name) < lowest:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; at least {lowest}"
                )
        if not 0.0 <= self.final_dropout < 1.0:
            raise ConfigError(
                f"model_conf.final_dropout: {self.final_dropout}; a value in [0, 1)"
            )
        if self.head_lr_scale <= 0.0:
            raise ConfigError(
                f"model_conf.head_lr_scale: {self.head_lr_scale}; above 0"
            )


Head = Literal["grapheme", "syllable"]
HEADS: tuple[Head, ...] = ("grapheme", "syllable")


@dataclass(frozen=True)
class AdditionalDropouts:
    """Dropout rates in the additional layers; defaults as K-wav2vec fine-tunes.

    Attributes:
        residual: After attention and after the feed-forward part.
        attention: On the attention weights.
        activation: After GELU.
    """

    residual: float = 0.0
    attention: float = 0.0
    activation: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        for name in ("residual", "attention", "activation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(
                    f"model_conf.additional_dropouts.{name}: {getattr(self, name)};"
                    " a value in [0, 1)"
                )


@dataclass(frozen=True)
class HierarchicalConfig(CTCModelConfig):
    """``model_conf`` of the hierarchical task (METHODS 7.1, 7.2).

    Attributes:
        heads: Which heads exist. One alone gives K-wav2vec's single-task variants:
            syllables with ``additional_layers`` 0 (``wav2vec_ctc``) or 2
            (``wav2vec_ctc3``).
        additional_layers: Transformer layers before the syllable head.
        additional_dropouts: Dropout in them.
        loss: ``weighted``: lambda * syllable + (1 - lambda) * grapheme (the paper);
            ``sum``: syllable + grapheme (the paper's code). One head: its own loss.
        syllable_weight: lambda.
        syllable_delay_updates: Updates in which the syllable term is left out, and
            its head and layers rest (``multi_use_update``).
        additional_lr_scale: Learning rate of the additional layers relative to the
            encoder's.
    """

    heads: tuple[Head, ...] = HEADS
    additional_layers: int = 2
    additional_dropouts: AdditionalDropouts = AdditionalDropouts()
    loss: Literal["weighted", "sum"] = "weighted"
    syllable_weight: float = 0.5
    syllable_delay_updates: int = 0
    additional_lr_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        super().__post_init__()
        if not self.heads or self.heads != tuple(h for h in HEADS if h in self.heads):
            raise ConfigError(
                f"model_conf.heads: {list(self.heads)}; give [grapheme], [syllable] or"
                " [grapheme, syllable]"
            )
        for name in ("additional_layers", "syllable_delay_updates"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; 0 or more"
                )
        if not 0.0 <= self.syllable_weight <= 1.0:
            raise ConfigError(
                f"model_conf.syllable_weight: {self.syllable_weight}; a value in [0, 1]"
            )
        if self.additional_lr_scale <= 0.0:
            raise ConfigError(
                f"model_conf.additional_lr_scale: {self.additional_lr_scale}; above 0"
            )
        if self.syllable_delay_updates and self.heads != HEADS:
            raise ConfigError(
                f"model_conf.syllable_delay_updates: {self.syllable_delay_updates} with"
                f" heads {list(self.heads)}; nothing would train meanwhile: give 0"
            )
