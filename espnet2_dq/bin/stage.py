"""Run one recipe stage unless its done-mark says that nothing has changed."""

import argparse
import contextlib
import datetime
import fcntl
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet2_dq.bin.options import str_to_bool
from espnet2_dq.errors import ConfigError, DQError
from espnet2_dq.recipe.digest import all_digests
from espnet2_dq.recipe.marks import (
    Decision,
    Mark,
    Stage,
    attempt_file,
    checked_outputs,
    clear_way,
    decide,
    missing_inputs,
    read_mark,
    write_mark,
)
from espnet2_dq.recipe.processes import die_with_parent
from espnet2_dq.recipe.runner import failure_report, launched_command, run_logged

EXIT_BAD_SETUP = 2


def get_parser() -> argparse.ArgumentParser:
    """Options before ``--``; the stage's command after it."""
    parser = argparse.ArgumentParser(
        prog="python -m espnet2_dq.bin.stage",
        description=__doc__,
        usage="%(prog)s --name NAME --mark FILE [options] -- command [args...]",
    )
    add = parser.add_argument
    add("--name", required=True, help="stage, as in messages: 06_pretrain")
    add("--mark", required=True, type=Path, help="done-mark, a JSON file")
    add("--input", action="append", default=[], type=Path, help="file or directory")
    add("--output", action="append", default=[], type=Path, help="file or directory")
    add("--input_if", action="append", default=[], type=Path, help="may be missing")
    add("--output_if", action="append", default=[], type=Path, help="may be missing")
    add("--param", action="append", default=[], help="K=V, part of what is compared")
    add("--log", type=Path, help="default: beside the mark")
    add("--launcher", action="append", default=[], help="word of run.pl's command")
    add("--jobs", type=int, default=0, help="with --launcher: array JOB=1:N")
    add("--fresh", type=Path, help="directory that only an interrupted run goes on in")
    add("--restart", type=str_to_bool, default=False, help="not even that one")
    add("--dry_run", type=str_to_bool, default=False, help="say what would run")
    add("--force", type=str_to_bool, default=False, help="run even if done")
    add("command", nargs="+", help="what to run; 'python' is this interpreter")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Decide, say so in one line, run, check, mark; return the exit code."""
    arguments = get_parser().parse_args(argv)
    stage = Stage(
        name=arguments.name,
        command=arguments.command,
        inputs=arguments.input,
        outputs=arguments.output,
        optional_inputs=arguments.input_if,
        optional_outputs=arguments.output_if,
        params=_parameters(arguments.param),
    )
    try:
        return _main(stage, arguments)
    except DQError as error:
        print(f"{stage.name}: {error}", file=sys.stderr)
        return EXIT_BAD_SETUP


def _main(stage: Stage, arguments: argparse.Namespace) -> int:
    decision = decide(stage, read_mark(arguments.mark))
    if arguments.force or arguments.restart:
        decision = Decision(True, "forced")
    verb = "run" if decision.run else "skip"
    print(f"stage {stage.name}: {verb} ({decision.reason})", flush=True)
    log = arguments.log or arguments.mark.with_suffix(".log")
    words = launched_command(
        stage.command, arguments.launcher, str(log), arguments.jobs
    )
    if arguments.dry_run:
        if decision.run:
            print(f"  {shlex.join(words)}")
        return 0
    if not decision.run:
        return 0
    if arguments.restart:
        attempt_file(arguments.mark).unlink(missing_ok=True)
    die_with_parent()
    with _only_one(arguments.mark):
        return _run(stage, arguments, words, log)


def _parameters(pairs: Sequence[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--param {pair}: expected K=V")
        values[key] = value
    return values


@contextlib.contextmanager
def _only_one(mark: Path) -> Iterator[None]:
    """Hold the lock of the mark's directory; a second run of the recipe is refused."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    path = mark.parent / "lock"
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise ConfigError(
                f"another run works on {mark.parent.parent} ({stream.read().strip()});"
                " wait for it or end it"
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node()}\n")
        stream.flush()
        yield


def _run(
    stage: Stage, arguments: argparse.Namespace, words: list[str], log: Path
) -> int:
    missing = missing_inputs(stage)
    if missing:
        raise ConfigError(f"input {', '.join(missing)} missing: run the stage before")
    # Digests of what the command reads now; a file changed meanwhile shows next time.
    inputs = all_digests(stage.inputs + stage.optional_inputs)
    if arguments.fresh:
        moved = clear_way(stage, inputs, arguments.mark, arguments.fresh)
        if moved:
            print(f"stage {stage.name}: an earlier run was moved to {moved}")
    arguments.mark.unlink(missing_ok=True)
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    result = run_logged(words, log, launched=bool(arguments.launcher))
    if result.code:
        print(
            f"{failure_report(log)}\nstage {stage.name}: FAILED with code "
            f"{result.code} after {result.seconds:.0f} s",
            file=sys.stderr,
        )
        return result.code
    mark = Mark(
        stage=stage.name,
        command=stage.command,
        params=stage.params,
        inputs=inputs,
        outputs=checked_outputs(stage),
        started=started,
        seconds=round(result.seconds, 3),
        cpu_seconds=round(result.cpu_seconds, 3),
        host=platform.node(),
    )
    write_mark(arguments.mark, mark)
    print(f"stage {stage.name}: done in {result.seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
