"""The task that trains the TransCoder: ESPnet's trainer and samplers over text."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from torch.nn.utils.rnn import pad_sequence

from espnet2_dq.asr.tokens import read_tokens
from espnet2_dq.asr.transcoder import Transcoder, build_transcoder, full_model_conf
from espnet2_dq.config import scientific_numbers
from espnet2_dq.errors import ConfigError
from espnet2_dq.espnet_compat import AbsTask
from espnet2_dq.tasks.trainer import DQTrainer


class TextTrainer(DQTrainer):
    """Our trainer's checks and safe files; batches go to ESPnet's loop as they are.

    The accumulation of :class:`DQTrainer` counts audio, and there is none.
    """

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        """ESPnet's own epoch."""
        return bool(super(DQTrainer, cls).train_one_epoch(*args, **kwargs))

    @classmethod
    def validate_one_epoch(cls, **kwargs: Any) -> None:
        """ESPnet's own validation."""
        super(DQTrainer, cls).validate_one_epoch(**kwargs)


@dataclass(frozen=True)
class PadTokens:
    """Make a batch of sentences; ESPnet's own collate takes 9 s to import."""

    def __call__(
        self, items: Sequence[tuple[str, dict[str, np.ndarray]]]
    ) -> tuple[list[str], dict[str, torch.Tensor]]:
        """``(id, {stream: ids})`` of each sentence to a batch.

        Returns:
            The ids, and for every stream ``x (B, L)`` int64 padded with -1, and
            ``x_lengths (B,)``.
        """
        batch: dict[str, torch.Tensor] = {}
        for name in items[0][1]:
            rows = [torch.from_numpy(s[name].astype(np.int64)) for _, s in items]
            batch[name] = pad_sequence(rows, batch_first=True, padding_value=-1)
            batch[f"{name}_lengths"] = torch.tensor([len(row) for row in rows])
        return [key for key, _ in items], batch


class TranscoderTask(AbsTask):
    """Train on pairs of phonemes (``src_text``) and characters (``text``).

    ESPnet's own MTTask takes 13 to 18 s to import, for text tokenizers that are not
    needed: the pairs are ids already. Batches, shuffling and accumulation are ESPnet's.
    """

    num_optimizers = 1
    trainer = TextTrainer
    class_choices_list: list[Any] = []

    @classmethod
    def get_parser(cls) -> Any:
        """ESPnet's parser; the best epoch is that of the fewest wrong characters."""
        parser = super().get_parser()
        parser.set_defaults(
            iterator_type="sequence",
            batch_type="folded",
            num_att_plot=0,
            use_matplotlib=False,
            log_interval=100,
            num_workers=0,
            patience=None,
            resume=True,
            best_model_criterion=[("valid", "ter", "min")],
            keep_nbest_models=[1],
        )
        return parser

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Token lists, model, and what our trainer asks for."""
        group = parser.add_argument_group("Model")
        for name, what in (
            ("src_token_list", "phonemes"),
            ("token_list", "characters"),
        ):
            group.add_argument(f"--{name}", default=None, help=f"{what}, one a line")
        group.add_argument("--model_conf", action=NestedDictAction, default={})
        group = parser.add_argument_group("Run")
        group.add_argument("--min_free_gb", type=float, default=1.0)
        group.add_argument("--must_resume", type=str2bool, default=False)
        group.add_argument(
            "--num_threads", type=int, default=0, help="CPU threads; 0 leaves torch's"
        )
        # TextTrainer logs every log_interval; DQTrainer's options have this too.
        parser.set_defaults(progress_interval=0)

    @classmethod
    def build_collate_fn(cls, args: Namespace, train: bool) -> PadTokens:
        """Padding; noise is the model's, which draws it from the trainer's seed."""
        return PadTokens()

    @classmethod
    def build_preprocess_fn(
        cls, args: Namespace, train: bool
    ) -> Callable[..., Any] | None:
        """Nothing to do: texts are ids already."""
        return None

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Phonemes, and characters to train on."""
        return ("src_text",) if inference else ("src_text", "text")

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def build_model(cls, args: Namespace) -> Transcoder:
        """Build the model; ``config.yaml`` gets the tokens and all of its values."""
        for name in ("src_token_list", "token_list"):
            value = getattr(args, name)
            if not value:
                raise ConfigError(f"{name}: missing; give the path of a token list")
            if isinstance(value, str):
                setattr(args, name, read_tokens(value))
        args.model_conf = full_model_conf(scientific_numbers(args.model_conf))
        return build_transcoder(vars(args))

    @classmethod
    def updates_total(cls, args: Namespace) -> int:
        """Optimizer updates of the whole run.

        Raises:
            ConfigError: ``num_iters_per_epoch`` is missing: "an epoch" of all text
                would make length and schedule of the run depend on its amount.
        """
        if not args.num_iters_per_epoch or args.num_iters_per_epoch % args.accum_grad:
            raise ConfigError(
                f"num_iters_per_epoch: {args.num_iters_per_epoch}; give the batches"
                f" between checkpoints, a multiple of accum_grad ({args.accum_grad})"
            )
        return int(args.max_epoch * args.num_iters_per_epoch // args.accum_grad)

    @classmethod
    def build_optimizers(
        cls, args: Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's; a tri-stage schedule learns here how long the run is."""
        total = cls.updates_total(args)
        if args.scheduler == "tristagelr":
            args.scheduler_conf.setdefault("max_steps", total)
        optimizers: list[torch.optim.Optimizer] = super().build_optimizers(args, model)
        return optimizers
