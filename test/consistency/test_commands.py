"""Every entry point: --help works, light ones stay light; every YAML is known."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BINS = sorted(
    path.stem
    for path in (ROOT / "espnet2_dq" / "bin").glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)
TRAINING = {"ssl_train", "ctc_train"}
# Build a model without a task: torch, but never ESPnet's task modules.
NETWORK = {"analyse", "decode"}
HEAVY_TASKS = ("espnet2.tasks", "transformers", "nltk", "g2p_en", "librosa", "numba")

PROBE = """
import contextlib, io, runpy, sys
sys.argv = ["x", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
    runpy.run_module("espnet2_dq.bin.{name}", run_name="__main__")
assert len(out.getvalue()) > 100, out.getvalue()
print(*sorted(m for m in sys.modules if m.startswith({prefixes!r})))
"""


def loaded(name, prefixes):
    """Modules that ``--help`` of a command has imported, of those asked about."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(name=name, prefixes=prefixes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_stage_has_its_command():
    wanted = {"prepare_mini", "prepare_commonvoice", "prepare_kaldi", "check_data"}
    wanted |= {"filter_data", "units", "stats", "ssl_train", "analyse", "subset"}
    wanted |= {"ctc_train", "decode", "score", "report", "pack", "stage", "env"}
    assert wanted <= set(BINS)


@pytest.mark.parametrize("name", sorted(set(BINS) - TRAINING))
def test_help_is_light(name):
    assert loaded(name, ("torch", *HEAVY_TASKS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRAINING))
def test_training_help_works_without_the_slow_tasks(name):
    slow = ("espnet2.tasks.asr", "espnet2.tasks.ssl", "espnet2.train.preprocessor")
    assert loaded(name, slow) == []


CONFIGS = sorted((ROOT / "egs2").glob("*/*/conf/**/*.y*ml"))


def test_configurations_are_found():
    assert {"train_ssl_mini.yaml", "train_ctc_mini.yaml"} <= {p.name for p in CONFIGS}


def is_kind(path, kind):
    return path.name.startswith(f"train_{kind}")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_configuration_says_what_it_needs(path):
    """The head of each file names hardware and audio per update."""
    head = path.read_text(encoding="utf-8")[:2000].lower()
    assert is_kind(path, "ssl") or is_kind(path, "ctc")
    for word in ("hardware", "audio"):
        assert word in head, f"{path}: say the {word} in the first comment"


@pytest.fixture(scope="module")
def tasks():
    from espnet2_dq.tasks.ctc import CTCTask
    from espnet2_dq.tasks.ssl import DQSSLTask

    return {"ssl": DQSSLTask, "ctc": CTCTask}


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_key_of_a_configuration_is_known(path, tasks):
    from espnet2_dq.tasks.base import check_config_keys

    task = tasks["ssl" if is_kind(path, "ssl") else "ctc"]
    parser = task.get_parser()
    check_config_keys(parser, yaml.safe_load(path.read_text()), str(path))
    args = parser.parse_args(["--config", str(path), "--output_dir", "x"])
    assert args.max_epoch
    assert task.updates_total(args) > 0
