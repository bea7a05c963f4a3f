"""What both tasks share: arguments, data, optimizer hook, learning-rate groups."""

import functools
import logging
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import torch
from espnet2.utils.types import float_or_none, str2bool

from espnet2_dq.config import (
    from_mapping,
    scientific_numbers,
    unknown_key_message,
)
from espnet2_dq.data.batches import BalancedPlan, Draw, sequential_batches
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.build import build_frontend
from espnet2_dq.errors import ConfigError
from espnet2_dq.espnet_compat import AbsTask, IteratorOptions, optim_classes
from espnet2_dq.registry import register_audio_type
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig
from espnet2_dq.tasks.iterator import PlannedIterFactory
from espnet2_dq.tasks.labels import LabelSet
from espnet2_dq.tasks.trainer import DQTrainer

SAMPLE_RATE_HZ = 16000


class DQTask(AbsTask):
    """Base of the pretraining and the fine-tuning task.

    The model that ``build_model`` returns has ``frame_grid`` (samples to frames),
    ``num_updates`` (a float buffer), ``updates_total`` (int), ``lr_scales()`` and
    ``on_update(optimizer)``,
    which the optimizer calls after every real step (never for a skipped one).
    """

    num_optimizers = 1
    trainer = DQTrainer
    class_choices_list: list[Any] = []

    @classmethod
    def get_parser(cls) -> Any:
        """ESPnet's parser with our arguments and defaults.

        Unknown keys of a YAML file are refused by :func:`check_config_keys`.
        """
        parser = super().get_parser()
        parser.set_defaults(
            iterator_type="task",
            valid_iterator_type="task",
            num_att_plot=0,
            use_matplotlib=False,
            log_interval=1_000_000_000,
            num_workers=1,
            patience=None,
            resume=True,
            dist_backend="gloo",
        )
        return parser

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Arguments of both tasks; each task adds its own."""
        group = parser.add_argument_group("Batches")
        group.add_argument(
            "--batch_seconds",
            type=float,
            default=150.0,
            help="padded audio in a batch over all ranks [s]; an update is"
            " accum_grad batches",
        )
        group.add_argument(
            "--valid_batch_seconds", type=float_or_none, default=None, help="[s]"
        )
        group.add_argument(
            "--crop_seconds",
            type=float_or_none,
            default=None,
            help="longest stretch of an utterance to train on [s]; null keeps all",
        )
        group.add_argument(
            "--length_multiple_s",
            type=float,
            default=0.0,
            help="pad every batch to a multiple of this [s]; batches of equal shape are"
            " faster, since kernels are compiled once for each (oneDNN); 0 is off",
        )
        group.add_argument(
            "--language_power",
            type=float,
            default=0.5,
            help="share of a language ~ hours^power: 0.5 the paper's balance,"
            " 1 as the corpus is, 0 uniform",
        )
        group.add_argument("--utt2lang", default=None, help="language of utterances")
        group = parser.add_argument_group("Run")
        group.add_argument(
            "--progress_interval", type=int, default=50, help="updates between lines"
        )
        group.add_argument(
            "--min_free_gb", type=float, default=1.0, help="refuse to start below"
        )
        group.add_argument(
            "--must_resume",
            type=str2bool,
            default=False,
            help="fail when there is no checkpoint to resume from",
        )
        group.add_argument(
            "--num_threads", type=int, default=0, help="CPU threads; 0 leaves torch's"
        )

    @classmethod
    def build_preprocess_fn(
        cls, args: Namespace, train: bool
    ) -> Callable[..., Any] | None:
        """Nothing to do: text was turned into ids by the units stage."""
        return None

    @classmethod
    def build_collate_fn(cls, args: Namespace, train: bool) -> Collate:
        """Collate with this task's crop and masks."""
        grid = cls.frame_grid(args)
        crop = args.crop_seconds
        return Collate(
            num_frames=grid.num_frames,
            seed=args.seed,
            time_mask=cls.mask_config(args, "time_mask", train),
            channel_mask=cls.mask_config(args, "channel_mask", train),
            channels=args.encoder_conf.get("output_size", 0),
            crop_samples=None if crop is None else int(crop * SAMPLE_RATE_HZ),
            length_multiple=max(1, int(args.length_multiple_s * SAMPLE_RATE_HZ)),
            labels=cls.labels(args, train),
        )

    @classmethod
    def labels(cls, args: Namespace, train: bool) -> LabelSet | None:
        """Labels that are no stream of the data set; overridden where there are."""
        return None

    @classmethod
    def mask_config(cls, args: Namespace, name: str, train: bool) -> Any:
        """Mask configuration ``name`` or ``None``; overridden where it depends."""
        values = getattr(args, name, None)
        if values is None:
            return None
        return from_mapping(SpanMaskConfig, values, name)

    @classmethod
    def frame_grid(cls, args: Namespace) -> Any:
        """The frontend's grid, without building the model."""
        return build_frontend(vars(args)).frame_grid

    @classmethod
    def build_iter_options(
        cls, args: Namespace, distributed_option: Any, mode: str
    ) -> IteratorOptions:
        """ESPnet's options; remembers the ranks for the iterator factory."""
        args.dq_rank = distributed_option.dist_rank or 0
        args.dq_world_size = (
            distributed_option.dist_world_size if distributed_option.distributed else 1
        )
        return super().build_iter_options(args, distributed_option, mode)

    @classmethod
    def build_task_iter_factory(
        cls, args: Namespace, iter_options: IteratorOptions, mode: str
    ) -> PlannedIterFactory:
        """Balanced batches for training, every utterance once for validation."""
        train = mode == "train"
        files = args.train_shape_file if train else args.valid_shape_file
        lengths = {u: int(n) for u, n in read_table(Path(files[0])).items()}
        crop = args.crop_seconds
        if crop is not None:
            most = int(crop * SAMPLE_RATE_HZ)
            labels = cls.labels(args, train)
            whole: Container[str] = labels.phn if labels else ()
            lengths = {u: n if u in whole else min(n, most) for u, n in lengths.items()}
        seconds = args.batch_seconds
        if not train and args.valid_batch_seconds is not None:
            seconds = args.valid_batch_seconds
        batch_samples = int(seconds * SAMPLE_RATE_HZ)
        plan: Callable[[int], list[list[Draw]]]
        if train:
            plan = cls._training_plan(args, lengths, batch_samples).epoch
        else:
            fixed = sequential_batches(lengths, batch_samples, args.dq_world_size)
            plan = functools.partial(_same_for_all, fixed)
        return PlannedIterFactory(
            cls.build_dataset(args, iter_options),
            plan,
            iter_options.collate_fn,
            rank=args.dq_rank,
            world_size=args.dq_world_size,
            num_workers=args.num_workers,
            fixed_epoch=None if train else 0,
        )

    @classmethod
    def _training_plan(
        cls, args: Namespace, lengths: dict[str, int], batch_samples: int
    ) -> BalancedPlan:
        languages = (
            read_table(Path(args.utt2lang))
            if args.utt2lang
            else dict.fromkeys(lengths, "all")
        )
        plan = BalancedPlan(
            lengths,
            languages,
            batch_samples=batch_samples,
            num_batches=args.num_iters_per_epoch,
            power=args.language_power,
            seed=args.seed,
            min_utterances=args.dq_world_size,
        )
        audio_h = batch_samples * args.accum_grad / SAMPLE_RATE_HZ / 3600
        logging.info("padded audio in an update: %.4f h", audio_h)
        for lang, share in sorted(plan.shares.items()):
            hours = plan.samples[lang] / SAMPLE_RATE_HZ / 3600
            logging.info(
                "language %s: %.2f h, share of training %.3f", lang, hours, share
            )
        return plan

    @classmethod
    def updates_total(cls, args: Namespace) -> int:
        """Optimizer updates of the whole run.

        Raises:
            ConfigError: ``num_iters_per_epoch`` is missing or not a multiple of
                ``accum_grad``.
        """
        if not args.num_iters_per_epoch or args.num_iters_per_epoch % args.accum_grad:
            raise ConfigError(
                f"num_iters_per_epoch: {args.num_iters_per_epoch}; give the batches"
                f" between checkpoints, a multiple of accum_grad ({args.accum_grad})"
            )
        return int(args.max_epoch * args.num_iters_per_epoch // args.accum_grad)

    @classmethod
    def main_worker(cls, args: Namespace) -> None:
        """Train, then leave the process group together.

        ESPnet leaves it open; at interpreter exit gloo's threads are then ended at
        random, and now and then a rank that has finished aborts (signal 6).
        """
        super().main_worker(args)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    @classmethod
    def build_optimizers(
        cls, args: Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """One optimizer over the model's groups, calling ``on_update`` after steps.

        The hook fires once per real ``optimizer.step()``: with accumulation, and
        when ESPnet skips an update for a non-finite gradient, the teacher and the
        counters stay in step with the weights (trap T1).
        """
        if args.scheduler == "tristagelr":
            args.scheduler_conf.setdefault("max_steps", cls.updates_total(args))
        optim_class = optim_classes[args.optim]
        groups = cls.parameter_groups(args, model)
        optimizer = optim_class(groups, **args.optim_conf)
        on_update: Callable[..., None] = model.on_update  # type: ignore[assignment]
        optimizer.register_step_post_hook(lambda opt, *_: on_update(opt))
        return [optimizer]

    @classmethod
    def parameter_groups(cls, args: Namespace, model: torch.nn.Module) -> list[Any]:
        """Parameter groups with a learning rate each, from ``model.lr_scales()``.

        ``lr_scales`` maps a prefix of parameter names to a factor on ``lr``.
        """
        scales: dict[str, float] = model.lr_scales()  # type: ignore[operator]
        grouped: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                found = [s for prefix, s in scales.items() if name.startswith(prefix)]
                grouped.setdefault(found[0] if found else 1.0, []).append(parameter)
        lr = float(args.optim_conf.get("lr", 1e-3))
        # The rest of the model first: ESPnet logs the first group as "lr".
        order = sorted(grouped.items(), key=lambda item: (item[0] != 1.0, item[0]))
        return [{"params": p, "lr": lr * s} for s, p in order]


def _same_for_all(batches: list[list[Draw]], _epoch: int) -> list[list[Draw]]:
    return batches


def check_config_keys(
    parser: ArgumentParser, config: dict[str, Any], name: str
) -> None:
    """Refuse a YAML key that no argument has, naming the nearest one.

    Raises:
        ConfigError: Unknown key.
    """
    known = {action.dest for action in parser._actions}
    for key in config:
        if key not in known:
            raise ConfigError(unknown_key_message(key, known, name))


def prepare_process(args: Namespace) -> None:
    """Register our data type, mend numbers, set the number of threads."""
    register_audio_type()
    args.optim_conf = scientific_numbers(args.optim_conf)
    args.scheduler_conf = scientific_numbers(args.scheduler_conf)
    # As many shapes as a speech corpus has do not fit into oneDNN's 1024 kernels; it
    # reads this at its first use.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
