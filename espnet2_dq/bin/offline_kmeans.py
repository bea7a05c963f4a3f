"""Offline k-means on frozen features, judged as the quantizers of stage 7 are.

The row of UniData2vec in the paper's Table IV. Fits on TRAIN_DIR, writes metrics.json,
codes.npz and figures for TEST_DIR.
"""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.alignment_options import add_alignment_options, alignment_source
from espnet2_dq.bin.feature_options import add_feature_options
from espnet2_dq.bin.options import make_parser, run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add_feature_options(parser)
    add("--train_dir", type=Path, required=True, help="set to fit on: dump/train")
    add("--test_dir", type=Path, required=True, help="set to judge: dump/test")
    add("--out", type=Path, required=True, help="metrics.json, codes.npz, figures")
    add("--layer", type=int, default=0, help="its frames; 0 is the encoder's input")
    add("--clusters", type=int, default=0, help="of frames; 0: no frames")
    add("--language_layer", type=int, default=0, help="its means over utterances")
    add("--language_clusters", type=int, default=0, help="of utterances; 0: none")
    add("--max_train_frames", type=int, default=200000, help="to fit on")
    add("--max_train_utterances", type=int, default=5000, help="to fit on")
    add_alignment_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, cluster, judge."""
    args = get_parser().parse_args(argv)
    return run_command("offline_kmeans", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from espnet2_dq.analysis.feature_source import open_features
    from espnet2_dq.analysis.metrics import Quantizers, measure
    from espnet2_dq.analysis.offline_kmeans import OfflineOptions, offline_codes
    from espnet2_dq.analysis.stage import finish, prepare_output

    options = OfflineOptions(
        layer=args.layer,
        clusters=args.clusters,
        language_layer=args.language_layer,
        language_clusters=args.language_clusters,
        max_train_frames=args.max_train_frames,
        max_train_utterances=args.max_train_utterances,
        batch_s=args.batch_s,
        seed=args.seed,
    )
    source = open_features(
        args.exp,
        args.network,
        checkpoint=args.checkpoint,
        device=args.device,
        seed=args.seed,
    )
    prepare_output(args.out)
    aligned = alignment_source(args).load(args.test_dir, args.out, device=args.device)
    codes = offline_codes(source, args.train_dir, args.test_dir, options)
    codes.table.save(args.out / "codes.npz")
    clusters = {"phoneme": args.clusters, "language": args.language_clusters}
    measured = measure(
        codes.table,
        args.test_dir,
        grid=source.grid,
        alignments=aligned,
        quantizers=Quantizers({k: v for k, v in clusters.items() if v}),
    )
    metrics = {"quantizer": codes.description, **measured}
    finish(metrics, codes.table, aligned, args.out, grid=source.grid)


if __name__ == "__main__":
    sys.exit(main())
