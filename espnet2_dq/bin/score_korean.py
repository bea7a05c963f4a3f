"""Score a decoded Korean set: CER, WER, sWER, recall of unseen syllables."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.tables import read_table, write_lines
from espnet2_dq.errors import DataError
from espnet2_dq.score.alignment import alignment_lines
from espnet2_dq.score.error_rates import check_same_utterances, count_corpus, pool
from espnet2_dq.score.korean import KoreanScoreOptions, score_texts
from espnet2_dq.score.korean_summary import summary_lines
from espnet2_dq.score.sclite import check_against_sclite, find_sclite, run_sclite
from espnet2_dq.score.trn import write_trn
from espnet2_dq.score.unseen_syllables import score_unseen, seen_syllables
from espnet2_dq.text.hangul import normalise, syllables

Texts = dict[str, str]


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    defaults = KoreanScoreOptions()
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--hyp", type=Path, required=True, help="texts of the decoder: utterance text")
    add("--data_dir", type=Path, required=True, help="set that was decoded: dump/test")
    add("--train_text", type=Path, help="text of the training set, for the recall")
    add("--out", type=Path, required=True, help="writes OUT/scores.json and more")
    add("--baseline", type=Path, help="texts of another mode or system, to compare")
    add("--resamples", type=int, default=defaults.samples, help="of the bootstrap")
    add("--seed", type=int, default=defaults.seed, help="of the bootstrap")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, score, print the table."""
    args = get_parser().parse_args(argv)
    return run_command("score_korean", lambda: _score(args))


def _score(args: argparse.Namespace) -> None:
    data = KaldiDir.read(args.data_dir)
    references, hypotheses = _references(data, args.data_dir), _texts(args.hyp)
    check_same_utterances(references, hypotheses)
    baseline = None if args.baseline is None else _texts(args.baseline)
    options = KoreanScoreOptions(args.resamples, args.seed)
    unseen = None
    if args.train_text is not None:
        seen = seen_syllables(_texts(args.train_text).values())
        if not seen:
            raise DataError(
                f"--train_text {args.train_text}: no Hangul syllable; expected the "
                "table 'text' of the training set (utterance text)"
            )
        unseen = score_unseen(references, hypotheses, seen, options)
    scores = {
        "unit": "korean",
        "text_rule": data.text_rule or None,
        "utterances": len(references),
        "empty_hypotheses": sum(not text for text in hypotheses.values()),
        "metrics": score_texts(references, hypotheses, options, baseline=baseline),
        "unseen_syllables": unseen,
        "sclite": _write_transcripts(args.out, data, references, hypotheses),
    }
    summary = summary_lines(scores)
    write_lines(args.out / "summary.txt", summary)
    text = json.dumps(scores, indent=1, ensure_ascii=False)
    write_lines(args.out / "scores.json", text.split("\n"))
    logging.info("\n".join(summary))


def _references(data: KaldiDir, path: Path) -> Texts:
    """Transcripts of the set."""
    if not data.has_text:
        raise DataError(
            f"{path}: no file 'text' with the references; the data stages (1 to 3) "
            "write it where the corpus has transcripts"
        )
    return {u.utt: normalise(u.text or "") for u in data}


def _texts(path: Path) -> Texts:
    """Texts of a decoder or a set; the decoder may have heard nothing."""
    table = read_table(path, allow_empty=True)
    return {utt: normalise(text) for utt, text in table.items()}


def _write_transcripts(
    out: Path, data: KaldiDir, references: Texts, hypotheses: Texts
) -> dict[str, Any] | None:
    """Files for sclite and alignments; words without a suffix, characters ``cer``.

    Returns:
        What sclite counts, checked against ours; None where there is no sclite.
    """
    utt2spk = {u.utt: u.speaker for u in data}
    utt2lang = {u.utt: u.lang for u in data}
    program, counted = find_sclite(), {}
    for metric, part, split in (("wer", "", str.split), ("cer", "cer.", syllables)):
        ref = {utt: split(text) for utt, text in references.items()}
        hyp = {utt: split(text) for utt, text in hypotheses.items()}
        ref_trn, hyp_trn = out / f"ref.{part}trn", out / f"hyp.{part}trn"
        write_trn(ref_trn, ref, utt2spk)
        write_trn(hyp_trn, hyp, utt2spk)
        write_lines(out / f"alignments.{part}txt", alignment_lines(ref, hyp, utt2lang))
        if program is not None:
            theirs = run_sclite(program, ref_trn, hyp_trn, out / f"sclite.{part}txt")
            check_against_sclite(theirs, ref, hyp, pool(count_corpus(ref, hyp)))
            counted[metric] = {"rate": theirs.rate, **theirs.as_dict()}
    return counted or None


if __name__ == "__main__":
    sys.exit(main())
