"""What the training entry points do around ESPnet's ``Task.main``."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import yaml

from espnet2_dq.errors import ConfigError, DQError
from espnet2_dq.recipe.overlay import merged_config

MERGED = "merged.yaml"


def run_training(
    task: Any, argv: list[str], streams: tuple[tuple[str, str, str], ...] = ()
) -> int:
    """Turn data directories into ESPnet's file arguments and train.

    Args:
        task: Task class.
        argv: Command line: ours below, everything else is ESPnet's.
        streams: Further streams as (file in the data directory, name, type).

    Returns:
        Exit code: 1 with a message for errors that we raise on purpose.
    """
    from espnet2_dq.tasks.base import check_config_keys, prepare_process

    ours = argparse.ArgumentParser(add_help=False)
    ours.add_argument("--train_data", type=Path, help="data directory to train on")
    ours.add_argument("--valid_data", type=Path, help="data directory to validate on")
    add_overlay_options(ours)
    known, rest = ours.parse_known_args(argv)
    parser = task.get_parser()
    if "--help" in rest or "-h" in rest:
        ours.print_help()
    try:
        if known.overlay is not None:
            rest = lay_overlay(known, rest, parser)
        for path in _config_files(rest):
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            check_config_keys(parser, content, str(path))
        args = parser.parse_args(rest + data_arguments(known, streams))
        prepare_process(args)
        task.main(args=args)
    except DQError as error:
        logging.debug("traceback", exc_info=True)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def add_overlay_options(parser: argparse.ArgumentParser) -> None:
    """``--overlay`` and ``--overlay_size``, wherever a configuration is read."""
    parser.add_argument(
        "--overlay", type=Path, help="row to lay over --config: conf/rows/<row>.yaml"
    )
    parser.add_argument(
        "--overlay_size",
        help="sections of the row that apply, as mini (default: what follows train_ssl_"
        " in the name of --config)",
    )


def lay_overlay(known: argparse.Namespace, argv: list[str], parser: Any) -> list[str]:
    """Merge the overlay into the configuration, before ESPnet reads it.

    What was merged stays in ``<output_dir>/merged.yaml``, which then is ``--config``.

    Args:
        known: ``overlay``, ``overlay_size``.
        argv: ESPnet's part of the command line.
        parser: The task's, which knows all keys.

    Returns:
        ``argv`` with the merged file as ``--config``.

    Raises:
        ConfigError: No ``--config`` or ``--output_dir``, or an unknown key.
    """
    from espnet2_dq.tasks.base import check_config_keys

    places = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--config", "--output_dir"):
        places.add_argument(name, type=Path)
    found = places.parse_known_args(argv)[0]
    for name in ("config", "output_dir"):
        if getattr(found, name) is None:
            raise ConfigError(f"--overlay needs --{name}")
    merged = merged_config(found.config, known.overlay, known.overlay_size)
    for layer in merged.layers:
        check_config_keys(parser, dict(layer.values), str(layer))
    path = found.output_dir / MERGED
    merged.write(path)
    logging.info("%s: %s", path, ", ".join(str(layer) for layer in merged.layers))
    # The last one counts, and so do options of the command line over it.
    return [*argv, "--config", str(path)]


def data_arguments(
    known: argparse.Namespace, streams: tuple[tuple[str, str, str], ...]
) -> list[str]:
    """ESPnet's data options for our directories; none where none was given."""
    options: list[str] = []
    for mode in ("train", "valid"):
        folder: Path | None = getattr(known, f"{mode}_data")
        if folder is None:
            continue
        files = (("wav.scp", "speech", "audio"), *streams)
        for name, stream, kind in files:
            value = f"{folder / name},{stream},{kind}"
            options += [f"--{mode}_data_path_and_name_and_type", value]
        options += [f"--{mode}_shape_file", str(folder / "utt2num_samples")]
        if mode == "train" and (folder / "utt2lang").exists():
            options += ["--utt2lang", str(folder / "utt2lang")]
    return options


def _config_files(argv: list[str]) -> list[Path]:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config", type=Path)
    config = parser.parse_known_args(argv)[0].config
    return [config] if config is not None and config.exists() else []
