"""ESPnet's trainer, extended: exact accumulation, progress, probes, safe files."""

import logging
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from espnet2_dq.errors import CheckpointError
from espnet2_dq.espnet_compat import Trainer, TrainerOptions, atomic_checkpoints
from espnet2_dq.tasks.explosion import ExplosionRule
from espnet2_dq.tasks.progress import ProgressLog


@dataclass
class DQTrainerOptions(TrainerOptions):
    """Adds what ``tasks.base`` declares as arguments."""

    num_iters_per_epoch: int | None
    progress_interval: int
    min_free_gb: float
    must_resume: bool


class UpdateStream:
    """Hands batches to the trainer, one update's worth at a time.

    ESPnet divides every micro-batch's loss by ``accum_grad`` and, over ranks,
    weights it with the model's ``weight``. A mean over the items of the whole
    update (masked frames, utterances) needs the counts of all of its micro-batches
    on all ranks first: they go into each batch as ``totals``, together with the
    factor ``loss_scale`` that undoes ESPnet's own weighting.

    Args:
        batches: The loader of this epoch.
        accum_grad: Micro-batches in an update.
        distributed: Whether to sum counts over ranks.
        after_update: Called after the trainer took each update.
    """

    def __init__(
        self, batches: Any, accum_grad: int, distributed: bool, after_update: Any
    ) -> None:
        self.batches = batches
        self.accum_grad = accum_grad
        self.distributed = distributed
        self.after_update = after_update

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[list[str], dict[str, Any]]]:
        source = iter(self.batches)
        while group := list(islice(source, self.accum_grad)):
            if len(group) < self.accum_grad:
                # A leftover's gradient would leak into the next epoch's update.
                return
            local = torch.stack([batch["counts"] for _, batch in group])
            summed = self._all_reduce(local.clone())
            for step, (utt_ids, batch) in enumerate(group):
                batch.pop("counts")
                batch["totals"] = summed.sum(0)
                batch["loss_scale"] = self.accum_grad * summed[step, 2] / local[step, 2]
                yield utt_ids, batch
            self.after_update(group)

    def _all_reduce(self, counts: torch.Tensor) -> torch.Tensor:
        if not self.distributed:
            return counts
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        summed = counts.to(device)
        torch.distributed.all_reduce(summed)
        return summed.cpu()


class DQTrainer(Trainer):
    """Trainer of both tasks.

    ``on_update`` hooks of the model run in the optimizer's post-step hook (see
    ``tasks.base``); what needs the reporter or the files runs here, between updates.
    """

    probe: Any = None  # analysis.probe.FrameProbe, set by the SSL task

    @classmethod
    def build_options(cls, args: Any) -> DQTrainerOptions:
        """Options from the parsed arguments."""
        from espnet2.utils.build_dataclass import build_dataclass

        return build_dataclass(DQTrainerOptions, args)

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Nothing of its own: the task declares the arguments."""

    @classmethod
    def run(cls, *, trainer_options: DQTrainerOptions, **kwargs: Any) -> None:
        """Check disk and resume point, then train with atomic checkpoints."""
        output_dir = Path(trainer_options.output_dir)
        checkpoint = output_dir / "checkpoint.pth"
        if trainer_options.resume and checkpoint.exists():
            logging.info("resume: from %s", checkpoint)
        elif trainer_options.must_resume:
            raise CheckpointError(
                f"{checkpoint}: not found, and --must_resume true was given; check"
                " --output_dir, or drop the option to start from update 0"
            )
        else:
            logging.info("resume: nothing to resume in %s, starting at 0", output_dir)
        _check_disk(output_dir, trainer_options.min_free_gb)
        with atomic_checkpoints():
            super().run(trainer_options=trainer_options, **kwargs)

    @classmethod
    def train_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Any,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        scaler: Any,
        reporter: Any,
        summary_writer: Any,
        options: DQTrainerOptions,
        distributed_option: Any,
    ) -> bool:
        """One epoch over an :class:`UpdateStream`, with progress after each update."""
        inner: Any = model.module if hasattr(model, "module") else model
        progress = ProgressLog(
            inner, reporter, summary_writer, options, rank=distributed_option.dist_rank
        )
        probe, explosion = cls.probe, ExplosionRule()

        def after_update(group: list[tuple[list[str], dict[str, Any]]]) -> None:
            progress.after_update(group)
            explosion.check(int(inner.num_updates), reporter.stats)
            if probe is not None:
                probe.after_update(inner, summary_writer)

        stream = UpdateStream(
            iterator, options.accum_grad, distributed_option.distributed, after_update
        )
        if probe is not None:
            probe.after_update(inner, summary_writer)  # update 0, once
        return super().train_one_epoch(
            model=model,
            iterator=stream,
            optimizers=optimizers,
            schedulers=schedulers,
            scaler=scaler,
            reporter=reporter,
            summary_writer=summary_writer,
            options=options,
            distributed_option=distributed_option,
        )

    @classmethod
    def validate_one_epoch(cls, *, iterator: Any, **kwargs: Any) -> None:
        """Validation; the model computes its own totals there."""
        super().validate_one_epoch(iterator=_without_counts(iterator), **kwargs)


def _without_counts(iterator: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for utt_ids, batch in iterator:
        batch.pop("counts")
        yield utt_ids, batch


def _check_disk(output_dir: Path, min_free_gb: float) -> None:
    free_gb = shutil.disk_usage(output_dir).free / 2**30
    if free_gb < min_free_gb:
        raise CheckpointError(
            f"{output_dir}: {free_gb:.1f} GiB free, {min_free_gb:.1f} needed for"
            " checkpoints; free some space or lower --min_free_gb"
        )
