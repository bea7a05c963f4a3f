"""Configuration of the pretraining model: every reading that changes numbers.

Defaults are the paper's values, and METHODS.md's where the paper is silent.
"""

from dataclasses import dataclass, field
from typing import Literal

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.additional import AdditionalConfig
from espnet2_dq.ssl.health_rule import HealthConfig
from espnet2_dq.ssl.revival import RevivalConfig
from espnet2_dq.ssl.supervision import SupervisionConfig
from espnet2_dq.ssl.teacher import TeacherConfig


@dataclass(frozen=True)
class RegressionConfig:
    """Regression of the teacher's layer average (Eqs. 1 and 2).

    Attributes:
        top_k: Teacher layers averaged, from the top.
        beta: Of smooth L1; 0 is the squared error.
        scale: Factor on the sum over dimensions; ``None`` is 1/sqrt(D).
        tap: ``ffn`` regresses FFN results (fairseq), ``block`` block outputs.
        unmasked_weight: Weight of the same loss on frames that are not masked; 0 in
            the paper (HuBERT calls its share ``1 - alpha``).
    """

    top_k: int = 8
    beta: float = 0.0
    scale: float | None = None
    tap: Literal["ffn", "block"] = "ffn"
    unmasked_weight: float = 0.0


@dataclass(frozen=True)
class BranchConfig:
    """One decoupling branch: tap, normalise, quantise, predict (METHODS 2).

    Attributes:
        enable: Off removes the branch and its weight from Eq. 10 (reading R8).
        weight: gamma_1 or gamma_2 of Eq. 10.
        layers: Teacher layers that are averaged, 1-based (R2).
        student_layer: Layer whose output predicts, 1-based.
        clusters: Codes per group; 0 follows the data: the values of ``target``.
        target: What an utterance-level branch is to tell apart, as a table of the data
            directory: ``utt2lang``, ``utt2spk``, or one of your own. It only counts
            the clusters and names what analysis compares with; no label is used.
        groups: Groups of the product quantizer.
        norm: ``l2`` or ``ins``; which one fits which branch is an ablation (S3, S4).
        additional: Block in front of the quantizer; deep decoupling (Fig. 1 b).
        quantizer: ``kmeans``, or ``gumbel`` in the phoneme branch (S1).
        gumbel_temperature: Start, end, and factor per update.
        diversity_weight: Of the loss that keeps Gumbel's codes in use.
        tap: ``ffn`` or ``block`` (R1).
        post_norm: Norm behind the quantizer's convolution (R4).
        norm_over_time: Whether that norm's statistics run over time as well.
        km_reduction: ``mean`` or ``sum`` over dimensions (R6).
        km_frames: ``all`` valid frames or only ``masked`` ones (R18).
        gamma: Commitment factor of Eq. 6.
        temperature: kappa of Eq. 8.
        negatives: Sampled negatives per frame; 0 takes all others (R15).
        mask_equal_codes: Drop negatives with the positive's code (R17).
        gather: Take the language's negatives from all ranks (R16).
        predictor_layers: Transformer layers of the predictor (R13).
        revival: What keeps a quantizer alive; off in the paper.
    """

    enable: bool = True
    weight: float = 0.1
    layers: tuple[int, ...] = (4, 5, 6)
    student_layer: int = 6
    clusters: int = 9
    target: str = "utt2lang"
    groups: int = 2
    norm: Literal["l2", "ins"] = "l2"
    additional: AdditionalConfig = field(default_factory=AdditionalConfig)
    quantizer: Literal["kmeans", "gumbel"] = "kmeans"
    gumbel_temperature: tuple[float, ...] = (2.0, 0.5, 0.999995)
    diversity_weight: float = 0.1
    tap: Literal["ffn", "block"] = "ffn"
    post_norm: Literal["groupnorm", "none"] = "groupnorm"
    norm_over_time: bool = True
    km_reduction: Literal["mean", "sum"] = "mean"
    km_frames: Literal["all", "masked"] = "all"
    gamma: float = 0.25
    temperature: float = 0.1
    negatives: int = 100
    mask_equal_codes: bool = True
    gather: bool = False
    predictor_layers: int = 2
    revival: RevivalConfig = field(default_factory=RevivalConfig)


