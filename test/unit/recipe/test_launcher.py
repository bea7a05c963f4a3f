"""The run.pl contract: words, quoting, logs, exit codes, parallelism, signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe import launcher
from espnet2_dq.recipe.launcher import bash_line, parse, run


def test_parse_reads_kaldi_words():
    request = parse(
        ["--max_jobs_run", "2", "--mem", "4G", "JOB=2:5", "l.JOB.log", "c", "JOB"]
    )
    assert (request.max_jobs, request.first, request.last) == (2, 2, 5)
    assert [str(request.job(3)[0]), request.job(3)[1]] == ["l.3.log", "c 3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["log"], "a log and a command"),
        ([], "a log and a command"),
        (["--mem"], "has no value"),
        (["JOB=1:2", "log", "c"], "must contain JOB"),
        (["JOB=0:2", "log.JOB", "c"], "must start at 1"),
        (["JOB=3:2", "log.JOB", "c"], "must start at 1"),
        (["--gpu", "many", "log", "c"], "whole number"),
    ],
)
def test_bad_words_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(words)


def test_words_without_blanks_go_to_bash_verbatim():
    line = bash_line(["echo", "a b", "it's c", "", ">", "out", "&&", "x=$HOME"])
    assert line == "echo 'a b' 'it'\"'\"'s c' '' > out && x=$HOME"


def test_log_begins_and_ends_as_scripts_expect(tmp_path):
    log = tmp_path / "deep" / "x.log"
    assert run(parse([str(log), "echo", "hello"])) == 0
    lines = log.read_text().splitlines()
    assert lines[0] == "# echo hello"
    assert lines[1].startswith("# Started at ")
    assert "hello" in lines
    assert lines[-1].startswith("# Ended (code 0) at ")


def test_array_fails_if_one_job_fails_and_names_its_log(tmp_path, capfd):
    log = tmp_path / "x.JOB.log"
    command = ["test", "JOB", "!=", "2", "||", "exit", "3"]
    assert run(parse(["JOB=1:3", str(log), *command])) == 3
    error = capfd.readouterr().err
    assert str(tmp_path / "x.2.log") in error
    assert "1 of 3 jobs failed" in error
    assert "(code 3)" in (tmp_path / "x.2.log").read_text()
    assert "(code 0)" in (tmp_path / "x.3.log").read_text()


def test_a_failing_pipe_fails(tmp_path):
    assert run(parse([str(tmp_path / "l"), "false", "|", "cat"])) == 1


def test_job_killed_hard_hints_at_memory(tmp_path, capfd):
    assert run(parse([str(tmp_path / "l"), "kill", "-9", "$$"])) == 137
    assert "out of memory?" in capfd.readouterr().err


def test_not_more_jobs_at_once_than_allowed(tmp_path):
    log = tmp_path / "x.JOB.log"
    began, ended = tmp_path / "began.JOB", tmp_path / "ended.JOB"
    stamp = ["date", "+%s%N"]
    run(
        parse(
            ["--max-jobs-run", "1", "JOB=1:3", str(log), *stamp, ">", str(began)]
            + ["&&", "sleep", "0.05", "&&", *stamp, ">", str(ended)]
        )
    )

    for job in (1, 2):
        end = int((tmp_path / f"ended.{job}").read_text())
        assert end <= int((tmp_path / f"began.{job + 1}").read_text())


def test_gpus_are_dealt_out_and_missing_ones_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    log = tmp_path / "x.JOB.log"
    words = ["--gpu", "1", "JOB=1:2", str(log), "echo", "gpu", "$CUDA_VISIBLE_DEVICES"]
    words += ["&&", "sleep", "0.3"]
    assert run(parse(words)) == 0
    seen = {(tmp_path / f"x.{job}.log").read_text().splitlines()[3] for job in (1, 2)}
    assert seen == {"gpu 4", "gpu 7"}
    with pytest.raises(ConfigError, match="2 GPU"):
        run(parse(["--gpu", "3", str(tmp_path / "l"), "true"]))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().split()[2] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signal")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_launcher(tmp_path, signum):
    pid_file = tmp_path / "pid"
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet2_dq.bin.run_local", str(tmp_path / "l")]
        + ["sleep", "60", "&", "echo", "$!", ">", str(pid_file), ";", "wait"],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int(pid_file.read_text())
    process.send_signal(signum)
    code = process.wait(10)
    deadline = time.monotonic() + 5
    # After SIGKILL the kernel ends bash; what it had put in the background may stay.
    while signum != signal.SIGKILL and alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert code == (128 + signum if signum != signal.SIGKILL else -signum)
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


def test_shim_is_found_under_the_name_that_espnet_looks_at():
    shim = os.path.join(
        os.path.dirname(launcher.__file__), "../../egs2/TEMPLATE/dq1/utils/run.pl"
    )
    done = subprocess.run(
        [shim, "--help"],
        env={**os.environ, "DQ_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "JOB=1:N" in done.stdout
