"""Turn phonemes that were recognised into words with the TransCoder."""

import argparse
import logging
import sys
import time
from pathlib import Path

from espnet2_dq.bin.decoding import device_of, remove_results
from espnet2_dq.bin.options import make_parser, run_command
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.tables import read_table
from espnet2_dq.decode.records import RunStatistics, write_records


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--model_dir", type=Path, required=True, help="what transcoder_train wrote")
    add("--checkpoint", help="file or name in MODEL_DIR (default: the best epoch)")
    add(
        "--hyp",
        type=Path,
        required=True,
        help="phonemes: DECODE/test/hyp of stage 10, or dump/test/phn (references)",
    )
    add("--data_dir", type=Path, required=True, help="set they belong to: dump/test")
    add("--out", type=Path, required=True, help="writes OUT/hyp, hyp.jsonl, rtf.json")
    add("--beam_size", type=int, default=5, help="hypotheses kept; 1: greedy")
    add(
        "--ctc_weight",
        type=float,
        default=0.5,
        help="share of CTC in the score; 0: the decoder alone, 1: CTC alone",
    )
    add("--ngpu", type=int, default=0, help="0: CPU, 1: GPU")
    add("--num_threads", type=int, default=0, help="CPU threads; 0 leaves torch's")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, spell, write."""
    args = get_parser().parse_args(argv)
    return run_command("transcoder_decode", lambda: _decode(args))


def _decode(args: argparse.Namespace) -> None:
    data = KaldiDir.read(args.data_dir)
    hypotheses = read_table(args.hyp, allow_empty=True)
    remove_results(args.out)
    import torch

    from espnet2_dq.asr.transcoder import load_transcoder
    from espnet2_dq.decode.transcoder import TranscoderSearch, spell_set

    device = device_of(args.ngpu)
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    search = TranscoderSearch(
        load_transcoder(args.model_dir, args.checkpoint, device),
        beam_size=args.beam_size,
        ctc_weight=args.ctc_weight,
        device=device,
    )
    started = time.perf_counter()
    records = spell_set(search, data, hypotheses, str(args.hyp))
    statistics = RunStatistics(
        {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(args).items()
            if name not in ("out", "ngpu", "num_threads")
        },
        utterances=len(records),
        failed=0,
        audio_s=round(sum(record.audio_s for record in records), 3),
        wall_s=round(time.perf_counter() - started, 3),
    )
    write_records(args.out, records, statistics)
    logging.info(
        "%s: %d utterances, RTF %.4f", args.out / "hyp", len(records), statistics.rtf
    )


if __name__ == "__main__":
    sys.exit(main())
