"""Child processes that never outlive the recipe, whatever happens to it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# Training writes one line with all losses and gauges: about 1.5 kB.
MAX_LINE_BYTES = 4096


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, even by SIGKILL (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _load_libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    return ctypes.CDLL(None, use_errno=True)


# Loaded before any fork: nothing may be imported between fork and exec.
_LIBC = _load_libc()


def spawn(
    command: Sequence[str],
    *,
    output: int | IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, so that its whole tree can be ended.

    Args:
        command: Program and arguments.
        output: Where stdout and stderr go (``subprocess.PIPE``, a file, or ours).
        environment: Variables that are added to ours.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def end_trees(children: Sequence[subprocess.Popen[bytes]], signum: int) -> None:
    """Send ``signum`` to the children's sessions; SIGKILL after ten seconds."""
    for child in children:
        _signal_session(child, signum)
    deadline = time.monotonic() + GRACE_S
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        # The leader may be gone while a grandchild ignores the signal.
        _signal_session(child, signal.SIGKILL)
        child.wait()


def _signal_session(child: subprocess.Popen[bytes], signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signum)


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP in a list for the loop in the block to see.

    The handler does nothing else: waiting for a child in it would dead-lock when
    the signal comes while the loop asks for the state of that very child.
    """
    caught: list[int] = []

    def handler(signum: int, _frame: FrameType | None) -> None:
        caught.append(signum)

    previous = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield caught
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def exit_code(returncode: int) -> int:
    """The shell's exit code: 128 + N for a process that signal N ended."""
    return 128 - returncode if returncode < 0 else returncode


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a text file; none if it cannot be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - MAX_LINE_BYTES * count))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    # Progress bars rewrite their line: keep what a terminal would show last.
    return [line.split("\r")[-1] for line in text.split("\n") if line][-count:]
