"""Fine-tune with grapheme and syllable CTC, K-wav2vec's multi-task model (stage 9)."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from espnet2_dq.bin.options import split_words
from espnet2_dq.bin.training import run_training
from espnet2_dq.errors import ConfigError, DQError

UNITS = ("grapheme", "syllable")


def get_parser() -> argparse.ArgumentParser:
    """Our options; every other one is ESPnet's or the task's."""
    parser = argparse.ArgumentParser(
        prog="hier_train", description=__doc__, add_help=False, allow_abbrev=False
    )
    add = parser.add_argument
    add("--train_data", type=Path, help="data directory to train on")
    add("--valid_data", type=Path, help="data directory to validate on")
    add("--units_dir", type=Path, help="holds grapheme/ and syllable/tokens.txt")
    add("--heads", nargs="+", help="grapheme, syllable (default: model_conf, both)")
    add("--lang", help="train and validate on this language only")
    add("--output_dir", type=Path, help="experiment directory")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Select the usable utterances, then train."""
    ours, rest = get_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    asked = {"-h", "--help"} & set(rest)
    if asked:
        get_parser().print_help()
    try:
        heads = choose_heads(ours.heads, _model_conf(rest))
        options = [] if asked else prepare(ours, heads, _model_conf(rest))
    except DQError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    from espnet2_dq.tasks.hierarchical import HierarchicalTask

    streams = tuple((f"{head}.int", head, "text_int") for head in heads)
    return run_training(HierarchicalTask, rest + options, streams)


def choose_heads(asked: list[str] | None, model_conf: dict[str, Any]) -> list[str]:
    """Heads in the model's order.

    Raises:
        ConfigError: A name that is no head.
    """
    names = split_words(asked) if asked else list(model_conf.get("heads") or UNITS)
    unknown = [name for name in names if name not in UNITS]
    if unknown or not names:
        wrong = repr(unknown[0]) if unknown else "none"
        raise ConfigError(f"--heads: {wrong}; one or both of {', '.join(UNITS)}")
    return [unit for unit in UNITS if unit in names]


def prepare(
    ours: argparse.Namespace, heads: list[str], model_conf: dict[str, Any]
) -> list[str]:
    """Write ``<output_dir>/data/{train,valid}``; return the task's options.

    Raises:
        ConfigError: An option is missing.
        DataError: Nothing to train on, or files that do not fit together.
    """
    from espnet2_dq.asr.tokens import read_tokens
    from espnet2_dq.asr.training_set import Stream, prepare_streams

    for name in ("train_data", "valid_data", "units_dir", "output_dir"):
        if getattr(ours, name) is None:
            raise ConfigError(f"--{name}: missing; see --help")
    options = ["--output_dir", str(ours.output_dir)]
    options += ["--model_conf", f"heads=[{', '.join(heads)}]"]
    streams = []
    for head in heads:
        tokens = ours.units_dir / head / "tokens.txt"
        streams.append(Stream(head, len(read_tokens(tokens)), f"{head}.int"))
        options += ["--token_lists", f"{head}={tokens}"]
    for mode in ("train", "valid"):
        target = ours.output_dir / "data" / mode
        report = prepare_streams(
            getattr(ours, f"{mode}_data"),
            streams,
            target,
            lang=ours.lang,
            subsample=int(model_conf.get("subsample", 1)),
        )
        print(f"{mode}: {report}", file=sys.stderr)
        options += [f"--{mode}_data", str(target)]
    return options


def _model_conf(argv: list[str]) -> dict[str, Any]:
    """``model_conf`` of the YAML file: heads, and frames for the feasibility count."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    config = parser.parse_known_args(argv)[0].config
    if config is None or not config.exists():
        return {}
    content = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    return dict(content.get("model_conf") or {})


if __name__ == "__main__":
    sys.exit(main())
