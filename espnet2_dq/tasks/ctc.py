"""The fine-tuning task: arguments and building, nothing else."""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_dq.asr.build import build_ctc_model, token_list
from espnet2_dq.asr.finetuned import FineTunedModel
from espnet2_dq.asr.init import RANDOM, initialise, resolve_architecture
from espnet2_dq.asr.tokens import tokens_sha256
from espnet2_dq.data.batches import BalancedPlan
from espnet2_dq.errors import ConfigError
from espnet2_dq.tasks.base import SAMPLE_RATE_HZ, DQTask
from espnet2_dq.tasks.trainer import DQTrainer


class CTCTrainer(DQTrainer):
    """A trainer class of its own: fine-tuning has no frame-phone probe."""


class CTCTask(DQTask):
    """Fine-tune a pretrained encoder (or a random one) with CTC."""

    trainer = CTCTrainer

    @classmethod
    def get_parser(cls) -> Any:
        """Defaults of fine-tuning: the best model by validation token error rate."""
        parser = super().get_parser()
        parser.set_defaults(
            best_model_criterion=[("valid", "ter", "min")],
            keep_nbest_models=[1],
            language_power=1.0,
        )
        return parser

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Initialisation, architecture, head, masks."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Initialisation")
        group.add_argument(
            "--init",
            type=str_or_none,
            default=None,
            help="pretraining checkpoint or its directory, or 'random'",
        )
        group.add_argument(
            "--init_min_fraction",
            type=float,
            default=0.95,
            help="fail when a smaller share of the parameters could be loaded",
        )
        group.add_argument(
            "--architecture",
            type=str_or_none,
            default=None,
            help="config.yaml to take the architecture from (or its directory); by"
            " default the one beside --init",
        )
        group = parser.add_argument_group("Model")
        for part in ("frontend", "preencoder", "encoder"):
            # text, not str_or_none: null means "as in pretraining", 'none' no module
            group.add_argument(
                f"--{part}", default=None, help="null: as in pretraining"
            )
        for part in ("frontend", "preencoder", "encoder", "ctc", "model"):
            group.add_argument(f"--{part}_conf", action=NestedDictAction, default={})
        group.add_argument(
            "--token_list", default=None, help="tokens.txt, a token a line"
        )
        for name, what in (("time_mask", "frames"), ("channel_mask", "channels")):
            group.add_argument(
                f"--{name}",
                action=NestedDictAction,
                default=None,
                help=f"spans of masked {what} in training: prob, length, min_masks",
            )

    @classmethod
    def main(
        cls, args: Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Settle the architecture before ESPnet builds anything, then train."""
        if args is None:
            args = cls.get_parser().parse_args(cmd)
        cls.settle_architecture(args)
        super().main(args=args)

    @classmethod
    def settle_architecture(cls, args: Namespace) -> None:
        """Fill frontend, preencoder and encoder in from the pretraining run.

        Raises:
            ConfigError: A key contradicts it, or cannot be used in fine-tuning.
        """
        if args.crop_seconds is not None:
            raise ConfigError(
                f"crop_seconds: {args.crop_seconds}; a crop would cut the speech but"
                " not its transcript: remove the key"
            )
        for key, value in resolve_architecture(
            vars(args), args.init, args.architecture
        ).items():
            setattr(args, key, value)

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Audio, and token ids to train on."""
        return ("speech",) if inference else ("speech", "text")

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def mask_config(cls, args: Namespace, name: str, train: bool) -> Any:
        """Masks are for training only: validation measures the plain model."""
        return super().mask_config(args, name, train) if train else None

    @classmethod
    def _training_plan(
        cls, args: Namespace, lengths: dict[str, int], batch_samples: int
    ) -> BalancedPlan:
        """Balanced batches; they grow where an utterance would not fit into one."""
        longest = max(lengths, key=lambda utt: lengths[utt])
        needed = lengths[longest] * args.dq_world_size
        if needed > batch_samples:
            logging.warning(
                "batch_seconds: raised from %g to %.1f, utterance %s is that long",
                batch_samples / SAMPLE_RATE_HZ,
                needed / SAMPLE_RATE_HZ,
                longest,
            )
        return super()._training_plan(args, lengths, max(batch_samples, needed))

    @classmethod
    def build_model(cls, args: Namespace) -> FineTunedModel:
        """Build the model and load the pretrained weights.

        ``args`` gets the tokens themselves and their hash, so that ``config.yaml``
        alone describes the model.
        """
        args.token_list = token_list(vars(args))
        args.token_list_sha256 = tokens_sha256(args.token_list)
        model = build_ctc_model(vars(args))
        cls.start_model(args, model)
        return model

    @classmethod
    def start_model(cls, args: Namespace, model: FineTunedModel) -> None:
        """Tell a fresh model the length of the run, and load pretrained weights."""
        model.updates_total = cls.updates_total(args)
        if model.conf.freeze_updates > 0:
            # The frozen backbone gets no gradient: several GPUs have to be told.
            args.unused_parameters = True
        resumes = args.resume and (Path(args.output_dir) / "checkpoint.pth").exists()
        if resumes or args.init in (None, RANDOM):
            logging.info("init: %s", "from checkpoint.pth" if resumes else RANDOM)
        else:
            initialise(model, args.init, args.init_min_fraction)
