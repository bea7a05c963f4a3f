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
