"""The pretraining task: arguments and building, nothing else."""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_dq.analysis.probe_schedule import ProbeSchedule
from espnet2_dq.asr.tokens import read_tokens
from espnet2_dq.config import from_mapping
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.build import (
    OBJECTIVES,
    SSLModel,
    branch_defaults,
    build_ssl_model,
)
from espnet2_dq.ssl.init import initialise, settle_architecture
from espnet2_dq.ssl.supervision import SupervisionConfig
from espnet2_dq.tasks.base import SAMPLE_RATE_HZ, DQTask
from espnet2_dq.tasks.labels import LabelSet, language_names, read_labels
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
        group = parser.add_argument_group("Labels (model_conf.supervision)")
        group.add_argument(
            "--supervised_langs",
            nargs="*",
            default=[],
            help="high-resource languages whose phonemes (phn.int of the data"
            " directories) may be used",
        )
        group.add_argument(
            "--token_list",
            type=str_or_none,
            default=None,
            help="tokens.txt of the phonemes (units stage)",
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
        """Audio is all that pretraining needs; labels come with the collate."""
        return ("speech",)

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def labels(cls, args: Namespace, train: bool) -> LabelSet | None:
        """Labels of the set, where ``model_conf.supervision`` uses some."""
        conf = _supervision(args)
        if not conf.active:
            return None
        files = args.train_shape_file if train else args.valid_shape_file
        world_size = getattr(args, "dq_world_size", 1)
        names = language_names(Path(args.train_shape_file[0]).parent)
        return read_labels(
            Path(files[0]).parent,
            tuple(names),
            tuple(args.supervised_langs) if conf.phoneme != "off" else (),
            conf.tokens,
            int(args.batch_seconds * SAMPLE_RATE_HZ) // world_size,
            conf.replace_prob,
            conf.exact_half,
            strict=train,
        )

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
        """Build the model; sizes of 0 follow from the data."""
        if args.objective == "data2vec":
            args.model_conf = branch_defaults(vars(args))
            cls._clusters_from_data(args)
        cls._heads_from_data(args)
        model = build_ssl_model(vars(args), cls.updates_total(args))
        resumes = args.resume and (Path(args.output_dir) / "checkpoint.pth").exists()
        if args.init_from is not None and not resumes:
            initialise(model, args.init_from, args.init_from_min_fraction)
        cls.trainer.probe = cls._build_probe(args)
        return model

    @classmethod
    def _clusters_from_data(cls, args: Namespace) -> None:
        """The language branch's clusters: the values of its target table.

        The number is written into ``model_conf`` and so into ``config.yaml``.
        """
        language = args.model_conf.get("language", {})
        if language.get("enable", True) and language.get("clusters") == 0:
            target = str(language.get("target", "utt2lang"))
            path = Path(args.train_shape_file[0]).parent / target
            if not path.exists():
                raise ConfigError(
                    f"model_conf.language.clusters: 0 counts the values of {path}"
                    " (model_conf.language.target), which does not exist"
                )
            count = len(set(read_table(path).values()))
            language["clusters"] = count
            logging.info("language clusters: %d, from %s", count, path)
            if count < 2:
                logging.warning(
                    "%s has one value only: the language quantizer has nothing to tell"
                    " apart; consider model_conf.language.enable: false",
                    path,
                )

    @classmethod
    def _heads_from_data(cls, args: Namespace) -> None:
        """Sizes of the supervised heads: languages of train, tokens of the list."""
        conf = _supervision(args)
        sizes: dict[str, int] = {}
        if conf.language and not conf.languages:
            folder = Path(args.train_shape_file[0]).parent
            sizes["languages"] = len(language_names(folder))
        if conf.phoneme != "off":
            if not args.token_list or not args.supervised_langs:
                raise ConfigError(
                    f"model_conf.supervision.phoneme: {conf.phoneme} needs"
                    " --token_list (tokens.txt of the units stage) and"
                    " --supervised_langs (en, say)"
                )
            tokens = len(read_tokens(Path(args.token_list)))
            if conf.tokens not in (0, tokens):
                raise ConfigError(
                    f"model_conf.supervision.tokens: {conf.tokens}; {args.token_list}"
                    f" has {tokens}"
                )
            sizes["tokens"] = tokens
        if sizes:
            given = args.model_conf.get("supervision") or {}
            args.model_conf["supervision"] = {**given, **sizes}
            logging.info("supervised heads: %s", sizes)

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


def _supervision(args: Namespace) -> SupervisionConfig:
    """``model_conf.supervision`` of either objective."""
    given = args.model_conf.get("supervision")
    return from_mapping(SupervisionConfig, given, "model_conf.supervision")
