"""Choose the weight of the syllable head on a development set (stage 10).

``merge`` and ``rescore`` are tuned from one pass of their searches. ``joint`` takes the
weight of ``rescore``: both maximise the same combination of the same scores.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from espnet2_dq.bin.options import make_parser, run_command, split_words
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.tables import write_lines
from espnet2_dq.errors import ConfigError

TUNED = ("merge", "rescore")
# A mode that cannot be tuned by itself -> the one that it follows.
FOLLOWS = {"joint": "rescore"}


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--posteriors", type=Path, required=True, help="decode --save_posteriors wrote")
    add("--data_dir", type=Path, required=True, help="their set, with text: dump/dev")
    add("--modes", nargs="+", default=["merge", "rescore", "joint"])
    add("--beam_size", type=int, default=10, help="hypotheses of each head's search")
    add("--variant", default="sum", help="merge: sum or max")
    add("--combination", default="log_linear", help="rescore, joint: or mixture")
    add("--unk_penalty", type=float, default=5.0, help="a syllable outside the list")
    add("--grid", nargs="+", type=float, help="weights to try (default: 0 to 1 by 0.1)")
    add("--out", type=Path, required=True, help="JSON for decode --tuned")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, search once, try the weights."""
    args = get_parser().parse_args(argv)
    return run_command("tune_weight", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    modes = list(dict.fromkeys(split_words(args.modes)))
    known = (*TUNED, *FOLLOWS)
    unknown = [mode for mode in modes if mode not in known]
    if unknown:
        raise ConfigError(f"--modes {unknown[0]}: expected some of {' '.join(known)}")
    references = {u.utt: u.text or "" for u in KaldiDir.read(args.data_dir)}
    found: dict[str, dict[str, Any]] = {}
    for mode in dict.fromkeys(FOLLOWS.get(mode, mode) for mode in modes):
        found[mode] = _tune(args, mode, references)
    chosen = {mode: found[FOLLOWS.get(mode, mode)] for mode in modes}
    text = json.dumps(chosen, indent=1)
    write_lines(args.out, text.splitlines())


def _tune(
    args: argparse.Namespace, mode: str, references: dict[str, str]
) -> dict[str, Any]:
    """The best weight of one mode, and the table that shows it."""
    from tqdm import tqdm

    from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
    from espnet2_dq.decode.posterior_files import (
        read_posteriors,
        read_token_lists,
        utterances,
    )
    from espnet2_dq.decode.tune_weight import DEFAULT_GRID, recombined, tune_weight

    options = KoreanDecodeOptions(
        mode=mode,
        beam_size=args.beam_size,
        variant=args.variant,
        combination=args.combination,
        unk_penalty=args.unk_penalty,
    )
    decoder = KoreanDecoder(read_token_lists(args.posteriors), options)
    candidates = {
        utt: decoder.candidates(read_posteriors(args.posteriors, utt)[0])
        for utt in tqdm(utterances(args.posteriors), f"tune {mode}", unit="utt")
    }
    combination = args.combination
    if mode == "merge":
        combination = "mixture" if args.variant == "sum" else "max"
    table = tune_weight(
        recombined(candidates, combination),
        references,
        tuple(args.grid) if args.grid else DEFAULT_GRID,
    )
    logging.info("%s on %s:", mode, args.data_dir)
    for line in table.lines():
        logging.info("  %s", line)
    return {"weight": table.best}


if __name__ == "__main__":
    sys.exit(main())
