"""wav2vec 2.0 pretraining: masked frames have to find their own quantised features."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.gauges import HealthMonitor, Observed
from espnet2_dq.ssl.gumbel_quantizer import (
    GumbelOutput,
    GumbelQuantizer,
    gumbel_temperature,
)
from espnet2_dq.ssl.model import Codes
from espnet2_dq.ssl.pretraining import PretrainingModel, check_mask_width
from espnet2_dq.ssl.supervision import Labels
from espnet2_dq.ssl.unispeech import UniSpeech
from espnet2_dq.ssl.wav2vec2_config import Wav2Vec2Config
from espnet2_dq.ssl.wav2vec2_loss import (
    Wav2Vec2Terms,
    diversity_loss,
    feature_penalty,
    masked_contrastive,
    scale_gradient,
    scatter_rows,
)


@dataclass(frozen=True)
class Wav2Vec2Passes:
    """One batch up to the losses.

    Attributes:
        convolved: ``(B, T, C)`` output of the convolutions before their last norm, or
            ``None`` where the frontend has no such thing.
        features: ``(B, T, C)`` the frontend's output, which is quantised.
        projected: ``(B, T, D)`` what the encoder gets, before dropout and mask.
        encoded: Encoder on masked features.
        span_mask: ``(B, T)``, True = masked valid frame.
    """

    convolved: torch.Tensor | None
    features: torch.Tensor
    projected: torch.Tensor
    encoded: EncoderOutput
    span_mask: torch.Tensor

    @property
    def pad_mask(self) -> torch.Tensor:
        """``(B, T)``, True = padding."""
        return self.encoded.pad_mask


class Wav2Vec2SSLModel(PretrainingModel[Wav2Vec2Passes]):
    """wav2vec 2.0, and with ``supervision`` UniSpeech.

    Args:
        frontend: Samples ``(B, S)`` to features ``(B, T, C)``.
        preencoder: Projection to ``(B, T, D)``, or ``None``.
        encoder: The context network.
        conf: Losses, quantizer, health.
        updates_total: Updates of the whole run, for rules given as shares of it.

    Raises:
        ConfigError: A feature penalty for a frontend without convolutions.
    """

    conf: Wav2Vec2Config

    def __init__(
        self,
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: DQTransformerEncoder,
        conf: Wav2Vec2Config,
        updates_total: int = 1,
    ) -> None:
        super().__init__(frontend, preencoder, encoder, conf, updates_total)
        self.convolutional = hasattr(frontend, "convolve")
        if conf.feature_penalty and not self.convolutional:
            raise ConfigError(
                f"model_conf.feature_penalty: {conf.feature_penalty}; this frontend has"
                " no convolutions to keep small, set it to 0"
            )
        size: int = frontend.output_size()  # type: ignore[operator]
        self.quantizer = GumbelQuantizer(size, conf.quantizer)
        self.project_q = nn.Linear(conf.quantizer.dim, conf.final_dim)
        dim = encoder.output_size()
        ends = (conf.final_dim, dim) if conf.transpose else (dim, conf.final_dim)
        self.final_proj = nn.Linear(*ends)
        self.supervised: UniSpeech | None = None
        if conf.supervision.active:
            self.supervised = UniSpeech(dim, conf.supervision)
        self.dropout_features = nn.Dropout(conf.dropout_features)
        if self.convolutional and conf.feature_grad_mult == 0.0:
            frontend.layers.requires_grad_(False)  # type: ignore[operator, union-attr]
        sizes = (conf.quantizer.groups, conf.quantizer.codes)
        self.health = HealthMonitor(
            conf.health, conf.gauge_interval, {"gumbel": sizes}, updates_total
        )

    def encode_masked(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
    ) -> Wav2Vec2Passes:
        """Frontend, projection and encoder on masked frames.

        Raises:
            DataError: The mask's width is not the number of frames.
        """
        with self.autocast(speech):
            convolved, features, lengths = self._features(speech, speech_lengths)
            check_mask_width(span_mask, features)
            projected = self._project(features, lengths)
            encoded = self.encoder.extract(
                self.dropout_input(projected), lengths, span_mask=span_mask
            )
        span_mask = span_mask & ~encoded.pad_mask
        return Wav2Vec2Passes(convolved, features, projected, encoded, span_mask)

    def project(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frontend and projection: ``(B, S)`` to ``(B, T, D)`` and lengths."""
        _, features, lengths = self._features(speech, speech_lengths)
        return self._project(features, lengths), lengths

    def _features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """Convolutions' output (or ``None``), features ``(B, T, C)``, lengths."""
        if not self.convolutional:
            features, lengths = self.frontend(speech, speech_lengths)
            return None, features, lengths
        frontend = cast("Any", self.frontend)
        convolved, lengths = frontend.convolve(speech, speech_lengths)
        # before the penalty, as in fairseq: its gradient is scaled as well
        convolved = scale_gradient(convolved, self.conf.feature_grad_mult)
        features, lengths = frontend.finish(convolved, lengths)
        return convolved, features, lengths

    def _project(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.preencoder is None:
            return features
        projected: torch.Tensor = self.preencoder(features, lengths)[0]
        return projected

    def losses(
        self,
        passes: Wav2Vec2Passes,
        totals: torch.Tensor,
        local: torch.Tensor,
        labels: Labels | None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Three terms of wav2vec 2.0, and CTC where there is supervision."""
        terms, log = self._terms(passes)
        loss = terms.total(self.conf, totals, local)
        stats = {**terms.stats(local), **log}
        if self.supervised is not None and labels is not None:
            ctc = self.supervised(
                passes.encoded, labels, lambda mask: self._codewords(passes, mask)
            )
            loss = self.supervised.combine(loss, ctc, totals)
            stats |= ctc.stats("loss_ctc", "ter_ctc")
        return loss, stats

    def quantize(self, passes: Wav2Vec2Passes) -> GumbelOutput:
        """Quantise the unmasked features of the masked frames."""
        rows = self.dropout_features(passes.features[passes.span_mask])
        return self.quantizer(rows, self.temperature)  # type: ignore[no-any-return]

    def project_codes(self, quantized: torch.Tensor) -> torch.Tensor:
        """Codewords ``(N, dim)`` to the space of the loss: ``(N, final_dim or D)``."""
        projected: torch.Tensor = self.project_q(quantized)
        return self.final_proj(projected) if self.conf.transpose else projected

    def _codewords(self, passes: Wav2Vec2Passes, mask: torch.Tensor) -> torch.Tensor:
        """Codewords of any frames, drawn anew, for UniSpeech's mixture.

        Those of :meth:`quantize` are not used again: as in UniSpeech's code, and the
        unsupervised part then is the same with and without supervision.
        """
        quantized = self.quantizer(
            self.dropout_features(passes.features[mask]),
            self.temperature,
            codebook_gradient=self.conf.supervision.codebook_gradient,
        ).quantized
        return self.project_codes(quantized)

    def _terms(
        self, passes: Wav2Vec2Passes
    ) -> tuple[Wav2Vec2Terms, dict[str, torch.Tensor]]:
        """Losses, and what the log shows of quantizer and collapse."""
        quantized = self.quantize(passes)
        target = self.project_codes(quantized.quantized)
        prediction = passes.encoded.output[passes.span_mask]
        if not self.conf.transpose:
            prediction = self.final_proj(prediction)
        contrastive = masked_contrastive(
            prediction.float(),
            target.float(),
            quantized.joint,
            passes.span_mask,
            self.conf,
            seed=int(self.num_updates),
        )
        diversity = diversity_loss(quantized.mean_probs)
        penalty = diversity.new_zeros(())
        if passes.convolved is not None:
            penalty = feature_penalty(passes.convolved, passes.pad_mask)
        gauges = self._gauges(passes, target, prediction, quantized.codes)
        temperature = diversity.new_tensor(self.temperature)
        unused = diversity.detach() * quantized.mean_probs.numel()
        perplexity = quantized.mean_probs.numel() - unused
        log = {"prob_perplexity": perplexity, "temperature": temperature, **gauges}
        return Wav2Vec2Terms(contrastive, diversity, penalty), log

    def _gauges(
        self,
        passes: Wav2Vec2Passes,
        target: torch.Tensor,
        prediction: torch.Tensor,
        codes: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Gauges of collapse; target and prediction by direction, as the loss does.

        Their rows get the length sqrt(D), so that a spread of 1 is the most and the
        bounds that hold for data2vec's normalised targets have a meaning here.
        """
        rows = {
            "frontend": passes.projected[passes.span_mask],
            "encoder": passes.encoded.output[passes.span_mask],
            "target": _directions(target),
            "prediction": _directions(prediction),
        }
        observed = Observed(rows, {"gumbel": codes}, passes.encoded.lengths)
        gauges: dict[str, torch.Tensor] = self.health(observed, int(self.num_updates))
        return gauges

    @property
    def temperature(self) -> float:
        """Gumbel temperature of the next update."""
        return gumbel_temperature(int(self.num_updates), self.conf.quantizer)

    @torch.no_grad()
    def extract_codes(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> Codes:
        """Codes of unmasked speech, in the place of phoneme codes."""
        _, features, lengths = self._features(speech, speech_lengths)
        steps = torch.arange(features.size(1), device=features.device)
        valid = steps < lengths.to(features.device)[:, None]
        codes = self.quantizer(features[valid], self.temperature).codes
        # 0 elsewhere after scattering: one more makes room for -1
        return Codes(None, scatter_rows(codes + 1, valid) - 1, lengths)

    @torch.no_grad()
    def layer_features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, teacher: bool = False
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Projected features and every layer's output ``(B, T, D)``, and lengths.

        Raises:
            ConfigError: The teacher is asked for.
        """
        if teacher:
            raise ConfigError(
                "probe_conf.networks: wav2vec2 has no teacher; use [student]"
            )
        with self.autocast(speech):
            features, lengths = self.project(speech, speech_lengths)
            output = self.encoder.extract(features, lengths)
        return [features.float(), *(layer.float() for layer in output.layers)], lengths


def _directions(rows: torch.Tensor) -> torch.Tensor:
    """``(N, D)`` rows at length sqrt(D), without gradient."""
    rows = rows.detach().float()
    return F.normalize(rows, dim=-1) * rows.shape[-1] ** 0.5
