"""A decoupling branch: teacher layers -> codes, student layer -> contrastive loss.

Both of the paper's branches (Fig. 1 b) are here: :class:`LanguageBranch` pools an
utterance, :class:`PhonemeBranch` keeps the frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.ssl.additional import make_additional
from espnet2_dq.ssl.config import BranchConfig
from espnet2_dq.ssl.contrastive import (
    ContrastiveOutput,
    frame_contrastive,
    gather_others,
    utterance_contrastive,
)
from espnet2_dq.ssl.distributed import is_distributed
from espnet2_dq.ssl.frame_gumbel import FrameGumbel
from espnet2_dq.ssl.norms import masked_mean
from espnet2_dq.ssl.predictor import Predictor
from espnet2_dq.ssl.quantizer import OnlineKMeans, QuantizerOutput
from espnet2_dq.ssl.revival import Revival
from espnet2_dq.ssl.targets import (
    normalise_pooled,
    phoneme_features,
    pooled_features,
)
from espnet2_dq.ssl.wav2vec2_config import GumbelConfig


@dataclass(frozen=True)
class BranchLoss:
    """Sums over this batch, so that the caller can divide by the update's counts.

    Attributes:
        contrastive: Sum of Eq. 8 over ``items`` (masked frames or utterances).
        kmeans: Sum of Eq. 6 over ``km_items`` (frames or utterances).
        km_items: Number of items in ``kmeans``.
        accuracy: Share of items whose positive beats every negative, for the log.
        codes: Codes ``(B, [T,] G)``, -1 where there is no frame.
        quantized: Codewords ``(B, [T,] D)`` for the supervised losses.
        diversity: Scalar of this batch; 0 but for Gumbel (S1).
    """

    contrastive: torch.Tensor
    kmeans: torch.Tensor
    km_items: torch.Tensor
    accuracy: torch.Tensor
    codes: torch.Tensor
    quantized: torch.Tensor
    diversity: torch.Tensor


class DecouplingBranch(nn.Module):
    """What the two branches share: quantizer, predictor, revival.

    Args:
        dim: Model dimension D.
        conf: The branch.
        predictor: Student-side predictor, with layers as the encoder's (R13).
        additional: Block in front of the quantizer, or ``None``.
        codebook_gradient: Whether supervised losses reach the codewords (R11).
    """

    def __init__(
        self,
        dim: int,
        conf: BranchConfig,
        predictor: Predictor,
        additional: nn.Module | None = None,
        codebook_gradient: bool = False,
    ) -> None:
        super().__init__()
        self.conf = conf
        self.quantizer = make_quantizer(dim, conf)
        self.predictor = predictor
        self.additional = additional
        self.codebook_gradient = codebook_gradient
        self.revival = Revival(conf.revival, dim, conf.clusters, conf.groups)

    def tapped(self, teacher: EncoderOutput) -> Sequence[torch.Tensor]:
        """The teacher layers of this branch (readings R1 and R2)."""
        source = teacher.ffn if self.conf.tap == "ffn" else teacher.layers
        return [source[layer - 1] for layer in self.conf.layers]

    def on_update(self, update: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Keep the quantizer alive; called once per optimizer update."""
        if isinstance(self.quantizer, OnlineKMeans):
            self.revival.step(self.quantizer, update, optimizer)

    def _at(self, position: str) -> nn.Module | None:
        """The additional block, if it stands there (R21)."""
        return self.additional if self.conf.additional.position == position else None

    def _loss(
        self,
        scores: ContrastiveOutput,
        quantized: QuantizerOutput,
        km_select: torch.Tensor,
        diversity: torch.Tensor,
    ) -> BranchLoss:
        reached = quantized.quantized
        if self.codebook_gradient:
            reached = self.quantizer.reach_codebook(quantized)
        return BranchLoss(
            contrastive=scores.loss.sum(),
            kmeans=torch.where(km_select, quantized.kmeans_items, 0.0).sum(),
            km_items=km_select.sum(),
            accuracy=scores.accuracy,
            codes=quantized.codes,
            quantized=reached,
            diversity=diversity,
        )


