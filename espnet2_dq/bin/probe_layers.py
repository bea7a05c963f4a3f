"""Linear probes: which layers of a model carry language, speaker and phoneme.

Writes OUT/layers.json and OUT/layers.svg, and prints layers to quantize for each.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2_dq.bin.alignment_options import add_alignment_options, alignment_source
from espnet2_dq.bin.feature_options import add_feature_options
from espnet2_dq.bin.options import make_parser, run_command, split_words, str_to_bool


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add_feature_options(parser)
    add("--train_dir", type=Path, required=True, help="set to fit on: dump/train")
    add("--test_dir", type=Path, required=True, help="other speakers: dump/dev")
    add("--out", type=Path, required=True, help="layers.json, layers.svg")
    add(
        "--tables",
        nargs="+",
        default=["utt2lang", "utt2spk"],
        help="labels of utterances to probe, as tables of both sets",
    )
    add("--max_utterances", type=int, default=3000, help="of each set, for tables")
    add("--max_train_frames", type=int, default=30000, help="for phonemes")
    add("--max_test_frames", type=int, default=12000, help="for phonemes")
    add(
        "--untrained",
        type=str_to_bool,
        default=True,
        help="probe random weights of the same architecture as well",
    )
    add_alignment_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, probe, write, suggest."""
    args = get_parser().parse_args(argv)
    return run_command("probe_layers", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from espnet2_dq.analysis.feature_source import open_features
    from espnet2_dq.analysis.layer_probes import (
        LayerProbeOptions,
        probe_layers,
        suggestions,
    )

    options = LayerProbeOptions(
        tables=tuple(split_words(args.tables)),
        max_utterances=args.max_utterances,
        max_train_frames=args.max_train_frames,
        max_test_frames=args.max_test_frames,
        batch_s=args.batch_s,
        seed=args.seed,
    )
    common = {"device": args.device, "seed": args.seed}
    sources = {
        "trained": open_features(
            args.exp, args.network, checkpoint=args.checkpoint, **common
        )
    }
    if args.untrained and args.network in ("student", "teacher"):
        sources["untrained"] = open_features(args.exp, "untrained", **common)
    args.out.mkdir(parents=True, exist_ok=True)
    found = [
        alignment_source(args).load(
            place, args.out / f"{side}_alignments", device=args.device
        )
        for side, place in (("train", args.train_dir), ("test", args.test_dir))
    ]
    phones = None
    if all(alignments.phones for alignments in found):
        phones = {**found[0].phones, **found[1].phones}
    result = probe_layers(
        sources, args.train_dir, args.test_dir, phones=phones, options=options
    )
    _write(args, result, sources["trained"].name, found[0].kind)
    for line in suggestions(result):
        logging.info("%s", line)


def _write(
    args: argparse.Namespace, result: Mapping[str, Any], source: str, alignment: str
) -> None:
    """The numbers, and their picture."""
    from espnet2_dq.analysis.figures import save_figure
    from espnet2_dq.analysis.layer_figure import plot_layers
    from espnet2_dq.data.tables import write_lines

    content = {
        "source": source,
        "train_dir": str(args.train_dir),
        "test_dir": str(args.test_dir),
        "seed": args.seed,
        "alignment": alignment,
        **result,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(args.out / "layers.json", text.splitlines())
    figure = plot_layers(result["targets"], source)
    if figure is not None:
        save_figure(figure, args.out / "layers.svg")


if __name__ == "__main__":
    sys.exit(main())