def _phoneme_branch() -> BranchConfig:
    return BranchConfig(
        weight=0.2, layers=(7, 8, 9), student_layer=9, clusters=174, norm="ins"
    )


@dataclass(frozen=True)
class SSLConfig:
    """``model_conf`` of the pretraining task.

    Attributes:
        regression: The data2vec loss.
        teacher: EMA.
        language: Language branch; ``enable: false`` in both is plain data2vec.
        phoneme: Phoneme branch.
        supervision: Labels, for deep decoupling and UniData2vec.
        health: The rule that stops a collapsed run.
        gauge_interval: Updates between measurements of the gauges.
        frontend_lr_scale: Factor on the learning rate of frontend and projection. The
            teacher sees features that the student's loss shapes: below 1 they can
            less easily turn into what is merely easy to predict.
        dropout_input: On the projected features, student only.
        autocast: ``bfloat16`` runs both encoders in mixed precision on any device;
            norms, distances and losses stay fp32 (trap T25).
    """

    regression: RegressionConfig = field(default_factory=RegressionConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    language: BranchConfig = field(default_factory=BranchConfig)
    phoneme: BranchConfig = field(default_factory=_phoneme_branch)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    gauge_interval: int = 20
    frontend_lr_scale: float = 1.0
    dropout_input: float = 0.0
    autocast: Literal["none", "bfloat16"] = "none"


def check_layers(conf: SSLConfig, num_layers: int) -> None:
    """Refuse layers that the encoder does not have.

    Raises:
        ConfigError: Naming the key, the value and the range.
    """
    if not 1 <= conf.regression.top_k <= num_layers:
        raise ConfigError(
            f"model_conf.regression.top_k: {conf.regression.top_k}; the encoder has"
            f" {num_layers} layers"
        )
    for name in ("language", "phoneme"):
        branch: BranchConfig = getattr(conf, name)
        for layer in (*branch.layers, branch.student_layer):
            if branch.enable and not 1 <= layer <= num_layers:
                raise ConfigError(
                    f"model_conf.{name}: layer {layer}; the encoder's layers are"
                    f" 1 to {num_layers}"
                )


def check_branches(conf: SSLConfig) -> None:
    """Refuse settings of the branches that contradict each other.

    Raises:
        ConfigError: Naming the key, the value and what to set instead.
    """
    language, phoneme, supervision = conf.language, conf.phoneme, conf.supervision
    if language.enable and language.quantizer != "kmeans":
        raise ConfigError(
            f"model_conf.language.quantizer: {language.quantizer}; only kmeans"
        )
    if language.enable and language.additional.position == "post_norm":
        raise ConfigError(
            "model_conf.language.additional.position: post_norm; behind the pooling"
            " there is no time axis left, choose pre_norm"
        )
    if phoneme.enable and phoneme.quantizer == "gumbel":
        if phoneme.revival.active:
            raise ConfigError(
                "model_conf.phoneme.revival: revives k-means codebooks; with quantizer:"
                " gumbel set init: random, reseed_interval: 0, centre_momentum: 0"
            )
        if len(phoneme.gumbel_temperature) != 3:
            raise ConfigError(
                f"model_conf.phoneme.gumbel_temperature: {phoneme.gumbel_temperature};"
                " three numbers: start, end, factor per update"
            )
    if supervision.language and not language.enable:
        raise ConfigError(
            "model_conf.supervision.language: true needs model_conf.language.enable"
        )
    if supervision.phoneme == "mixed" and not phoneme.enable:
        raise ConfigError(
            "model_conf.supervision.phoneme: mixed needs model_conf.phoneme.enable;"
            " without the branch choose output (UniData2vec)"
        )
