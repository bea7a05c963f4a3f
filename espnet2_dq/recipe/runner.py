"""Run one stage's command: log, echo, time, end cleanly on a signal."""

import contextlib
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
    caught_signals,
    end_trees,
    exit_code,
    last_lines,
    spawn,
)

FOLLOW_EVERY_S = 30.0
POLL_S = 0.05
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
    """The words to execute: ``launcher [JOB=1:N] LOG command``, 0 jobs: no array.

    The word ``python`` stands for the interpreter that runs us, so that a mark
    does not depend on where the virtual environment lies.
    """
    words = [sys.executable if word == "python" else word for word in command[:1]]
    words += command[1:]
    if not launcher:
        return words
    array = [f"JOB=1:{jobs}"] if jobs else []
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
    with caught_signals() as signals:
        child = spawn(command, output=None if launched else subprocess.PIPE)
        echo = _Follow(log) if launched else _Tee(child, log)
        with contextlib.closing(echo):
            while not signals and echo.step():
                if launched and child.poll() is not None:
                    break
        if signals:
            end_trees([child], signals[0])
        code = 128 + signals[0] if signals else exit_code(child.wait())
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


class _Tee:
    """Copy the child's output to the log and to our stdout as it comes."""

    def __init__(self, child: "subprocess.Popen[bytes]", log: Path) -> None:
        assert child.stdout is not None
        self.source = child.stdout
        self.log = log.open("wb")

    def step(self) -> bool:
        """Copy what has come; ``False`` at the end of the output."""
        ready, _, _ = select.select([self.source], [], [], POLL_S)
        if not ready:
            return True
        block = os.read(self.source.fileno(), 65536)
        self.log.write(block)
        self.log.flush()
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        return bool(block)

    def close(self) -> None:
        """Close both ends."""
        self.source.close()
        self.log.close()


class _Follow:
    """Show the newest line of a log that somebody else writes, now and then."""

    def __init__(self, log: Path) -> None:
        self.log = Path(str(log).replace("JOB", "1"))
        self.shown = ""
        self.deadline = time.monotonic() + FOLLOW_EVERY_S

    def step(self) -> bool:
        """Wait a little; the launcher's end is seen elsewhere."""
        time.sleep(POLL_S)
        if time.monotonic() < self.deadline:
            return True
        self.deadline = time.monotonic() + FOLLOW_EVERY_S
        line = "".join(last_lines(self.log, 1)).split(" INFO: ")[-1][:SHOWN_WIDTH]
        if line and line != self.shown and line[0] not in "# ":
            print(f"  ... {line}", flush=True)
            self.shown = line
        return True

    def close(self) -> None:
        """Nothing is held open."""
