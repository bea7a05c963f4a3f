"""Done-marks: whether a stage has to run, and why, from content and not from dates.

A mark is a JSON file beside what the stage made. The stage is done while its
command, parameters and inputs are those of the mark and its outputs still have
the digests that they had when the stage ended.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.digest import MISSING, all_digests


@dataclass(frozen=True)
class Stage:
    """What a stage is: its command and what it reads and writes.

    Optional files may be missing; that one appears or vanishes is a change, too.
    """

    name: str
    command: list[str]
    inputs: list[Path] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    optional_inputs: list[Path] = field(default_factory=list)
    optional_outputs: list[Path] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """What stands in the mark of a stage that ended well."""

    stage: str
    command: list[str]
    params: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    started: str
    seconds: float
    cpu_seconds: float
    host: str


@dataclass(frozen=True)
class Decision:
    """Whether to run, and the reason in a few words."""

    run: bool
    reason: str


def read_mark(path: Path) -> Mark | None:
    """Read a mark; one that cannot be read counts as none."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Mark(**values)
    except (OSError, ValueError, TypeError):
        return None


def write_mark(path: Path, mark: Mark) -> None:
    """Write ``mark`` so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(asdict(mark), stream, indent=1, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def decide(stage: Stage, mark: Mark | None) -> Decision:
    """Compare what the stage is now with what the mark says it was."""
    if mark is None:
        return Decision(True, "not done yet")
    if mark.params != stage.params:
        return Decision(True, _changed_key(mark.params, stage.params))
    if mark.command != stage.command:
        return Decision(True, _changed_command(mark.command, stage.command))
    difference = _difference(
        mark.inputs, all_digests(stage.inputs + stage.optional_inputs)
    )
    if difference:
        return Decision(True, f"input {difference}")
    now = all_digests(stage.outputs + stage.optional_outputs)
    # Later stages may add files to an output directory; those say nothing.
    now = {name: digest for name, digest in now.items() if name in mark.outputs}
    difference = _difference(mark.outputs, now)
    if difference:
        return Decision(True, f"output {difference}")
    return Decision(False, f"done {mark.started} in {mark.seconds:.0f} s")


def missing_inputs(stage: Stage) -> list[str]:
    """Inputs that are not there, hence the stage cannot run."""
    return [str(path) for path in stage.inputs if not path.exists()]


def checked_outputs(stage: Stage) -> dict[str, str]:
    """Digests of the outputs.

    Raises:
        ConfigError: The command ended well but an output is missing.
    """
    found = all_digests(stage.outputs)
    missing = [name for name, digest in found.items() if digest == MISSING]
    if missing:
        raise ConfigError(
            f"stage {stage.name}: its command ended well but did not write "
            f"{', '.join(missing)}; see its log"
        )
    return {**found, **all_digests(stage.optional_outputs)}


def attempt_file(mark: Path) -> Path:
    """Where an attempt that has not ended yet says what it is."""
    return mark.with_suffix(".attempt")


def clear_way(
    stage: Stage, inputs: dict[str, str], mark: Path, directory: Path
) -> Path | None:
    """Keep a training from going on in what an other training left.

    A directory in which this very stage (command, parameters, inputs) was started
    and not ended stays, so that the training resumes; any other is moved aside.

    Returns:
        Where the directory was moved, or ``None``.
    """
    content = json.dumps([stage.command, stage.params, inputs], sort_keys=True)
    identity = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
    attempt = attempt_file(mark)
    same = attempt.exists() and attempt.read_text(encoding="utf-8") == identity
    ended = mark.exists()
    moved = None
    if directory.exists() and (ended or not same):
        moved = directory.rename(_free_name(directory))
    attempt.parent.mkdir(parents=True, exist_ok=True)
    attempt.write_text(identity, encoding="utf-8")
    return moved


def _free_name(directory: Path) -> Path:
    """``old/pretrain-1`` beside ``pretrain``: patterns such as pretrain* miss it."""
    folder = directory.parent / "old"
    folder.mkdir(exist_ok=True)
    number = 1
    while (name := folder / f"{directory.name}-{number}").exists():
        number += 1
    return name


def _difference(then: dict[str, str], now: dict[str, str]) -> str:
    """Name the first file that differs and how; empty if all are alike."""
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) == now.get(name):
            continue
        if now.get(name, MISSING) == MISSING:
            return f"{name} missing"
        return f"{name} {'changed' if name in then else 'is new'}"
    return ""


def _changed_key(then: dict[str, str], now: dict[str, str]) -> str:
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            return f"{key} changed from {then.get(key)} to {now.get(key)}"
    return "parameters changed"


def _changed_command(then: list[str], now: list[str]) -> str:
    """Show the first word that differs: enough to recognise the option."""
    for index, (old, new) in enumerate(zip(then, now, strict=False)):
        if old != new:
            option = f"{now[index - 1]} " if index else ""
            return f"command changed: {option}{old} -> {new}"
    extra = now[len(then) :] or then[len(now) :]
    verb = "added" if len(now) > len(then) else "removed"
    return f"command changed: {verb} {' '.join(extra)}"
