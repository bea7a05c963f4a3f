"""Transcribe sound files with a fine-tuned model.

Any sampling rate, mono or stereo; Korean two-head models and the older phoneme and
character models alike. A file that cannot be read is named on stderr, the others are
transcribed, and the exit code is 1.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from espnet2_dq.bin.decoding import device_of
from espnet2_dq.bin.options import make_parser
from espnet2_dq.errors import DataError, DQError


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("sounds", nargs="+", type=Path, help="wav, flac, mp3, ogg, pcm, ...")
    add("--model", type=Path, required=True, help="folder that fine-tuning wrote")
    add("--checkpoint", help="file or name in MODEL (default: the best, else latest)")
    add(
        "--mode",
        help="Korean: greedy_syllable, greedy_grapheme, merge, rescore, joint"
        " (default: rescore); else greedy or beam (default: greedy)",
    )
    add("--beam_size", type=int, help="hypotheses kept (default: 10)")
    add("--weight", type=float, help="of the syllable head (default: 0.5)")
    add("--json", action="store_true", help="one JSON object per file")
    add("--ngpu", type=int, default=0, help="0: CPU, 1: GPU")
    add("--verbose", action="store_true", help="say on stderr what took how long")
    return parser


class Stopwatch:
    """Seconds since the last call, on stderr where asked for."""

    def __init__(self, active: bool) -> None:
        self.active = active
        self.started = self.last = time.perf_counter()

    def lap(self, what: str) -> None:
        """Report a step."""
        now = time.perf_counter()
        if self.active:
            spent, total = now - self.last, now - self.started
            print(f"{what}: {spent:.2f} s ({total:.2f} s)", file=sys.stderr)
        self.last = now


def main(argv: list[str] | None = None) -> int:
    """Parse, load, transcribe."""
    args = get_parser().parse_args(argv)
    level = logging.INFO if args.verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    watch = Stopwatch(args.verbose)
    try:
        model = _load(args, watch)
    except DQError as error:
        print(f"transcribe: error: {error}", file=sys.stderr)
        return 1
    failed = 0
    for path in args.sounds:
        try:
            found = model.transcribe(path)
        except DataError as error:
            print(f"transcribe: error: {error}", file=sys.stderr)
            failed += 1
            continue
        watch.lap(f"{path}: transcribed {found.audio_s:.2f} s")
        print(_json(path, found) if args.json else _lines(path, found), flush=True)
    return 1 if failed else 0


def _load(args: argparse.Namespace, watch: Stopwatch) -> Any:
    """The model; torch is imported here at last."""
    device = device_of(args.ngpu)
    watch.lap("import of torch")
    from espnet2_dq.decode.transcriber import Transcriber

    options = {
        name: getattr(args, name)
        for name in ("beam_size", "weight")
        if getattr(args, name) is not None
    }
    model = Transcriber.load(
        args.model,
        checkpoint=args.checkpoint,
        mode=args.mode,
        device=device,
        **options,
    )
    watch.lap("import of the model code, loading of the model")
    return model


def _json(path: Path, found: Any) -> str:
    return json.dumps({"file": str(path), **found.as_dict()}, ensure_ascii=False)


def _lines(path: Path, found: Any) -> str:
    """A few lines for people: text first."""
    row = found.as_dict()
    scores = ", ".join(f"{head} {value}" for head, value in row["scores"].items())
    lines = [f"{path}: {found.text}"]
    lines.append(
        f"  {found.mode}, score {row['score']}" + f" ({scores})" * bool(scores)
    )
    lines += [f"  {unit}: {' '.join(tokens)}" for unit, tokens in found.units.items()]
    name = "word" if found.words else "token"
    timed = [
        f"{entry['start_s']:.2f}-{entry['end_s']:.2f} {entry[name]}"
        for entry in (found.words or found.tokens)
    ]
    return "\n".join([*lines, f"  {name}s: {', '.join(timed)}"])


if __name__ == "__main__":
    sys.exit(main())
