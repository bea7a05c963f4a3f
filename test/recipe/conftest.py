"""The recipe as a user calls it, in a directory of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs2" / "commonvoice_dq" / "ssl1"
# A few updates on seconds of audio: every part runs, nothing is learnt.
SMOKE = (
    *("--corpus", "mini", "--mini_scale", "smoke", "--recorded", "no"),
    *("--train_config", "conf/tuning/train_ssl_smoke.yaml"),
    *("--finetune_config", "conf/tuning/train_ctc_smoke.yaml"),
    *("--finetune_minutes", "0.2", "--ngpu", "0", "--python", sys.executable),
)


class Recipe:
    """``run.sh`` with a working directory."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def script(self) -> str:
        """Path of ``run.sh``."""
        return str(RECIPE / "run.sh")

    def __call__(self, *options: str, **variables: str) -> "Outcome":
        inherited = {k: v for k, v in os.environ.items() if k != "DQ_PYTHON"}
        done = subprocess.run(
            [self.script(), "--work_dir", str(self.work), *options],
            env={**inherited, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)


class Outcome:
    """What a call of the recipe printed and returned."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output

    def stages(self, verb: str) -> list[str]:
        """Names of the stages that ``run`` or were ``skip``ped."""
        prefix = "stage "
        return [
            line.removeprefix(prefix).split(":")[0]
            for line in self.output.splitlines()
            if line.startswith(prefix) and f": {verb} (" in line
        ]


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    return Recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def smoke_options():
    return SMOKE
