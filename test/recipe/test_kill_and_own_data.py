"""A training that was killed goes on; a directory of the user's own goes through."""

import os
import signal
import subprocess
import sys
import time

import pytest
from factories import make_kaldi_tree

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recipe_kaldi")]
CONFIG = ("--train_config", "conf/tuning/train_ssl_smoke.yaml")
MACHINE = ("--ngpu", "0", "--python", sys.executable)


@pytest.fixture(scope="module")
def own(recipe, tmp_path_factory):
    """Languages that nobody here has seen, 8 kHz, no transcripts; stages 1-5."""
    folder = tmp_path_factory.mktemp("own")
    root = make_kaldi_tree(folder / "corpus", text=False, rate=8000, utterances=4)
    here = type(recipe)(folder / "work")
    options = ("--corpus", "kaldi", "--data_root", str(root), *CONFIG, *MACHINE)
    options += ("--pretrain_args", "--batch_seconds 4 --max_epoch 6")
    outcome = here(*options, "--stop_stage", "5")
    assert outcome.code == 0, outcome.output[-3000:]
    return here, options, outcome


def test_sets_without_text_serve_pretraining_only(own):
    here, options, outcome = own
    assert "stage 04_units: skip" in outcome.output
    assert "no text: pretraining only" in outcome.output
    dry = here(*options, "--dry_run", "true", "--stage", "6")
    assert dry.code == 0, dry.output
    ran = ["06_pretrain", "07_analyse", "12_report", "13_pack"]
    assert dry.stages("run") == ran


def weights(folder):
    import torch

    return torch.load(folder / "latest.pth", weights_only=True)


def kill_after_first_checkpoint(here, options, folder):
    """SIGKILL to the shell, its children and the training, as a machine going down."""
    script = here.script()
    words = [script, "--work_dir", str(here.work), *options]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not (folder / "checkpoint.pth").exists():
        assert process.poll() is None, (folder / "train.log").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    trained = [pid for pid in training_processes(folder) if pid != process.pid]
    assert trained
    for pid in trained:
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(30)


def training_processes(folder):
    """Processes that have this experiment's directory on their command line."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as stream:
                    words = stream.read().split(b"\0")
            except OSError:
                continue
            if b"espnet2_dq.bin.ssl_train" in words and str(folder).encode() in words:
                yield int(entry)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_pretraining_ends_where_an_uninterrupted_one_ends(own):
    import torch

    here, options, _ = own
    stage = ("--stage", "6", "--stop_stage", "6")
    whole = here(*options, *stage, "--tag", "whole")
    assert whole.code == 0, whole.output[-3000:]
    folder = here.work / "exp" / "killed" / "pretrain"
    kill_after_first_checkpoint(here, (*options, *stage, "--tag", "killed"), folder)
    assert not (here.work / "exp/killed/.done/06_pretrain.json").exists()
    again = here(*options, *stage, "--tag", "killed")
    assert again.code == 0, again.output[-3000:]
    assert not (here.work / "exp" / "killed" / "old").exists()
    expected = weights(here.work / "exp" / "whole" / "pretrain")
    found = weights(folder)
    assert found.keys() == expected.keys()
    different = [k for k in expected if not torch.equal(found[k], expected[k])]
    assert different == []
