"""``model_conf`` of wav2vec 2.0 and UniSpeech pretraining (``objective: wav2vec2``).

Defaults are fairseq's base recipe of wav2vec 2.0 (METHODS 4 and 7.3).
"""

from dataclasses import dataclass, field
from typing import Literal

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.health_rule import HealthConfig
from espnet2_dq.ssl.supervision import SupervisionConfig


@dataclass(frozen=True)
class GumbelConfig:
    """The product quantizer.

    Attributes:
        groups: Codebooks ``G``.
        codes: Codewords in each ``V``.
        dim: Size of a quantised frame, over all groups.
        temperature_start: Gumbel temperature at update 0.
        temperature_end: It never falls below this.
        temperature_decay: Factor per update.
    """

    groups: int = 2
    codes: int = 320
    dim: int = 256
    temperature_start: float = 2.0
    temperature_end: float = 0.5
    temperature_decay: float = 0.999995

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        where = "model_conf.quantizer"
        if self.groups < 1 or self.dim % self.groups:
            raise ConfigError(
                f"{where}.groups: {self.groups}; has to divide {self.dim}"
            )
        if self.codes < 2:
            raise ConfigError(f"{where}.codes: {self.codes}; at least 2")
        if not 0.0 < self.temperature_end <= self.temperature_start:
            raise ConfigError(
                f"{where}.temperature_end: {self.temperature_end}; above 0 and at most"
                f" temperature_start ({self.temperature_start})"
            )
        if not 0.0 < self.temperature_decay <= 1.0:
            raise ConfigError(
                f"{where}.temperature_decay: {self.temperature_decay}; in (0, 1]"
            )


@dataclass(frozen=True)
class Wav2Vec2Config:
    """``model_conf`` of wav2vec 2.0 pretraining.

    Attributes:
        quantizer: The Gumbel quantizer.
        final_dim: Dimension in which predictions and codewords are compared.
        transpose: UniSpeech's ``--transpose``: compare in the encoder's dimension.
            ``final_proj`` then lifts the projected codewords from ``final_dim``, and
            the encoder's output is the prediction as it is.
        supervision: UniSpeech: ``phoneme: mixed`` adds CTC on the encoder's output
            mixed with codewords. ``weight`` is a of (1 - a) * wav2vec 2.0 + a * CTC.
        temperature: kappa, the divisor of the cosine.
        negatives: Sampled negatives per masked frame; 0 takes all others.
        diversity_weight: Of the diversity loss.
        feature_penalty: Weight of the mean square of the convolutions' output.
        feature_grad_mult: Factor on the gradient into the convolutions; 0 freezes them.
        dropout_input: On the projected features, before the encoder.
        dropout_features: On the features before the quantizer.
        health: The rule that stops a collapsed run.
        gauge_interval: Updates between measurements of the gauges.
        frontend_lr_scale: Factor on the learning rate of frontend and projection.
        autocast: ``bfloat16`` runs frontend and encoder in mixed precision on any
            device; quantizer, norms and losses stay fp32 (trap T25).
    """

    quantizer: GumbelConfig = field(default_factory=GumbelConfig)
    final_dim: int = 256
    transpose: bool = False
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    temperature: float = 0.1
    negatives: int = 100
    diversity_weight: float = 0.1
    feature_penalty: float = 10.0
    feature_grad_mult: float = 0.1
    dropout_input: float = 0.1
    dropout_features: float = 0.1
    health: HealthConfig = field(default_factory=HealthConfig)
    gauge_interval: int = 20
    frontend_lr_scale: float = 1.0
    autocast: Literal["none", "bfloat16"] = "none"

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        for name, lowest in (("final_dim", 1), ("negatives", 0), ("gauge_interval", 1)):
            if getattr(self, name) < lowest:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; at least {lowest}"
                )
        for name in ("diversity_weight", "feature_penalty", "feature_grad_mult"):
            if getattr(self, name) < 0.0:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; 0 or more"
                )
        for name in ("dropout_input", "dropout_features"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; in [0, 1)"
                )
        if self.temperature <= 0.0:
            raise ConfigError(f"model_conf.temperature: {self.temperature}; above 0")
        _check_supervision(self.supervision, self.transpose)


def _check_supervision(conf: SupervisionConfig, transpose: bool) -> None:
    """Of what ``SupervisionConfig`` can describe, this objective has one kind."""
    where = "model_conf.supervision"
    if conf.language:
        raise ConfigError(
            f"{where}.language: true; wav2vec 2.0 has no language quantizer to mix"
            " with, set it to false"
        )
    if conf.phoneme == "output" or conf.layer:
        raise ConfigError(
            f"{where}: phoneme {conf.phoneme}, layer {conf.layer}; objective wav2vec2"
            " only has 'mixed' (UniSpeech) on the encoder's output, layer 0; with"
            " replace_prob 0 nothing is mixed in"
        )
    if conf.active and not 0.0 <= conf.weight <= 1.0:
        raise ConfigError(f"{where}.weight: {conf.weight}; 0 to 1, the share of CTC")
    if conf.active and not transpose:
        raise ConfigError(
            "model_conf.transpose: false; UniSpeech puts codewords in the place of the"
            " encoder's output, so they need its dimension: set it to true"
        )
