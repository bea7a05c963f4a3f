"""Decode a set with a hierarchical model, in several modes at once (stage 10).

Every utterance is encoded once; OUT/MODE holds each mode's result. Job arrays: run
``--job JOB --num_jobs N`` for JOB = 1..N, then once with ``--merge true``.
"""

import argparse
import json
import logging
import sys
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
from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.decode.records import (
    Record,
    RunStatistics,
    job_dir,
    merge_jobs,
    write_records,
)
from espnet2_dq.errors import ConfigError

# Options of every search; a file of --tuned may give other values for a mode.
_SEARCH = ("beam_size", "nbest", "weight", "variant", "combination", "unk_penalty")


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add_model_options(parser)
    add("--units_dir", type=Path, help="HEAD/tokens.txt that the model must have")
    add("--data_dir", type=Path, required=True, help="set to decode: dump/test")
    add("--out", type=Path, required=True, help="writes OUT/MODE/hyp, hyp.jsonl, ...")
    add(
        "--modes",
        nargs="+",
        default=["greedy_syllable"],
        help="greedy_syllable, greedy_grapheme, merge, rescore, joint",
    )
    add("--beam_size", type=int, default=10, help="hypotheses kept")
    add("--nbest", type=int, default=1, help="hypotheses written")
    add("--weight", type=float, default=0.5, help="of the syllable head, 0 to 1")
    add("--variant", default="sum", help="merge: sum or max")
    add("--combination", default="log_linear", help="rescore, joint: or mixture")
    add("--unk_penalty", type=float, default=5.0, help="a syllable outside the list")
    add(
        "--tuned",
        type=Path,
        help='JSON of values chosen on dev, {"MODE": {"weight": 0.4}}; they win',
    )
    add("--save_posteriors", type=Path, help="folder for an .npz per utterance")
    add_job_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, decode or merge."""
    args = get_parser().parse_args(argv)
    args.modes = list(dict.fromkeys(split_words(args.modes)))
    work = _merge if args.merge else _decode
    return run_command("decode_korean", lambda: work(args))


def _merge(args: argparse.Namespace) -> None:
    utterances = [utterance.utt for utterance in KaldiDir.read(args.data_dir)]
    found = {
        mode: merge_jobs(args.out / mode, args.num_jobs, utterances)
        for mode in args.modes
    }
    _finish(args, found, args.out)


def _decode(args: argparse.Namespace) -> None:
    from espnet2_dq.decode.corpus import shard

    check_options(args)
    utterances = shard(list(KaldiDir.read(args.data_dir)), args.job, args.num_jobs)
    folders = {m: job_dir(args.out / m, args.job, args.num_jobs) for m in args.modes}
    for folder in folders.values():
        remove_results(folder)
    values = search_values(args)
    recogniser = _recogniser(args, values)

    from espnet2_dq.decode.korean_corpus import decode_corpus

    decoded = decode_corpus(
        recogniser,
        utterances,
        batch_seconds=args.batch_seconds,
        save=args.save_posteriors,
    )
    found = {}
    for mode, folder in folders.items():
        records = decoded.records[mode]
        found[mode] = _statistics(
            args, mode, values[mode], records, decoded.parts_s(mode)
        )
        write_records(folder, records, found[mode])
    _finish(args, found, args.out)


def search_values(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Options of each mode: the command line's, then those of ``--tuned``.

    Raises:
        ConfigError: The file is missing or no mapping of modes.
    """
    tuned: Any = {}
    if args.tuned is not None:
        try:
            tuned = json.loads(args.tuned.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"--tuned {args.tuned}: {error}") from error
        if not isinstance(tuned, dict) or not all(
            isinstance(value, dict) for value in tuned.values()
        ):
            raise ConfigError(
                f"--tuned {args.tuned}: expected MODE -> options, as in"
                ' {"rescore": {"weight": 0.4}}'
            )
    plain = {name: getattr(args, name) for name in _SEARCH}
    return {mode: {**plain, **tuned.get(mode, {})} for mode in args.modes}


def _recogniser(args: argparse.Namespace, values: dict[str, dict[str, Any]]) -> Any:
    """The model with its searches; torch is imported here at last."""
    from espnet2_dq.asr.hierarchical_build import load_hierarchical_model
    from espnet2_dq.asr.tokens import check_same_tokens, read_tokens
    from espnet2_dq.decode.korean_recogniser import KoreanRecogniser, mode_options

    device = device_of(args.ngpu)
    model, _ = load_hierarchical_model(args.model_dir, args.checkpoint, device)
    for head, tokens in model.token_lists.items():
        if args.units_dir is not None:
            path = args.units_dir / head / "tokens.txt"
            check_same_tokens(tokens, read_tokens(path), str(args.model_dir), str(path))
    options = {
        mode: mode_options(mode, model.heads, **chosen)
        for mode, chosen in values.items()
    }
    return KoreanRecogniser(model, options, device=device)


def _statistics(
    args: argparse.Namespace,
    mode: str,
    values: dict[str, Any],
    records: list[Record],
    parts_s: dict[str, float],
) -> RunStatistics:
    options = {"model_dir": str(args.model_dir), "checkpoint": args.checkpoint}
    options |= {"data_dir": str(args.data_dir), "mode": mode, "units": "korean"}
    options |= {"num_jobs": args.num_jobs}
    if not mode.startswith("greedy"):
        options |= values
    return RunStatistics(
        options,
        len(records),
        sum(record.error is not None for record in records),
        round(sum(record.audio_s for record in records), 3),
        round(sum(parts_s.values()), 3),
        parts_s,
    )


def _finish(
    args: argparse.Namespace, found: dict[str, RunStatistics], out: Path
) -> None:
    """Say what was done, and fail when too much failed."""
    for mode, statistics in found.items():
        logging.info(
            "%s: %d utterances, %d failed, %.1f min of audio, RTF %.4f (%s)",
            out / mode / "hyp",
            statistics.utterances,
            statistics.failed,
            statistics.audio_s / 60,
            statistics.rtf,
            ", ".join(f"{k} {v:.1f} s" for k, v in statistics.parts_s.items()),
        )
    for mode, statistics in found.items():
        check_failed(statistics, args.max_failed_ratio, out / mode)


if __name__ == "__main__":
    sys.exit(main())
