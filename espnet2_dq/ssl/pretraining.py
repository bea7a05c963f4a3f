"""What the pretraining objectives share: the way from a batch to ESPnet's trainer."""

import contextlib
from abc import abstractmethod
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import nn

from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import DataError
from espnet2_dq.ssl.supervision import Labels

Triple = tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]


class MaskedPasses(Protocol):
    """What a model keeps of one batch, as far as this file needs it."""

    @property
    def span_mask(self) -> torch.Tensor:
        """``(B, T)`` bool, True = masked valid frame."""

    @property
    def pad_mask(self) -> torch.Tensor:
        """``(B, T)`` bool, True = padding."""


PassesT = TypeVar("PassesT", bound=MaskedPasses)


class PretrainingModel(AbsESPnetModel, Generic[PassesT]):
    """Base of the pretraining models; a subclass adds ``encode_masked`` and ``losses``.

    Args:
        frontend: Samples ``(B, S)`` to features ``(B, T, C)``.
        preencoder: Projection to ``(B, T, D)``, or ``None``.
        encoder: The student.
        conf: ``model_conf``; ``supervision``, ``autocast``, ``dropout_input`` and
            ``frontend_lr_scale`` are used here.
        updates_total: Updates of the whole run, for rules given as shares of it.
    """

    num_updates: torch.Tensor

    def __init__(
        self,
        frontend: nn.Module,
        preencoder: nn.Module | None,
        encoder: DQTransformerEncoder,
        conf: Any,
        updates_total: int,
    ) -> None:
        super().__init__()
        self.conf = conf
        self.updates_total = updates_total
        self.frontend = frontend
        self.frame_grid = frontend.frame_grid
        self.preencoder = preencoder
        self.encoder = encoder
        self.dropout_input = nn.Dropout(conf.dropout_input)
        # Float, not int: ESPnet's n-best averaging sums integer buffers.
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.float64))

    @abstractmethod
    def encode_masked(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
    ) -> PassesT:
        """Run the networks on a batch; arguments as in :meth:`forward`."""

    @abstractmethod
    def losses(
        self,
        passes: PassesT,
        totals: torch.Tensor,
        local: torch.Tensor,
        labels: Labels | None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """This batch's part of the update's loss, and what the log shows.

        Args:
            passes: Of :meth:`encode_masked`.
            totals: Masked frames, valid frames and utterances of the update ``(3,)``:
                what sums are divided by, so that accumulation changes nothing.
            local: The same of this batch.
            labels: Where ``model_conf.supervision`` is active.
        """

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        span_mask: torch.Tensor,
        totals: torch.Tensor | None = None,
        loss_scale: torch.Tensor | None = None,
        **streams: Any,
    ) -> Triple:
        """Loss of one batch.

        Args:
            speech: Samples ``(B, S)`` at 16 kHz, padded with 0.
            speech_lengths: Valid samples ``(B,)``.
            span_mask: ``(B, T)`` bool, True = masked.
            totals: Masked frames, valid frames and utterances of the whole update,
                over micro-batches and ranks ``(3,)``; ``None`` is this batch alone.
            loss_scale: Undoes the trainer's weighting of micro-batches and ranks.
            streams: Labels (``supervision.Labels``), where they are used.

        Returns:
            Loss, statistics (the same keys at every call), weight (utterances).

        Raises:
            DataError: The mask's width is not the number of frames, or a supervised
                model gets no labels.
        """
        passes = self.encode_masked(speech, speech_lengths, span_mask)
        local = count_items(passes)
        totals = local if totals is None else totals.to(local)
        active = self.conf.supervision.active
        labels = Labels.of_batch(streams) if active else None
        with self.autocast(speech):
            loss, stats = self.losses(passes, totals, local, labels)
        share = (local / totals.clamp_min(1.0))[2]
        stats = {"loss": loss.detach() / share, **stats}
        if loss_scale is not None:
            loss = loss * loss_scale.to(loss)
        # ESPnet's averaging over ranks wants tensors of shape (1,).
        weight = torch.tensor(float(len(speech)), device=loss.device)
        return cast("Triple", force_gatherable((loss, stats, weight), loss.device))

    def autocast(self, like: torch.Tensor) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision on the device of ``like``, where ``model_conf`` says so."""
        if self.conf.autocast == "none":
            return contextlib.nullcontext()
        return torch.autocast(like.device.type, dtype=torch.bfloat16)

    def on_update(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """After each optimizer update: count it."""
        self.num_updates += 1

    def lr_scales(self) -> dict[str, float]:
        """Factors on the learning rate by prefix of the parameters' names."""
        scale = self.conf.frontend_lr_scale
        head = self.conf.supervision.head_lr_scale
        return {"frontend.": scale, "preencoder.": scale, "supervised.": head}

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Not needed: lengths come from ``utt2num_samples``; ESPnet asks for it."""
        return {}


def check_mask_width(span_mask: torch.Tensor, features: torch.Tensor) -> None:
    """The mask ``(B, T)`` was drawn for features ``(B, T, D)`` of just this T.

    Raises:
        DataError: Another width.
    """
    if span_mask.shape != features.shape[:2]:
        raise DataError(
            f"span_mask has shape {tuple(span_mask.shape)}, features have"
            f" {tuple(features.shape[:2])}; both must follow frame_grid"
        )


def count_items(passes: MaskedPasses) -> torch.Tensor:
    """Masked frames, valid frames, utterances of this batch ``(3,)``, float32."""
    masked = passes.span_mask.sum()
    valid = (~passes.pad_mask).sum()
    return torch.stack([masked, valid, valid.new_tensor(len(passes.span_mask))]).float()
