"""Runs rows of the tables beside each other; a row that fails does not stop others."""

import contextlib
import datetime
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from espnet2_dq.recipe.processes import caught_signals, end_trees, exit_code, spawn
from espnet2_dq.recipe.row_failure import Failure, find_failure
from espnet2_dq.recipe.table_plan import RowRun

POLL_S = 0.1
LOG_NAME, STATE_NAME = "row.log", "row.json"
# Called with a run that has ended; what it returns is how it ended after all.
OnEnd = Callable[["RowRun", "Failure | None"], "Failure | None"]


@dataclass(frozen=True)
class State:
    """How a run ended: ``<exp>/row.json``.

    Attributes:
        digest: Of what was run (:class:`RowRun`).
        failure: ``None``: it ended well.
    """

    digest: str
    failure: Failure | None = None

    @property
    def final(self) -> bool:
        """Whether another try would end alike: well, in a collapse, in an explosion."""
        return self.failure is None or self.failure.kind != "error"


def read_state(exp: Path) -> State | None:
    """How the run in ``exp`` ended; ``None`` if it has not, or nobody knows."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        content = json.loads((exp / STATE_NAME).read_text(encoding="utf-8"))
        failure = content.pop("failure")
        return State(**content, failure=Failure(**failure) if failure else None)
    return None


def is_done(run: RowRun) -> bool:
    """Whether this very run has ended, for good."""
    state = read_state(run.exp)
    return state is not None and state.final and state.digest == run.digest


@dataclass
class _Active:
    """A run that is being worked on."""

    run: RowRun
    log: IO[bytes]
    started: float
    waiting: list[list[str]]
    process: "subprocess.Popen[bytes] | None" = None


@dataclass
class Outcome:
    """What became of all runs.

    Attributes:
        failures: Of runs by name, those of earlier calls included.
        signal: That ended the call, 0 without.
    """

    failures: dict[str, Failure] = field(default_factory=dict)
    signal: int = 0

    @property
    def errors(self) -> list[str]:
        """Runs that failed for another reason than collapse or explosion."""
        return [n for n, f in self.failures.items() if f.kind == "error"]


def run_rows(
    runs: Sequence[RowRun],
    jobs: int,
    *,
    threads: int = 0,
    on_end: OnEnd,
) -> Outcome:
    """Run everything, at most ``jobs`` rows at a time.

    Args:
        runs: In order; each comes after the one that it needs.
        jobs: Rows at a time.
        threads: CPU threads of each process, 0 leaves the environment's.
        on_end: Keeps the figures of a run that has ended, well or not.
    """
    waiting, active, outcome = list(runs), list[_Active](), Outcome()
    with caught_signals() as signals:
        while (waiting or active) and not signals:
            for run in _startable(waiting, active, jobs):
                waiting.remove(run)
                if run.needs in outcome.failures:
                    reason = f"needs {run.needs}, which failed"
                    failure = Failure("error", reason, "", str(run.exp / LOG_NAME))
                    _end(run, failure, outcome, on_end)
                    continue
                active.append(_start(run, threads))
            time.sleep(POLL_S)
            for item in list(active):
                if not _advance(item, threads):
                    continue
                active.remove(item)
                _end(item.run, _verdict(item), outcome, on_end)
        if signals:
            processes = [i.process for i in active if i.process is not None]
            end_trees(processes, signals[0])
            outcome.signal = signals[0]
    return outcome


def _startable(
    waiting: list[RowRun], active: list[_Active], jobs: int
) -> Iterator[RowRun]:
    """Runs whose turn it is."""
    free = jobs - len(active)
    unfinished = {run.name for run in waiting} | {item.run.name for item in active}
    for run in list(waiting):
        if free > 0 and run.needs not in unfinished:
            free -= 1
            yield run


def _start(run: RowRun, threads: int) -> _Active:
    run.exp.mkdir(parents=True, exist_ok=True)
    (run.exp / STATE_NAME).unlink(missing_ok=True)
    log = (run.exp / LOG_NAME).open("wb")
    item = _Active(run, log, time.monotonic(), list(run.steps))
    say(f"{run.name}: started; {run.exp / LOG_NAME}")
    _next_step(item, threads)
    return item


def _next_step(item: _Active, threads: int) -> None:
    words = item.waiting.pop(0)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    item.log.write(f"# {now} {shlex.join(words)}\n".encode())
    item.log.flush()
    item.process = spawn(
        interpreter(words), output=item.log, environment=thread_limit(threads)
    )


def _advance(item: _Active, threads: int) -> bool:
    """Start the next step when one has ended; True when the run has."""
    assert item.process is not None
    code = item.process.poll()
    if code is None:
        return False
    if code == 0 and item.waiting:
        _next_step(item, threads)
        return False
    item.log.write(f"# ended with code {exit_code(code)}\n".encode())
    item.log.close()
    return True


def _verdict(item: _Active) -> Failure | None:
    assert item.process is not None
    code = exit_code(item.process.returncode)
    seconds = time.monotonic() - item.started
    say(f"{item.run.name}: {'failed' if code else 'done'} after {seconds:.0f} s")
    return find_failure(item.run.exp / LOG_NAME, code) if code else None


def _end(run: RowRun, failure: Failure | None, outcome: Outcome, on_end: OnEnd) -> None:
    run.exp.mkdir(parents=True, exist_ok=True)
    failure = on_end(run, failure)
    if failure is not None:
        outcome.failures[run.name] = failure
        say(f"{run.name}: {failure.kind}: {failure.cause}")
    text = json.dumps(asdict(State(run.digest, failure)), indent=1, ensure_ascii=False)
    part = run.exp / f".{STATE_NAME}.part"
    part.write_text(f"{text}\n", encoding="utf-8")
    part.replace(run.exp / STATE_NAME)


def run_shared(steps: Sequence[Sequence[str]], *, threads: int = 0) -> int:
    """Run what all rows need, one step after the other; output is the caller's.

    Returns:
        Exit code of the first step that failed, 0 without.
    """
    for words in steps:
        with caught_signals() as signals:
            child = spawn(interpreter(words), environment=thread_limit(threads))
            while child.poll() is None and not signals:
                time.sleep(POLL_S)
            if signals:
                end_trees([child], signals[0])
                return 128 + signals[0]
        if child.returncode:
            return exit_code(child.returncode)
    return 0


def interpreter(words: Sequence[str]) -> list[str]:
    """The words to execute: ``python`` is this interpreter."""
    return [sys.executable if words[0] == "python" else words[0], *words[1:]]


def thread_limit(threads: int) -> dict[str, str]:
    """Environment of a run that shares the cores with others."""
    if not threads or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(threads)}


def say(message: str) -> None:
    """One line, with the time, for whoever waits."""
    now = datetime.datetime.now().astimezone().strftime("%H:%M:%S")
    print(f"{now} {message}", flush=True)
