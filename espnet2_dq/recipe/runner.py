"""Run one stage's command: log, echo, time, end cleanly on a signal."""

import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.recipe.processes import (
    end_trees,
    exit_code,
    last_lines,
    on_signals,
    spawn,
)

FOLLOW_EVERY_S = 30.0
SHOWN_WIDTH = 200


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    seconds: float
    cpu_seconds: float


def launched_command(
    command: Sequence[str], launcher: Sequence[str], log: str, jobs: int
) -> list[str]:
    """The words to execute: ``launcher [JOB=1:N] LOG command``.

    The word ``python`` stands for the interpreter that runs us, so that a mark
    does not depend on where the virtual environment lies.
    """
    words = [sys.executable if word == "python" else word for word in command[:1]]
    words += command[1:]
    if not launcher:
        return words
    array = [f"JOB=1:{jobs}"] if jobs > 1 else []
    return [*launcher, *array, log, *words]


def run_logged(command: Sequence[str], log: Path, *, launched: bool) -> Result:
    """Run ``command`` to its end.

    Args:
        command: Words to execute.
        log: Its output is written here and echoed; with ``launched`` the command
            writes this file itself, and its latest line is shown now and then.
        launched: Whether the command is a launcher (run.pl and its like).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started, cpu = time.monotonic(), _cpu_seconds()
    child = spawn(command, output=None if launched else subprocess.PIPE)
    signalled: list[int] = []

    def stop(signum: int) -> None:
        signalled.append(signum)
        end_trees([child], signum)

    with on_signals(stop):
        if launched:
            _follow(child, log)
        else:
            _tee(child, log)
    code = 128 + signalled[0] if signalled else exit_code(child.wait())
    return Result(code, time.monotonic() - started, _cpu_seconds() - cpu)


def failure_report(log: Path, count: int = 20) -> str:
    """The end of the log that tells the failure, and where it lies.

    In the log's name of a job array JOB stands for the job's number; then the
    first log that does not end with status 0 is shown.
    """
    logs = sorted(log.parent.glob(log.name.replace("JOB", "*"))) or [log]
    failed = [path for path in logs if not _ended_well(path)] or logs
    lines = "\n".join(f"  | {line}" for line in last_lines(failed[0], count))
    return f"{lines}\nlog: {failed[0]}"


def _ended_well(log: Path) -> bool:
    end = " ".join(last_lines(log, 1))
    return "code 0" in end or "status 0" in end


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tee(child: "subprocess.Popen[bytes]", log: Path) -> None:
    """Copy the child's output to the log and to our stdout as it comes."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    with log.open("wb") as stream:
        while block := os.read(descriptor, 65536):
            stream.write(block)
            stream.flush()
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()


def _follow(child: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the child; show the newest line of its log now and then."""
    first = Path(str(log).replace("JOB", "1"))
    shown = ""
    deadline = time.monotonic() + FOLLOW_EVERY_S
    while child.poll() is None:
        select.select([], [], [], 0.1)
        if time.monotonic() < deadline:
            continue
        deadline = time.monotonic() + FOLLOW_EVERY_S
        line = "".join(last_lines(first, 1))[:SHOWN_WIDTH]
        if line and line != shown:
            print(f"  ... {line}", flush=True)
            shown = line
