"""Decode a set with a fine-tuned model (stage 10).

Job arrays: run ``--job JOB --num_jobs N`` for JOB = 1..N, then once with
``--merge true``.
"""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

from espnet2_dq.bin.decoding import (
    add_job_options,
    add_model_options,
    check_failed,
    check_options,
    device_of,
    remove_results,
)
from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.decode.records import (
    Record,
    RunStatistics,
    job_dir,
    merge_jobs,
    write_records,
)


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add_model_options(parser)
    add("--token_list", type=Path, help="tokens.txt that the model must have")
    add("--data_dir", type=Path, required=True, help="set to decode: dump/test")
    add("--out", type=Path, required=True, help="writes OUT/hyp, hyp.jsonl, rtf.json")
    add("--units", choices=["phn", "char"], default="phn", help="what the tokens are")
    add("--mode", choices=["greedy", "beam"], default="greedy")
    add("--beam_size", type=int, default=10, help="beam: hypotheses kept")
    add("--nbest", type=int, default=1, help="beam: hypotheses written")
    add("--top_k", type=int, default=20, help="beam: tokens per frame; 0: all")
    add_job_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, decode or merge."""
    args = get_parser().parse_args(argv)
    return run_command("decode", lambda: _merge(args) if args.merge else _decode(args))


def _merge(args: argparse.Namespace) -> None:
    utterances = [utterance.utt for utterance in KaldiDir.read(args.data_dir)]
    _finish(args, merge_jobs(args.out, args.num_jobs, utterances), args.out)


def _decode(args: argparse.Namespace) -> None:
    from espnet2_dq.decode.corpus import decode_utterances, shard

    check_options(args)
    data = KaldiDir.read(args.data_dir)
    utterances: list[Utterance] = shard(list(data), args.job, args.num_jobs)
    out = job_dir(args.out, args.job, args.num_jobs)
    remove_results(out)
    recogniser = _recogniser(args)
    started = time.perf_counter()
    records = decode_utterances(
        recogniser, utterances, batch_seconds=args.batch_seconds
    )
    wall_s = time.perf_counter() - started
    statistics = _statistics(args, records, wall_s)
    write_records(out, records, statistics)
    _finish(args, statistics, out)


def _recogniser(args: argparse.Namespace) -> Any:
    """The model with its search; torch is imported here at last."""
    from espnet2_dq.asr.build import load_ctc_model
    from espnet2_dq.asr.tokens import check_same_tokens, read_tokens
    from espnet2_dq.decode.beam import BeamOptions
    from espnet2_dq.decode.recogniser import Recogniser

    device = device_of(args.ngpu)
    beam = None
    if args.mode == "beam":
        beam = BeamOptions(args.beam_size, args.nbest, args.top_k or None)
    model, _ = load_ctc_model(args.model_dir, args.checkpoint, device)
    if args.token_list is not None:
        tokens = read_tokens(args.token_list)
        check_same_tokens(
            model.token_list, tokens, str(args.model_dir), str(args.token_list)
        )
    return Recogniser(model, beam, device=device)


def _statistics(
    args: argparse.Namespace, records: list[Record], wall_s: float
) -> RunStatistics:
    names = ["model_dir", "checkpoint", "data_dir", "units", "mode", "num_jobs"]
    if args.mode == "beam":
        names += ["beam_size", "nbest", "top_k"]
    options = {name: getattr(args, name) for name in names}
    return RunStatistics(
        {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
        len(records),
        sum(record.error is not None for record in records),
        round(sum(record.audio_s for record in records), 3),
        round(wall_s, 3),
    )


def _finish(args: argparse.Namespace, statistics: RunStatistics, out: Path) -> None:
    """Say what was done, and fail when too much failed."""
    logging.info(
        "%s: %d utterances, %d failed, %.1f min of audio, RTF %.4f",
        out / "hyp",
        statistics.utterances,
        statistics.failed,
        statistics.audio_s / 60,
        statistics.rtf,
    )
    check_failed(statistics, args.max_failed_ratio, out)


if __name__ == "__main__":
    sys.exit(main())
