"""DQ-Data2vec: student, teacher, up to two decoupling branches (Eqs. 10 and 14).

Both branches switched off, this is data2vec; with ``supervision.phoneme: output`` as
well, UniData2vec.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.ssl.branch import (
    BranchLoss,
    LanguageBranch,
    PhonemeBranch,
    branch_parts,
)
from espnet2_dq.ssl.config import SSLConfig, check_branches, check_layers
from espnet2_dq.ssl.gauges import HealthMonitor, Observed
from espnet2_dq.ssl.losses import regression_loss
from espnet2_dq.ssl.predictor import Predictor
from espnet2_dq.ssl.pretraining import PretrainingModel, check_mask_width
from espnet2_dq.ssl.supervised import SupervisedLosses
from espnet2_dq.ssl.supervision import Labels
from espnet2_dq.ssl.targets import data2vec_target
from espnet2_dq.ssl.teacher import EMATeacher


@dataclass(frozen=True)
class Codes:
    """Codes of both quantizers; ``None`` where a branch is off.

    Attributes:
        language: ``(B, G)`` int64.
        phoneme: ``(B, T, G)`` int64, -1 on padding.
        lengths: Valid frames ``(B,)``.
    """

    language: torch.Tensor | None
    phoneme: torch.Tensor | None
    lengths: torch.Tensor


@dataclass(frozen=True)
class Passes:
    """Both encoders' view of one batch.

    Attributes:
        features: Projected features ``(B, T, D)``, unmasked.
        student: Student on masked features.
        teacher: Teacher on unmasked features, no gradient.
        span_mask: ``(B, T)``, True = masked valid frame.
    """

    features: torch.Tensor
    student: EncoderOutput
    teacher: EncoderOutput
    span_mask: torch.Tensor

    @property
    def pad_mask(self) -> torch.Tensor:
        """``(B, T)`` bool, True = padding."""
        return self.student.pad_mask


class DQSSLModel(PretrainingModel[Passes]):
    """The pretraining model.

    Args:
        frontend: Samples ``(B, S)`` to features ``(B, T, C)``.
        preencoder: Projection to ``(B, T, D)``, or ``None``.
        encoder: The student.
        conf: Losses, branches, teacher, health.
        make_predictor: Builds a branch's predictor of so many layers.
        updates_total: Updates of the whole run, for rules given as shares of it.
    """

    def __init__(
        self,
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: DQTransformerEncoder,
        conf: SSLConfig,
        make_predictor: Callable[[int], Predictor],
        updates_total: int = 1,
    ) -> None:
        super().__init__(frontend, preencoder, encoder, conf, updates_total)
        check_layers(conf, len(encoder.blocks))
        check_branches(conf)
        dim = encoder.output_size()
        self.teacher = EMATeacher(encoder, conf.teacher)
        self.predictor = nn.Linear(dim, dim)
        self.language: LanguageBranch | None = None
        codebook = conf.supervision.codebook_gradient
        if conf.language.enable:
            parts = branch_parts(dim, conf.language, make_predictor)
            self.language = LanguageBranch(dim, conf.language, *parts, codebook)
        self.phoneme: PhonemeBranch | None = None
        if conf.phoneme.enable:
            parts = branch_parts(dim, conf.phoneme, make_predictor)
            self.phoneme = PhonemeBranch(dim, conf.phoneme, *parts, codebook)
        self.supervised: SupervisedLosses | None = None
        if conf.supervision.active:
            layers = conf.language.student_layer, conf.phoneme.student_layer
            self.supervised = SupervisedLosses(dim, conf.supervision, *layers)
        self.health = HealthMonitor(
            conf.health,
            conf.gauge_interval,
            {n: (b.conf.groups, b.conf.clusters) for n, b in self._branches().items()},
            updates_total,
        )

    def encode_masked(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
    ) -> Passes:
        """Run student and teacher.

        Raises:
            DataError: The mask's width is not the number of frames.
        """
        with self.autocast(speech):
            features, lengths = self.project(speech, speech_lengths)
            check_mask_width(span_mask, features)
            student = self.encoder.extract(
                self.dropout_input(features), lengths, span_mask=span_mask
            )
            teacher = self.teacher(features, lengths)
        return Passes(features, student, teacher, span_mask & ~student.pad_mask)

    def project(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frontend and projection: ``(B, S)`` to ``(B, T, D)`` and lengths."""
        features, lengths = self.frontend(speech, speech_lengths)
        if self.preencoder is not None:
            features, lengths = self.preencoder(features, lengths)
        return features, lengths

    def losses(
        self,
        passes: Passes,
        totals: torch.Tensor,
        local: torch.Tensor,
        labels: Labels | None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Eqs. 10 and 14: each term a sum over its items divided by the update's."""
        loss, stats, sides = self._regression(passes, totals, local)
        loss = loss * (1.0 - sum(b.conf.weight for b in self._branches().values()))
        masked_total, _, utterance_total = totals.clamp_min(1.0)
        terms: dict[str, BranchLoss] = {}
        if self.language is not None:
            term = self.language(passes.teacher, passes.student)
            loss = loss + self._weighted(self.language, term, utterance_total, totals)
            stats |= self._branch_stats("language", term, local[2])
            terms["language"] = term
        if self.phoneme is not None:
            seed = int(self.num_updates)
            term = self.phoneme(passes.teacher, passes.student, passes.span_mask, seed)
            loss = loss + self._weighted(self.phoneme, term, masked_total, totals)
            share = local[0] / masked_total
            weight = self.phoneme.conf.weight * self.phoneme.conf.diversity_weight
            loss = loss + weight * term.diversity * share
            stats |= self._branch_stats("phoneme", term, local[0])
            terms["phoneme"] = term
        if self.supervised is not None and labels is not None:
            codes = {name: term.quantized for name, term in terms.items()}
            extra, more = self.supervised(passes.student, codes, labels, totals)
            loss, stats = loss + extra, stats | more
        found = {name: term.codes for name, term in terms.items()}
        return loss, stats | self._gauges(passes, *sides, found)

    def _regression(
        self, passes: Passes, totals: torch.Tensor, local: torch.Tensor
    ) -> tuple[
        torch.Tensor, dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
    ]:
        """data2vec's loss, its statistics, and target and prediction for the gauges."""
        masked_total, valid_total, _ = totals.clamp_min(1.0)
        conf = self.conf.regression
        source = passes.teacher.ffn if conf.tap == "ffn" else passes.teacher.layers
        targets = data2vec_target(source, passes.teacher.pad_mask, conf.top_k)
        regression, target, prediction = self._regress(passes, targets)
        stats = {"loss_regression": regression.detach() / local[0].clamp_min(1.0)}
        loss = regression / masked_total
        if conf.unmasked_weight > 0.0:
            unmasked, *_ = self._regress(passes, targets, masked=False)
            count = (valid_total - masked_total).clamp_min(1.0)
            loss = loss + conf.unmasked_weight * unmasked / count
            own = (local[1] - local[0]).clamp_min(1.0)
            stats["loss_regression_unmasked"] = unmasked.detach() / own
        return loss, stats, (target, prediction)

    def _regress(
        self, passes: Passes, targets: torch.Tensor, *, masked: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Eq. 2 summed over the masked, or the other, valid frames; and its two sides.

        Args:
            passes: Of student and teacher.
            targets: Eq. 1, ``(B, T, D)``.
            masked: Which frames.
        """
        frames = passes.span_mask
        if not masked:
            frames = ~(frames | passes.student.pad_mask)
        target, prediction = (
            targets[frames],
            self.predictor(passes.student.output[frames]),
        )
        conf = self.conf.regression
        error = regression_loss(prediction, target, conf.beta, conf.scale)
        return error.sum(), target, prediction.float()

    def _gauges(
        self,
        passes: Passes,
        target: torch.Tensor,
        prediction: torch.Tensor,
        codes: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        rows = {
            "frontend": passes.features[passes.span_mask],
            "encoder": passes.student.output[passes.span_mask],
            "target": target,
            "prediction": prediction,
        }
        observed = Observed(rows, codes, passes.student.lengths)
        gauges: dict[str, torch.Tensor] = self.health(observed, int(self.num_updates))
        return gauges

    @staticmethod
    def _weighted(
        branch: LanguageBranch | PhonemeBranch,
        terms: BranchLoss,
        items: torch.Tensor,
        totals: torch.Tensor,
    ) -> torch.Tensor:
        """The branch's weight times (L_ctr + L_km), Eqs. 9 and 10."""
        km_items = items
        if isinstance(branch, PhonemeBranch) and branch.conf.km_frames == "all":
            km_items = totals[1].clamp_min(1.0)
        return branch.conf.weight * (
            terms.contrastive / items + terms.kmeans / km_items
        )

    @staticmethod
    def _branch_stats(
        name: str, terms: BranchLoss, items: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {
            f"loss_{name}": terms.contrastive.detach() / items.clamp_min(1.0),
            f"loss_{name}_kmeans": terms.kmeans.detach() / terms.km_items.clamp_min(1),
            f"acc_{name}": terms.accuracy,
        }

    def _branches(self) -> dict[str, LanguageBranch | PhonemeBranch]:
        pairs = {"language": self.language, "phoneme": self.phoneme}
        return {name: b for name, b in pairs.items() if b is not None}

    def on_update(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """After each optimizer update: count it, move the teacher, revive codes."""
        super().on_update(optimizer)
        update = int(self.num_updates)
        self.teacher.step(self.encoder, update)
        for branch in self._branches().values():
            branch.on_update(update, optimizer)
        if self.supervised is not None:
            self.supervised.on_update()

    def lr_scales(self) -> dict[str, float]:
        """Factors on the learning rate by prefix of the parameters' names."""
        scales = super().lr_scales()
        for name, branch in self._branches().items():
            revival = branch.conf.revival
            for part in ("projection", "norm_"):
                scales[f"{name}.quantizer.{part}"] = revival.projection_lr_scale
            scales[f"{name}.quantizer.codebook"] = revival.codebook_lr_scale
            scales[f"{name}.additional."] = branch.conf.additional.lr_scale
        return scales

    @torch.no_grad()
    def extract_codes(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> Codes:
        """Codes that the teacher's quantizers give to unmasked speech."""
        features, lengths = self.project(speech, speech_lengths)
        teacher = self.teacher(features, lengths)
        language = self.language.quantize(teacher).codes if self.language else None
        phoneme = self.phoneme.quantize(teacher)[0].codes if self.phoneme else None
        return Codes(language, phoneme, lengths)

    @torch.no_grad()
    def layer_features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, teacher: bool = False
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Projected features and every layer's output ``(B, T, D)``, and lengths."""
        with self.autocast(speech):
            features, lengths = self.project(speech, speech_lengths)
            encoder = self.teacher.encoder if teacher else self.encoder
            output = encoder.extract(features, lengths)
        return [features.float(), *(layer.float() for layer in output.layers)], lengths
