"""Why a row failed, read from its logs: a collapse, an explosion, or an error."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from espnet2_dq.recipe.processes import last_lines

Kind = Literal["collapse", "explosion", "error"]
MAX_CAUSE = 400
_LINES = 400
# As training prints it: CollapseError: phoneme quantizer group 1: uses 1 code ...
_ERROR = re.compile(r"(?:\w+\.)*(\w*(?:Error|Exception|Interrupt|Exit)): (.+)")
_OWN_ERROR = re.compile(r"([\w.]+): error: (.+)")
_FAILED_STAGE = re.compile(r"stage (\S+): FAILED with code")
_NAMED_LOG = re.compile(r"^log: (\S.*)")
# What a CollapseError names where numbers are no longer finite.
_NOT_FINITE = ("explosion", "loss, gradient or gauge")


@dataclass(frozen=True)
class Failure:
    """How a row ended.

    Attributes:
        kind: ``collapse`` and ``explosion`` are results, ``error`` is none.
        cause: The last error line; names the block.
        stage: Which stage it was, or "".
        log: Where to look.
    """

    kind: Kind
    cause: str
    stage: str
    log: str


def find_failure(log: Path, code: int) -> Failure:
    """Read the cause from the log of a row, which names the log of its stage.

    Args:
        log: What ``run.sh`` has printed.
        code: Its exit code.
    """
    lines = last_lines(log, _LINES)
    stage = _last(_FAILED_STAGE, lines) or ""
    named = _last(_NAMED_LOG, lines)
    inner = Path(named) if stage and named else None
    for path in filter(None, (inner, log)):
        found = cause_in(path)
        if found is not None:
            return Failure(kind_of(found), found, stage, str(path))
    reason = "killed (out of memory?)" if code == 137 else f"exit code {code}"
    shown = (last_lines(inner, _LINES) if inner else []) or lines
    end = next((line for line in shown[::-1] if not line.startswith("#")), "")
    cause = f"{reason}: {end}"[:MAX_CAUSE]
    return Failure("error", cause, stage, str(inner or log))


def cause_in(log: Path) -> str | None:
    """The last line of a log that is an error message."""
    for line in reversed(last_lines(log, _LINES)):
        text = line.removeprefix("  | ").strip()
        found = _ERROR.fullmatch(text) or _OWN_ERROR.fullmatch(text)
        if found is not None:
            return f"{found[1]}: {found[2]}"[:MAX_CAUSE]
    return None


def kind_of(cause: str) -> Kind:
    """What an error line stands for.

    >>> kind_of("CollapseError: phoneme quantizer group 1: uses 1 code")
    'collapse'
    >>> kind_of("CollapseError: loss, gradient or gauge: loss is nan")
    'explosion'
    """
    name, _, rest = cause.partition(": ")
    if name != "CollapseError":
        return "error"
    return "explosion" if rest.startswith(_NOT_FINITE) else "collapse"


def _last(pattern: re.Pattern[str], lines: list[str]) -> str | None:
    found = [match[1] for line in lines if (match := pattern.search(line))]
    return found[-1] if found else None
