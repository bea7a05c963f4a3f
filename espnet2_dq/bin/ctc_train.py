"""Fine-tune with CTC to phonemes or characters (stage 9)."""

import argparse
import sys
from pathlib import Path

import yaml

from espnet2_dq.bin.training import run_training
from espnet2_dq.errors import ConfigError, DQError

STREAMS = (("text.int", "text", "text_int"),)


def get_parser() -> argparse.ArgumentParser:
    """Our options; every other one is ESPnet's or the task's."""
    parser = argparse.ArgumentParser(
        prog="ctc_train", description=__doc__, add_help=False, allow_abbrev=False
    )
    parser.add_argument("--train_data", type=Path, help="data directory to train on")
    parser.add_argument("--valid_data", type=Path, help="data directory to validate on")
    parser.add_argument("--units_dir", type=Path, help="directory of tokens.txt")
    parser.add_argument("--unit", help="phn or char: <unit>.int in the directories")
    parser.add_argument("--lang", help="train and validate on this language only")
    parser.add_argument("--output_dir", type=Path, help="experiment directory")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Select the usable utterances, then train."""
    ours, rest = get_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    asked = {"-h", "--help"} & set(rest)
    if asked:
        get_parser().print_help()
    try:
        options = [] if asked else prepare(ours, _subsample(rest))
    except DQError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    from espnet2_dq.tasks.ctc import CTCTask

    return run_training(CTCTask, rest + options, STREAMS)


def prepare(ours: argparse.Namespace, subsample: int) -> list[str]:
    """Write ``<output_dir>/data/{train,valid}``; return the task's options.

    Raises:
        ConfigError: An option is missing.
        DataError: Nothing to train on, or files that do not fit together.
    """
    from espnet2_dq.asr.tokens import read_tokens
    from espnet2_dq.asr.training_set import prepare_set

    for name in ("train_data", "valid_data", "units_dir", "unit", "output_dir"):
        if getattr(ours, name) is None:
            raise ConfigError(f"--{name}: missing; see --help")
    tokens = ours.units_dir / "tokens.txt"
    options = ["--output_dir", str(ours.output_dir), "--token_list", str(tokens)]
    for mode in ("train", "valid"):
        target = ours.output_dir / "data" / mode
        report = prepare_set(
            getattr(ours, f"{mode}_data"),
            ours.unit,
            target,
            num_tokens=len(read_tokens(tokens)),
            lang=ours.lang,
            subsample=subsample,
        )
        print(f"{mode}: {report}", file=sys.stderr)
        options += [f"--{mode}_data", str(target)]
    return options


def _subsample(argv: list[str]) -> int:
    """``model_conf.subsample`` of the YAML file, for the feasibility count."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    config = parser.parse_known_args(argv)[0].config
    if config is None or not config.exists():
        return 1
    content = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    return int((content.get("model_conf") or {}).get("subsample", 1))


if __name__ == "__main__":
    sys.exit(main())
