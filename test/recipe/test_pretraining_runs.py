"""Whole pretraining runs on seconds of noise: resume, kill, ranks, bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from factories import make_kaldi_dir
from training_factories import make_config
from training_runs import assert_same, command, run_ranks, weights

from espnet2_dq.bin.ssl_train import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for name in ("train", "dev"):
        make_kaldi_dir(root / name, utterances=8, seconds=2.0)
    return root


def test_a_stopped_and_resumed_run_ends_where_an_uninterrupted_one_ends(
    corpus, tmp_path
):
    """Teacher, codebooks, revival, schedule and dropout continue exactly."""
    branch = make_config()["model_conf"]["language"]
    revival = {"init": "data", "init_update": 2, "reseed_interval": 3, "queue": 16}
    revival |= {"centre_momentum": 0.2, "remove_directions": 1, "whiten_directions": 4}
    model_conf = {"language": {**branch, "revival": revival}}
    conf = {"model_conf": model_conf, "accum_grad": 2}
    assert main(command(corpus, tmp_path / "whole", **conf)) == 0
    stopped = command(corpus, tmp_path / "parts", **conf)
    # The schedule must know the run's length, so the stop comes from outside.
    assert main([*stopped, "--max_epoch", "1", "--scheduler_conf", "max_steps=6"]) == 0
    assert main([*stopped, "--must_resume", "true"]) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    logs = [
        [json.loads(line) for line in (tmp_path / n / "log.jsonl").open()]
        for n in ("whole", "parts")
    ]
    updates = [[row["update"] for row in log] for log in logs]
    assert updates[0] == updates[1] == list(range(1, 7))
    assert logs[0][-1]["loss"] == logs[1][-1]["loss"]


def test_sigkill_in_the_middle_of_an_epoch_loses_nothing_but_time(corpus, tmp_path):
    assert main(command(corpus, tmp_path / "whole", num_iters_per_epoch=30)) == 0
    killed = command(corpus, tmp_path / "killed", num_iters_per_epoch=30)
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet2_dq.bin.ssl_train", *killed],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= 35:
            break
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "killed" / "checkpoint.pth").exists()
    assert main(killed) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_two_processes_give_what_one_gives(corpus, tmp_path):
    branch = make_config()["model_conf"]["language"]
    conf = {"model_conf": {"language": {**branch, "gather": True}}, "max_epoch": 1}
    assert main(command(corpus, tmp_path / "one", **conf)) == 0
    run_ranks(command(corpus, tmp_path / "two", **conf))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    # Sums over ranks round differently; Adam's first steps amplify that a little.
    trained = [n for n in one if "usage" not in n and "queue" not in n]
    assert_same({n: one[n] for n in trained}, {n: two[n] for n in trained}, 2e-5)


def test_messages_for_bad_configurations(corpus, tmp_path, capsys):
    cases = {
        "batch_secnds": ({"batch_secnds": 3.0}, "Did you mean 'batch_seconds'"),
        "accum": ({"accum_grad": 3}, "num_iters_per_epoch: 4"),
        "model": ({"model_conf": {"teachr": {}}}, "Did you mean 'teacher'"),
        "short": ({"batch_seconds": 1.0}, "raise batch_seconds or lower crop"),
    }
    for name, (conf, message) in cases.items():
        assert main(command(corpus, tmp_path / name, **conf)) == 1
        assert message in capsys.readouterr().err, name
    arguments = command(corpus, tmp_path / "resume", "--must_resume", "true")
    assert main(arguments) == 1
    assert "checkpoint.pth: not found" in capsys.readouterr().err