class PhonemeBranch(DecouplingBranch):
    """Frame-level branch (Eqs. 4, 7, 8): masked frames against each other."""

    def quantize(
        self, teacher: EncoderOutput, update: int = 0
    ) -> tuple[QuantizerOutput, torch.Tensor]:
        """Codes of every valid frame, ``(B, T, G)``, and Gumbel's diversity loss.

        Args:
            teacher: Of the unmasked features.
            update: Optimizer updates done; only Gumbel's temperature asks.
        """
        valid = ~teacher.pad_mask
        features = phoneme_features(
            self.tapped(teacher),
            teacher.pad_mask,
            self.conf.norm,
            self._at("pre_norm"),
        )
        last = self._at("post_norm")
        if last is not None:
            features = last(features, teacher.pad_mask)
        if isinstance(self.quantizer, FrameGumbel):
            found: tuple[QuantizerOutput, torch.Tensor]
            found = self.quantizer(features, valid, update)
            return found
        quantized: QuantizerOutput = self.quantizer(features, valid)
        if self.training:
            self.revival.observe(features, quantized.codes, valid)
        return quantized, quantized.kmeans_loss.new_zeros(())

    def forward(
        self,
        teacher: EncoderOutput,
        student: EncoderOutput,
        span_mask: torch.Tensor,
        seed: int,
    ) -> BranchLoss:
        """Loss of the branch.

        Args:
            teacher: Of the unmasked features.
            student: Of the masked features.
            span_mask: ``(B, T)``, True = masked, False on padding.
            seed: Of the drawn negatives; the number of updates done.
        """
        quantized, diversity = self.quantize(teacher, seed)
        valid = ~teacher.pad_mask
        predicted = self.predictor(
            student.layers[self.conf.student_layer - 1], student.pad_mask
        )
        joint = quantized.joint
        if not self.conf.mask_equal_codes:
            joint = _all_different(joint)
        scores = frame_contrastive(
            predicted,
            quantized.quantized,
            joint,
            span_mask,
            n_negatives=self.conf.negatives or None,
            kappa=self.conf.temperature,
            seed=seed,
        )
        km_select = valid if self.conf.km_frames == "all" else span_mask
        return self._loss(scores, quantized, km_select, diversity)


class LanguageBranch(DecouplingBranch):
    """Utterance-level branch (Eqs. 3, 7, 8): utterances against each other."""

    def quantize(self, teacher: EncoderOutput) -> QuantizerOutput:
        """Codes of every utterance, ``(B, G)``."""
        pooled = pooled_features(
            self.tapped(teacher), teacher.pad_mask, self._at("pre_norm")
        )
        features = normalise_pooled(pooled, self.conf.norm, self.revival.centre)
        quantized: QuantizerOutput = self.quantizer(features)
        if self.training:
            self.revival.observe(features, quantized.codes, pooled=pooled)
        return quantized

    def forward(self, teacher: EncoderOutput, student: EncoderOutput) -> BranchLoss:
        """Loss of the branch; arguments as in :class:`PhonemeBranch`.

        Every valid frame is pooled, masked or not (reading R14).
        """
        quantized = self.quantize(teacher)
        predicted = masked_mean(
            self.predictor(
                student.layers[self.conf.student_layer - 1], student.pad_mask
            ),
            student.pad_mask,
        )
        joint = quantized.joint
        if not self.conf.mask_equal_codes:
            joint = _all_different(joint)
        others = None
        if self.conf.gather:
            others = gather_others(quantized.quantized, joint)
        scores = utterance_contrastive(
            predicted,
            quantized.quantized,
            joint,
            kappa=self.conf.temperature,
            others=others,
        )
        km_select = torch.ones_like(quantized.joint, dtype=torch.bool)
        nothing = quantized.kmeans_loss.new_zeros(())
        return self._loss(scores, quantized, km_select, nothing)


def branch_parts(
    dim: int, conf: BranchConfig, make_predictor: Callable[[int], Predictor]
) -> tuple[Predictor, nn.Module | None]:
    """Predictor and additional block of a branch, both of the encoder's sizes."""
    predictor = make_predictor(conf.predictor_layers)
    additional = make_additional(
        dim, conf.additional, lambda count: make_predictor(count).blocks
    )
    return predictor, additional


def make_quantizer(dim: int, conf: BranchConfig) -> OnlineKMeans | FrameGumbel:
    """The branch's quantizer for features of ``dim`` channels."""
    if conf.quantizer == "gumbel":
        start, end, decay = conf.gumbel_temperature
        sizes = GumbelConfig(conf.groups, conf.clusters, dim, start, end, decay)
        return FrameGumbel(dim, sizes)
    return OnlineKMeans(
        dim,
        conf.clusters,
        conf.groups,
        gamma=conf.gamma,
        post_norm=conf.post_norm,
        norm_over_time=conf.norm_over_time,
        reduction=conf.km_reduction,
    )


def _all_different(joint: torch.Tensor) -> torch.Tensor:
    """Numbers that no two items share, on any rank: nothing counts as equal."""
    first = torch.distributed.get_rank() if is_distributed() else 0
    own = torch.arange(joint.numel(), device=joint.device).view_as(joint)
    return own + (first << 32)
