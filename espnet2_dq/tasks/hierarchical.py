"""The hierarchical fine-tuning task: two target streams, two token lists."""

import logging
from argparse import ArgumentParser, Namespace
from typing import Any

from espnet2.utils.nested_dict_action import NestedDictAction

from espnet2_dq.asr.hierarchical_build import build_hierarchical_model, token_lists
from espnet2_dq.asr.hierarchical_model import HierarchicalCTCModel
from espnet2_dq.asr.tokens import tokens_sha256
from espnet2_dq.tasks.ctc import CTCTask


class HierarchicalTask(CTCTask):
    """Fine-tune a pretrained encoder with grapheme and syllable CTC (METHODS 7)."""

    @classmethod
    def get_parser(cls) -> Any:
        """Defaults: the best model by greedy WER of the main head (METHODS 7.2)."""
        parser = super().get_parser()
        parser.set_defaults(best_model_criterion=[("valid", "wer", "min")])
        return parser

    @classmethod
    def add_task_arguments(cls, parser: ArgumentParser) -> None:
        """The token lists, beside what CTC fine-tuning has."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Heads")
        group.add_argument(
            "--token_lists",
            action=NestedDictAction,
            default={},
            help="tokens.txt of each head: grapheme=PATH, syllable=PATH",
        )

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Audio; which target streams are needed, the heads decide."""
        return ("speech",)

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Targets of the heads; the model misses what a head needs."""
        return () if inference else ("grapheme", "syllable")

    @classmethod
    def build_model(cls, args: Namespace) -> HierarchicalCTCModel:
        """Build the model and load the pretrained weights.

        ``args`` gets the tokens themselves and their hashes, so that ``config.yaml``
        alone describes the model.
        """
        args.token_lists = token_lists(vars(args))
        args.token_lists_sha256 = {
            head: tokens_sha256(tokens) for head, tokens in args.token_lists.items()
        }
        model = build_hierarchical_model(vars(args))
        cls.start_model(args, model)
        if model.conf.syllable_delay_updates:
            # Resting parameters get no gradient: several GPUs have to be told.
            args.unused_parameters = True
        logging.info("heads: %s", {h: len(t) for h, t in model.token_lists.items()})
        return model
