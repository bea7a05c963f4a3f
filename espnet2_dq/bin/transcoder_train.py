"""Train the TransCoder on pairs of phonemes and characters; no audio is read."""

import argparse
import sys
from pathlib import Path

from espnet2_dq.bin.training import run_training
from espnet2_dq.errors import ConfigError, DQError

# File in the data directory -> ESPnet's name of the stream.
STREAMS = {"phn": "src_text", "char": "text"}


def get_parser() -> argparse.ArgumentParser:
    """Our options; every other one is ESPnet's or the task's."""
    parser = argparse.ArgumentParser(
        prog="transcoder_train", description=__doc__, add_help=False, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, help="what transcoder_data wrote")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Name the files of the pairs, then train."""
    ours, rest = get_parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    asked = {"-h", "--help"} & set(rest)
    if asked:
        get_parser().print_help()
    try:
        options = [] if asked else pair_arguments(ours.data)
    except DQError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    from espnet2_dq.tasks.transcoder import TranscoderTask

    return run_training(TranscoderTask, rest + options)


def pair_arguments(data: Path | None) -> list[str]:
    """ESPnet's options for a directory of pairs.

    Raises:
        ConfigError: No directory, or not one that ``transcoder_data`` wrote.
    """
    if data is None:
        raise ConfigError("--data: missing; give what transcoder_data wrote")
    options = ["--src_token_list", str(data / "phn_tokens.txt")]
    options += ["--token_list", str(data / "char_tokens.txt")]
    for mode in ("train", "valid"):
        for name, stream in STREAMS.items():
            file = data / mode / f"{name}.int"
            if not file.is_file():
                raise ConfigError(
                    f"--data {data}: no {mode}/{name}.int; run transcoder_data first"
                )
            value = f"{file},{stream},text_int"
            options += [f"--{mode}_data_path_and_name_and_type", value]
            options += [f"--{mode}_shape_file", str(file.with_suffix(".len"))]
    return options


if __name__ == "__main__":
    sys.exit(main())
