"""Where and with what a run was made: versions, commit, machine. Imports no torch."""

import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from espnet2_dq import __version__

PACKAGES = (
    "espnet",
    "torch",
    "torchaudio",
    "numpy",
    "phonemizer",
    "espeakng-loader",
    "soundfile",
    "sentencepiece",
)


@dataclass(frozen=True)
class Environment:
    """What a log, a report and an issue need to name."""

    python: str
    system: str
    host: str
    cpu: str
    cores: int
    memory_gib: float
    gpus: list[str]
    commit: str
    dirty: bool
    packages: dict[str, str]
    virtual_env: str

    def lines(self) -> list[str]:
        """One line per fact, for a log's first lines."""
        state = f"{self.commit}{' + uncommitted changes' if self.dirty else ''}"
        return [
            f"python {self.python} on {self.system}",
            f"host {self.host}: {self.cpu}, {self.cores} cores, "
            f"{self.memory_gib:.1f} GiB; GPU: {', '.join(self.gpus) or 'none'}",
            f"commit {state}",
            *(f"{name} {version}" for name, version in self.packages.items()),
        ]

    def as_dict(self) -> dict[str, object]:
        """Plain mapping for JSON."""
        return asdict(self)


@functools.cache
def environment() -> Environment:
    """Collect the facts once per process."""
    commit, dirty = _commit()
    return Environment(
        python=platform.python_version(),
        system=platform.platform(),
        host=platform.node(),
        cpu=_cpu_name(),
        cores=_cores(),
        memory_gib=_memory_gib(),
        gpus=_gpus(),
        commit=commit,
        dirty=dirty,
        packages={
            "espnet2_dq": __version__,
            **{name: _version(name) for name in PACKAGES},
        },
        virtual_env=sys.prefix if sys.prefix != sys.base_prefix else "",
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _output(*command: str) -> str:
    """A command's output, empty if it fails or does not exist."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _commit() -> tuple[str, bool]:
    """Hash of the checkout that we run from, and whether it was changed since."""
    here = str(Path(__file__).resolve().parents[2])
    if not Path(here, ".git").exists():
        return "unknown (not a checkout)", False
    commit = _output("git", "-C", here, "rev-parse", "--short=12", "HEAD")
    changes = _output("git", "-C", here, "status", "--porcelain", "-uno")
    return commit or "unknown", bool(changes)


def _cpu_name() -> str:
    with_name = Path("/proc/cpuinfo")
    if with_name.exists():
        for line in with_name.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use, which a container may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _gpus() -> list[str]:
    listing = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv")
    return listing.splitlines()[1:]
