"""The pretraining task: arguments and building, nothing else."""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_dq.analysis.probe_schedule import ProbeSchedule
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.build import (
    OBJECTIVES,
    SSLModel,
    branch_defaults,
    build_ssl_model,
)
from espnet2_dq.ssl.init import initialise, settle_architecture
from espnet2_dq.tasks.base import DQTask
from espnet2_dq.tasks.trainer import DQTrainer


class SSLTrainer(DQTrainer):
    """A trainer class of its own, so that its probe is not the other task's."""


class DQSSLTask(DQTask):
    """data2vec, DQ-Data2vec (by ``model_conf``) and wav2vec 2.0 (by ``objective``)."""

    trainer = SSLTrainer

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """Architecture, losses, mask, probe."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Initialisation")
        group.add_argument(
            "--init_from",
            type=str_or_none,
            default=None,
            help="pretrain this model further: directory of a run or of Hugging Face,"
            " or checkpoint, fairseq's .pt included; optimizer and schedule are fresh",
        )
        group.add_argument(
            "--init_from_min_fraction",
            type=float,
            default=0.95,
            help="fail when a smaller share of the parameters could be loaded",
        )
        group = parser.add_argument_group("Model")
        group.add_argument(
            "--objective",
            default=OBJECTIVES[0],
            choices=OBJECTIVES,
            help="what model_conf configures",
        )
        group.add_argument("--frontend", default="waveform", help="waveform | log_mel")
        group.add_argument("--preencoder", type=str_or_none, default="linear")
        group.add_argument("--encoder", default="dq_transformer")
        for part in ("frontend", "preencoder", "encoder", "model"):
            group.add_argument(f"--{part}_conf", action=NestedDictAction, default={})
        group.add_argument(
            "--time_mask",
            action=NestedDictAction,
            default={"prob": 0.65, "length": 10, "min_masks": 1},
            help="spans of masked frames: prob, length [frames], min_masks",
        )
        group = parser.add_argument_group("Frame-phone probe")
        group.add_argument("--probe_train", type=str_or_none, default=None)
        group.add_argument("--probe_test", type=str_or_none, default=None)
        group.add_argument(
            "--probe_at",
            type=float,
            nargs="*",
            default=[0.0, 0.1, 0.25, 0.5, 0.75, 1.0],
            help="shares of the updates after which the probe runs",
        )
        group.add_argument(
            "--probe_conf",
            action=NestedDictAction,
            default={},
            help="limits and fit of the probe (analysis/probe.py)",
        )

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Audio is all that pretraining needs."""
        return ("speech",)

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Labels for weak supervision."""
        return ("lang", "phn", "text")

    @classmethod
    def main(
        cls, args: Namespace | None = None, cmd: Sequence[str] | None = None
    ) -> None:
        """Settle the architecture before ESPnet builds anything, then train."""
        if args is None:
            args = cls.get_parser().parse_args(cmd)
        if args.init_from is not None:
            settled = settle_architecture(vars(args), args.init_from)
            for key, value in settled.items():
                setattr(args, key, value)
        super().main(args=args)

    @classmethod
    def build_model(cls, args: Namespace) -> SSLModel:
        """Build the model; cluster numbers of 0 follow from the data."""
        if args.objective == "data2vec":
            args.model_conf = branch_defaults(vars(args))
            cls._clusters_from_data(args)
        model = build_ssl_model(vars(args), cls.updates_total(args))
        resumes = args.resume and (Path(args.output_dir) / "checkpoint.pth").exists()
        if args.init_from is not None and not resumes:
            initialise(model, args.init_from, args.init_from_min_fraction)
        cls.trainer.probe = cls._build_probe(args)
        return model

    @classmethod
    def _clusters_from_data(cls, args: Namespace) -> None:
        """Languages: those of ``utt2lang``. Phonemes: the units stage's token list.

        The numbers are written into ``model_conf`` and so into ``config.yaml``.
        """
        language = args.model_conf.get("language", {})
        if language.get("enable", True) and language.get("clusters") == 0:
            if not args.utt2lang:
                raise ConfigError(
                    "model_conf.language.clusters: 0 counts the languages of"
                    " --utt2lang, which was not given"
                )
            count = len(set(read_table(Path(args.utt2lang)).values()))
            language["clusters"] = count
            logging.info("language clusters: %d, from %s", count, args.utt2lang)
            if count < 2:
                logging.warning(
                    "one language only: the language quantizer has nothing to tell"
                    " apart; consider model_conf.language.enable: false"
                )

    @classmethod
    def _build_probe(cls, args: Namespace) -> ProbeSchedule | None:
        if args.probe_train is None or args.probe_test is None:
            return None
        return ProbeSchedule(
            train_dir=Path(args.probe_train),
            test_dir=Path(args.probe_test),
            output_dir=Path(args.output_dir),
            shares=tuple(args.probe_at),
            updates_total=cls.updates_total(args),
            conf=dict(args.probe_conf),
        )
