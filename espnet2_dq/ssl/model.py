"""DQ-Data2vec: student, teacher, and up to two decoupling branches (Eq. 10).

Both branches switched off, this is data2vec.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import DataError
from espnet2_dq.ssl.branch import BranchLoss, LanguageBranch, PhonemeBranch
from espnet2_dq.ssl.config import SSLConfig, check_layers
from espnet2_dq.ssl.gauges import HealthMonitor, Observed
from espnet2_dq.ssl.losses import regression_loss
from espnet2_dq.ssl.predictor import Predictor
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


class DQSSLModel(AbsESPnetModel):
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
        super().__init__()
        check_layers(conf, len(encoder.blocks))
        dim = encoder.output_size()
        self.conf = conf
        self.updates_total = updates_total
        self.frontend = frontend
        self.frame_grid = frontend.frame_grid
        self.preencoder = preencoder
        self.encoder = encoder
        self.teacher = EMATeacher(encoder, conf.teacher)
        self.predictor = nn.Linear(dim, dim)
        self.dropout_input = nn.Dropout(conf.dropout_input)
        self.language: LanguageBranch | None = None
        if conf.language.enable:
            predictor = make_predictor(conf.language.predictor_layers)
            self.language = LanguageBranch(dim, conf.language, predictor)
        self.phoneme: PhonemeBranch | None = None
        if conf.phoneme.enable:
            predictor = make_predictor(conf.phoneme.predictor_layers)
            self.phoneme = PhonemeBranch(dim, conf.phoneme, predictor)
        self.health = HealthMonitor(
            conf.health,
            conf.gauge_interval,
            {n: (b.conf.groups, b.conf.clusters) for n, b in self._branches().items()},
            updates_total,
        )
        # Float, not int: ESPnet's n-best averaging sums integer buffers.
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.float64))

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
        totals: torch.Tensor | None = None,
        loss_scale: torch.Tensor | None = None,
        **streams: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Loss of one batch.

        Args:
            speech: Samples ``(B, S)`` at 16 kHz, padded with 0.
            speech_lengths: Valid samples ``(B,)``.
            span_mask: ``(B, T)`` bool, True = masked.
            totals: Masked frames, valid frames and utterances of the whole update,
                over micro-batches and ranks ``(3,)``; ``None`` is this batch alone.
            loss_scale: Undoes the trainer's weighting of micro-batches and ranks.
            streams: Other streams of the data set, not used here.

        Returns:
            Loss, statistics (the same keys at every call), weight (utterances).
        """
        passes = self.encode_both(speech, speech_lengths, span_mask)
        local = self._counts(passes)
        totals = local if totals is None else totals.to(local)
        with self._autocast(speech):
            loss, stats = self._losses(passes, totals, local)
        if loss_scale is not None:
            loss = loss * loss_scale.to(loss)
        # ESPnet's averaging over ranks wants tensors of shape (1,).
        weight = torch.tensor(float(len(speech)), device=loss.device)
        gathered = force_gatherable((loss, stats, weight), loss.device)
        return cast("tuple[Tensor, dict[str, Tensor], Tensor]", gathered)

    def encode_both(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
    ) -> Passes:
        """Run student and teacher.

        Raises:
            DataError: The mask's width is not the number of frames.
        """
        with self._autocast(speech):
            features, lengths = self.project(speech, speech_lengths)
            if span_mask.shape != features.shape[:2]:
                raise DataError(
                    f"span_mask has shape {tuple(span_mask.shape)}, features have"
                    f" {tuple(features.shape[:2])}; both must follow frame_grid"
                )
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

    def _losses(
        self, passes: Passes, totals: torch.Tensor, local: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Eq. 10: each term a sum over its items divided by the update's count."""
        masked_total, valid_total, utterance_total = totals.clamp_min(1.0)
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
        loss = loss * (1.0 - sum(b.conf.weight for b in self._branches().values()))
        codes: dict[str, torch.Tensor] = {}
        if self.language is not None:
            terms = self.language(passes.teacher, passes.student)
            loss = loss + self._weighted(self.language, terms, utterance_total, totals)
            stats |= self._branch_stats("language", terms, local[2])
            codes["language"] = terms.codes
        if self.phoneme is not None:
            seed = int(self.num_updates)
            terms = self.phoneme(passes.teacher, passes.student, passes.span_mask, seed)
            loss = loss + self._weighted(self.phoneme, terms, masked_total, totals)
            stats |= self._branch_stats("phoneme", terms, local[0])
            codes["phoneme"] = terms.codes
        stats |= self._gauges(passes, target, prediction, codes)
        share = (local / totals.clamp_min(1.0))[2]
        return loss, {"loss": loss.detach() / share, **stats}

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

    @staticmethod
    def _counts(passes: Passes) -> torch.Tensor:
        """Masked frames, valid frames, utterances of this batch ``(3,)``."""
        masked = passes.span_mask.sum()
        valid = (~passes.student.pad_mask).sum()
        return torch.stack(
            [masked, valid, valid.new_tensor(len(passes.features))]
        ).float()

    def _branches(self) -> dict[str, LanguageBranch | PhonemeBranch]:
        pairs = {"language": self.language, "phoneme": self.phoneme}
        return {name: b for name, b in pairs.items() if b is not None}

    def _autocast(self, like: torch.Tensor) -> contextlib.AbstractContextManager[Any]:
        if self.conf.autocast == "none":
            return contextlib.nullcontext()
        return torch.autocast(like.device.type, dtype=torch.bfloat16)

    def on_update(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """After each optimizer update: count it, move the teacher, revive codes."""
        self.num_updates += 1
        update = int(self.num_updates)
        self.teacher.step(self.encoder, update)
        for branch in self._branches().values():
            branch.on_update(update, optimizer)

    def lr_scales(self) -> dict[str, float]:
        """Factors on the learning rate by prefix of the parameters' names."""
        scale = self.conf.frontend_lr_scale
        scales = {"frontend.": scale, "preencoder.": scale}
        for name, branch in self._branches().items():
            revival = branch.conf.revival
            for part in ("projection", "norm_"):
                scales[f"{name}.quantizer.{part}"] = revival.projection_lr_scale
            scales[f"{name}.quantizer.codebook"] = revival.codebook_lr_scale
        return scales

    @torch.no_grad()
    def extract_codes(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> Codes:
        """Codes that the teacher's quantizers give to unmasked speech."""
        features, lengths = self.project(speech, speech_lengths)
        teacher = self.teacher(features, lengths)
        language = self.language.quantize(teacher).codes if self.language else None
        phoneme = self.phoneme.quantize(teacher).codes if self.phoneme else None
        return Codes(language, phoneme, lengths)

    @torch.no_grad()
    def layer_features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, teacher: bool = False
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Projected features and every layer's output ``(B, T, D)``, and lengths."""
        with self._autocast(speech):
            features, lengths = self.project(speech, speech_lengths)
            encoder = self.teacher.encoder if teacher else self.encoder
            output = encoder.extract(features, lengths)
        return [features.float(), *(layer.float() for layer in output.layers)], lengths

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Not needed: lengths come from ``utt2num_samples``; ESPnet asks for it."""
        return {}
