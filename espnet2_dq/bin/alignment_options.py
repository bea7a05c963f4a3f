"""Options that say where phone times come from."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espnet2_dq.analysis.stage import AlignmentSource


def add_alignment_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command; by default phones come from ``phn.ctm`` of the set."""
    add = parser.add_argument
    add(
        "--alignments",
        type=Path,
        help="phone times of yours: a .ctm, or a folder of <utterance>.TextGrid (MFA)",
    )
    add(
        "--align_with",
        type=Path,
        help="phone times from a fine-tuned phoneme model: exp/TAG/finetune_phn",
    )
    add("--tier", default="phones", help="interval tier of the TextGrid files")
    add(
        "--alignment_tolerance_s",
        type=float,
        default=0.5,
        help="how far the ends of an alignment and of its sound may lie apart",
    )
    add(
        "--max_reject_ratio",
        type=float,
        default=0.05,
        help="stop when a larger share of the alignments does not fit",
    )


def alignment_source(args: argparse.Namespace) -> "AlignmentSource":
    """What the options say."""
    from espnet2_dq.analysis.alignments import AlignmentOptions
    from espnet2_dq.analysis.stage import AlignmentSource

    options = AlignmentOptions(
        args.tier, args.alignment_tolerance_s, args.max_reject_ratio
    )
    return AlignmentSource(args.alignments, args.align_with, options)
