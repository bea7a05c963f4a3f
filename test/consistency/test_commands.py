"""Every entry point: --help works, light ones stay light; every YAML is known."""

import json
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
TRAINING = {"ssl_train", "ctc_train", "hier_train", "transcoder_train"}
HEAVY = ("torch", "espnet2.", "transformers", "nltk", "g2p_en", "librosa", "numba")
SLOW_TASKS = ("espnet2.tasks.asr", "espnet2.tasks.ssl", "espnet2.train.preprocessor")

# One process for many commands: a module, once loaded, is seen from then on.
PROBE = """
import contextlib, io, json, runpy, sys
names, prefixes = json.loads(sys.argv[1])
found = {}
for name in names:
    sys.argv = ["x", "--help"]
    out = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(out):
        runpy.run_module("espnet2_dq.bin." + name, run_name="__main__")
    modules = [m for m in sys.modules if m.startswith(tuple(prefixes))]
    found[name] = [len(out.getvalue()) > 100, sorted(modules)]
print(json.dumps(found))
"""


def help_of(names, prefixes):
    """By command: whether --help says something, and what heavy modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([sorted(names), prefixes])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_stage_has_its_command():
    wanted = {"prepare_mini", "prepare_commonvoice", "prepare_kaldi", "check_data"}
    wanted |= {"filter_data", "units", "stats", "ssl_train", "analyse", "subset"}
    wanted |= {"ctc_train", "decode", "score", "report", "pack", "stage", "env"}
    wanted |= {"hier_train", "decode_korean", "score_korean", "transcribe"}
    assert wanted <= set(BINS)


def test_help_of_every_command_works_and_is_light():
    names = set(BINS) - TRAINING
    assert help_of(names, HEAVY) == {name: [True, []] for name in names}


@pytest.mark.slow
def test_help_of_training_works_without_the_slow_tasks():
    assert help_of(TRAINING, SLOW_TASKS) == {name: [True, []] for name in TRAINING}


# Rows and tables.yaml are no configurations of their own: test/unit/recipe has theirs.
CONFIGS = sorted((ROOT / "egs2").glob("*/*/conf/**/train_*.y*ml"))
OVERLAYS = sorted((ROOT / "egs2").glob("*/*/conf/rows/*.yaml"))


def test_configurations_are_found():
    names = {p.name for p in CONFIGS}
    assert {f"train_{kind}_mini.yaml" for kind in KINDS} <= names


KINDS = ("ssl", "ctc", "hier", "transcoder")


def kind_of(path):
    return path.name.split("_")[1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_configuration_says_what_it_needs(path):
    """The head of each file names hardware and audio per update."""
    head = path.read_text(encoding="utf-8")[:2000].lower()
    assert kind_of(path) in KINDS
    for word in ("hardware", "audio"):
        assert word in head, f"{path}: say the {word} in the first comment"


@pytest.fixture(scope="module")
def tasks():
    from espnet2_dq.tasks.ctc import CTCTask
    from espnet2_dq.tasks.hierarchical import HierarchicalTask
    from espnet2_dq.tasks.ssl import DQSSLTask
    from espnet2_dq.tasks.transcoder import TranscoderTask

    return {
        "ssl": DQSSLTask,
        "ctc": CTCTask,
        "hier": HierarchicalTask,
        "transcoder": TranscoderTask,
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_key_of_a_configuration_is_known(path, tasks):
    from espnet2_dq.tasks.base import check_config_keys

    task = tasks[kind_of(path)]
    parser = task.get_parser()
    check_config_keys(parser, yaml.safe_load(path.read_text()), str(path))
    args = parser.parse_args(["--config", str(path), "--output_dir", "x"])
    assert args.max_epoch
    assert task.updates_total(args) > 0


@pytest.mark.slow
@pytest.mark.parametrize("path", OVERLAYS, ids=lambda p: p.name)
def test_every_key_of_a_row_is_known(path, tasks):
    from espnet2_dq.recipe.overlay import EXTENDS, read_sections
    from espnet2_dq.tasks.base import check_config_keys

    parser = tasks["ssl"].get_parser()
    for section, values in read_sections(path).items():
        if section != EXTENDS:
            check_config_keys(parser, values or {}, f"{path} ({section})")
