"""Text to pairs of phonemes and characters for the TransCoder; no audio is read."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.options import make_parser, run_command, str_to_bool


def get_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--text",
        nargs="+",
        type=Path,
        default=[],
        help="sentences to learn from: data directories (text, utt2lang), or files"
        " with lines 'lang<TAB>sentence'",
    )
    add(
        "--mini_sentences",
        type=int,
        default=0,
        help="further sentences per language of --valid from the sources of the mini"
        " corpus' training set; 0: none",
    )
    add("--valid", type=Path, required=True, help="validates, never trains: dump/dev")
    add(
        "--held_out",
        nargs="+",
        type=Path,
        default=[],
        help="sets that are tested, as dump/test: their sentences are left out",
    )
    add(
        "--words",
        type=str_to_bool,
        default=True,
        help="each word of the sentences is an example of its own as well",
    )
    add("--max_tokens", type=int, default=400, help="longer sentences are left out")
    add("--seed", type=int, default=0, help="of the mini corpus")
    add("--out", type=Path, required=True, help="writes OUT/{train,valid} and more")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, convert, report."""
    args = get_parser().parse_args(argv)
    return run_command("transcoder_data", lambda: _write(args))


def _write(args: argparse.Namespace) -> None:
    from espnet2_dq.text.sentence_sources import draw_mini_sentences, read_sentences
    from espnet2_dq.text.transcoder_data import TextSets, write_pairs

    train = [line for path in args.text for line in read_sentences(path)]
    if args.mini_sentences:
        langs = sorted({line.lang for line in read_sentences(args.valid)})
        train += draw_mini_sentences(langs, args.mini_sentences, args.seed)
    sets = TextSets(train, args.valid, args.held_out)
    write_pairs(sets, args.out, max_tokens=args.max_tokens, words=args.words)


if __name__ == "__main__":
    sys.exit(main())
