"""The Kaldi job contract on this machine: ``[--opt value]... [JOB=1:N] LOG command``.

What ``cmd.sh`` names run.pl: options first, then an optional job array, then the
log, then the command. A cluster's own scripts (slurm.pl, queue.pl) have the same
contract and take the place of this one when they stand earlier on PATH.
"""

import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.processes import (
    caught_signals,
    end_trees,
    exit_code,
    last_lines,
    spawn,
)

POLL_S = 0.05
USAGE = (
    "[--gpu N] [--max-jobs-run N] [--option VALUE]... [JOB=1:N] LOG command [arg]..."
)
_ARRAY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=([0-9]+)(?::([0-9]+))?")


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    log: str
    command: list[str]
    gpus: int = 0
    max_jobs: int = 0
    variable: str = ""
    first: int = 1
    last: int = 1

    def job(self, number: int) -> tuple[Path, str]:
        """Log and bash command line of one job; its number replaces the variable."""
        log, line = self.log, bash_line(self.command)
        if self.variable:
            log = log.replace(self.variable, str(number))
            line = line.replace(self.variable, str(number))
        return Path(log), line


@dataclass
class Job:
    """A started job."""

    number: int
    process: "subprocess.Popen[bytes]"
    stream: IO[bytes]
    log: Path
    started: float
    gpus: str


def parse(words: Sequence[str]) -> Request:
    """Read the contract's words; options that only a cluster needs are ignored.

    Raises:
        ConfigError: No log or no command, or an array that cannot be.
    """
    words = list(words)
    options: dict[str, str] = {}
    while words and words[0].startswith("-"):
        if len(words) < 2:
            raise ConfigError(f"option {words[0]} has no value; usage: {USAGE}")
        name = words.pop(0).lstrip("-").replace("_", "-")
        options[name] = words.pop(0)
    array = _ARRAY.fullmatch(words[0]) if words else None
    variable, first, last = "", 1, 1
    if array:
        words.pop(0)
        variable, first = array[1], int(array[2])
        last = int(array[3] or array[2])
    if len(words) < 2:
        raise ConfigError(f"a log and a command are needed; usage: {USAGE}")
    log, *command = words
    if last < first or first < 1:
        raise ConfigError(
            f"{variable}={first}:{last}: must start at 1 and not end below"
        )
    if last > first and variable not in log:
        raise ConfigError(f"log {log} must contain {variable}: each job has its own")
    return Request(
        log=log,
        command=command,
        gpus=_count(options, "gpu"),
        max_jobs=_count(options, "max-jobs-run"),
        variable=variable,
        first=first,
        last=last,
    )


def _count(options: dict[str, str], name: str) -> int:
    value = options.get(name, "0")
    if not value.isdigit():
        raise ConfigError(f"--{name} {value}: expected a whole number")
    return int(value)


def bash_line(command: Sequence[str]) -> str:
    """Join words for bash: one without white space goes verbatim, others quoted.

    So ``'>'`` and ``'|'`` given as words of their own work as in Kaldi.
    """
    return " ".join(
        shlex.quote(word) if not word or re.search(r"\s", word) else word
        for word in command
    )


def visible_gpus() -> list[str]:
    """Indices of the GPUs that jobs may use; empty without a driver."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, text=True, check=False
    )
    lines = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))]


def run(request: Request) -> int:
    """Run all jobs, as many at once as fit; 0 only if every one ended with 0."""
    free_gpus = visible_gpus() if request.gpus else []
    if request.gpus and len(free_gpus) < request.gpus:
        raise ConfigError(
            f"--gpu {request.gpus}: this machine has {len(free_gpus)} GPU(s); "
            "give --ngpu 0 to run.sh or set cmd_backend in cmd.sh"
        )
    limit = request.max_jobs or os.cpu_count() or 1
    waiting = list(range(request.first, request.last + 1))
    running: list[Job] = []
    failed: dict[Path, int] = {}
    with caught_signals() as signals:
        while waiting or running:
            if signals:
                waiting.clear()
                end_trees([job.process for job in running], signals[0])
            while waiting and len(running) < limit:
                if len(free_gpus) < request.gpus:
                    break
                gpus, free_gpus = free_gpus[: request.gpus], free_gpus[request.gpus :]
                running.append(_start(request, waiting.pop(0), gpus))
            time.sleep(POLL_S)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                free_gpus += job.gpus.split(",") if job.gpus else []
                code = _finish(job)
                if code:
                    failed[job.log] = code
    return 128 + signals[0] if signals else _verdict(request, failed)


def _start(request: Request, number: int, gpus: Sequence[str]) -> Job:
    log, line = request.job(number)
    log.parent.mkdir(parents=True, exist_ok=True)
    stream = log.open("wb")
    stream.write(f"# {line}\n# Started at {_now()}\n#\n".encode())
    stream.flush()
    devices = ",".join(gpus)
    process = spawn(
        ["bash", "-o", "pipefail", "-c", line],
        output=stream,
        environment={"CUDA_VISIBLE_DEVICES": devices} if devices else None,
    )
    return Job(number, process, stream, log, time.monotonic(), devices)


def _finish(job: Job) -> int:
    """Close the log with the line that scripts look for; return the exit code."""
    code = exit_code(job.process.wait())
    seconds = time.monotonic() - job.started
    end = f"# Ended (code {code}) at {_now()}, elapsed time {seconds:.0f} seconds\n"
    job.stream.write(end.encode())
    job.stream.close()
    return code


def _verdict(request: Request, failed: dict[Path, int]) -> int:
    """Say what failed; 0, the code that all failed jobs share, or 1."""
    if not failed:
        return 0
    total = request.last - request.first + 1
    for log, code in failed.items():
        end = " / ".join(last_lines(log, 3)[:-1])[-300:]
        hint = " (killed: out of memory?)" if code == 137 else ""
        print(f"run.pl: job failed with code {code}{hint}: {end}", file=sys.stderr)
        print(f"run.pl: log is in {log}", file=sys.stderr)
    if total > 1:
        print(f"run.pl: {len(failed)} of {total} jobs failed", file=sys.stderr)
    codes = set(failed.values())
    return codes.pop() if len(codes) == 1 else 1


def _now() -> str:
    return datetime.datetime.now().astimezone().strftime("%a %b %d %H:%M:%S %Z %Y")
