"""Score a decoded set (stage 11): error rates, alignments, files for sclite."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.tables import read_table, write_lines
from espnet2_dq.errors import DataError
from espnet2_dq.score import report
from espnet2_dq.score.alignment import alignment_lines
from espnet2_dq.score.error_rates import ErrorCounts
from espnet2_dq.score.sclite import check_against_sclite, find_sclite, run_sclite
from espnet2_dq.score.trn import write_trn

Tokens = dict[str, list[str]]


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = report.ScoreOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--hyp", type=Path, required=True, help="what stage 10 wrote")
    add("--data_dir", type=Path, required=True, help="set that was decoded: dump/test")
    add("--units", choices=sorted(report.METRICS), default="phn")
    add("--out", type=Path, required=True, help="writes OUT/scores.json and more")
    add("--average_langs", nargs="+", default=[], help="languages in the average (all)")
    add("--baseline", type=Path, help="hypotheses of another system, to compare with")
    add("--resamples", type=int, default=defaults.samples, help="of the bootstrap")
    add("--seed", type=int, default=defaults.seed, help="of the bootstrap")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, score, print the table."""
    args = get_parser().parse_args(argv)
    return run_command("score", lambda: _score(args))


def _score(args: argparse.Namespace) -> None:
    data = KaldiDir.read(args.data_dir)
    references = _references(data, args)
    hypotheses = _tokens(read_table(args.hyp, allow_empty=True))
    baseline = None
    if args.baseline is not None:
        baseline = _tokens(read_table(args.baseline, allow_empty=True))
    languages = tuple(split_words(args.average_langs)) or None
    options = report.ScoreOptions(languages, args.resamples, args.seed)
    sections = [
        _metric(metric, data, references, hypotheses, baseline, options, args)
        for metric in report.METRICS[args.units]
    ]
    scores = {"unit": args.units, **sections[0]}
    if len(sections) > 1:
        scores["other_metrics"] = {s["metric"]: s for s in sections[1:]}
    summary = "\n\n".join(report.table(section) for section in sections)
    write_lines(args.out / "summary.txt", summary.split("\n"))
    text = json.dumps(scores, indent=1, ensure_ascii=False)
    write_lines(args.out / "scores.json", text.split("\n"))
    logging.info(summary)


def _references(data: KaldiDir, args: argparse.Namespace) -> Tokens:
    if args.units not in data.extra:
        raise DataError(
            f"{args.data_dir}: no file '{args.units}' with the references; run the "
            "units stage (stage 4) for this set"
        )
    references = _tokens(data.extra[args.units])
    missing = sorted(data.utterances.keys() - references.keys())
    if missing:
        raise DataError(
            f"{args.data_dir / args.units}: {len(missing)} utterances have no line, "
            f"first '{missing[0]}'; run the units stage (stage 4) again"
        )
    return references


def _tokens(table: dict[str, str]) -> Tokens:
    """Tokens part at ASCII blanks only: other blanks may be tokens."""
    return {
        utt: [t for t in value.replace("\t", " ").split(" ") if t]
        for utt, value in table.items()
    }


def _metric(
    metric: str,
    data: KaldiDir,
    references: Tokens,
    hypotheses: Tokens,
    baseline: Tokens | None,
    options: report.ScoreOptions,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Score one metric and write its files; all but the unit's first carry its name."""
    utt2lang = {u.utt: u.lang for u in data}
    section, groups = report.score(metric, references, hypotheses, utt2lang, options)
    if baseline is not None:
        other = report.count_groups(metric, references, baseline, utt2lang)
        difference = report.compare(groups, other, options)
        section["baseline"] = {"hyp": str(args.baseline), **difference.as_dict()}
        logging.info(
            "%s minus baseline: %+.2f points, 95 %% interval %+.2f to %+.2f",
            metric.upper(),
            100 * difference.rate,
            100 * difference.low,
            100 * difference.high,
        )
    part = "" if metric == report.METRICS[args.units][0] else f"{metric}."
    ref = report.metric_tokens(metric, references)
    hyp = report.metric_tokens(metric, hypotheses)
    utt2spk = {u.utt: u.speaker for u in data}
    write_trn(args.out / f"ref.{part}trn", ref, utt2spk)
    write_trn(args.out / f"hyp.{part}trn", hyp, utt2spk)
    lines = alignment_lines(ref, hyp, utt2lang)
    write_lines(args.out / f"alignments.{part}txt", lines)
    section["sclite"] = _sclite(args.out, part, ref, hyp, section["pooled_counts"])
    return section


def _sclite(
    out: Path, part: str, ref: Tokens, hyp: Tokens, counts: dict[str, int]
) -> dict[str, Any] | None:
    """What sclite counts, checked against ours; None where there is no sclite."""
    program = find_sclite()
    if program is None:
        return None
    ref_trn, hyp_trn = out / f"ref.{part}trn", out / f"hyp.{part}trn"
    theirs = run_sclite(program, ref_trn, hyp_trn, out / f"sclite.{part}txt")
    ours = ErrorCounts(counts["sub"], counts["del"], counts["ins"], counts["ref"])
    check_against_sclite(theirs, ref, hyp, ours)
    return {"pooled": theirs.rate, **theirs.as_dict()}


if __name__ == "__main__":
    sys.exit(main())
