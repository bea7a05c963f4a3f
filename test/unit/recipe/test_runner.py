"""The stage runner as a process: skip, tee, failure, lock, signals, resume."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet2_dq.bin import stage
from espnet2_dq.recipe.runner import failure_report, launched_command

ROOT = Path(__file__).parents[3]


def arguments(folder, *command, options=()):
    return [
        *("--name", "03_x", "--mark", str(folder / ".done" / "03_x.json")),
        *("--input", str(folder / "in"), "--output", str(folder / "out")),
        *options,
        "--",
        *command,
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").write_text("a")
    return tmp_path


def copying(folder):
    return ("bash", "-c", f"echo copying; cat {folder}/in >{folder}/out")


def test_runs_once_then_skips_then_runs_for_a_changed_input(folder, capfd):
    words = arguments(folder, *copying(folder))
    assert stage.main(words) == 0
    first = capfd.readouterr().out
    assert "stage 03_x: run (not done yet)" in first
    assert "copying" in first
    assert stage.main(words) == 0
    second = capfd.readouterr().out
    assert "stage 03_x: skip (done " in second
    assert "copying" not in second
    (folder / "in").write_text("b")
    assert stage.main(words) == 0
    assert f"run (input {folder}/in changed)" in capfd.readouterr().out
    assert (folder / "out").read_text() == "b"


def test_mark_holds_times_and_log_holds_output(folder):
    stage.main(arguments(folder, *copying(folder), options=["--param", "seed=1"]))
    mark = json.loads((folder / ".done" / "03_x.json").read_text())
    assert mark["params"] == {"seed": "1"}
    assert mark["seconds"] > 0
    assert list(mark["outputs"]) == [str(folder / "out")]
    assert (folder / ".done" / "03_x.log").read_text() == "copying\n"


def test_dry_run_touches_nothing(folder, capfd):
    before = sorted(folder.rglob("*"))
    assert (
        stage.main(arguments(folder, *copying(folder), options=["--dry_run", "true"]))
        == 0
    )
    assert "bash -c" in capfd.readouterr().out
    assert sorted(folder.rglob("*")) == before


def test_force_runs_a_done_stage(folder, capfd):
    stage.main(arguments(folder, *copying(folder)))
    stage.main(arguments(folder, *copying(folder), options=["--force", "true"]))
    assert "run (forced)" in capfd.readouterr().out


def test_failure_keeps_the_code_shows_the_log_and_leaves_no_mark(folder, capfd):
    stage.main(arguments(folder, *copying(folder)))
    command = ("bash", "-c", "seq 100; exit 7")
    assert stage.main(arguments(folder, *command)) == 7
    error = capfd.readouterr().err
    assert "  | 100" in error
    assert "  | 81" in error
    assert "  | 80" not in error
    assert str(folder / ".done" / "03_x.log") in error
    assert not (folder / ".done" / "03_x.json").exists()


def test_missing_input_and_missing_output_are_named(folder, capfd):
    assert stage.main(arguments(folder, "true")) == stage.EXIT_BAD_SETUP
    assert f"did not write {folder}/out" in capfd.readouterr().err
    (folder / "in").unlink()
    assert stage.main(arguments(folder, "true")) == stage.EXIT_BAD_SETUP
    assert f"input {folder}/in missing" in capfd.readouterr().err


def test_launcher_words_do_not_count_as_change(folder, capfd):
    shim = [sys.executable, "-m", "espnet2_dq.bin.run_local"]
    launched = [f"--launcher={word}" for word in [*shim, "--mem", "1G"]]
    log = folder / "job.log"
    options = [*launched, "--log", str(log)]
    words = ["cp", str(folder / "in"), str(folder / "out")]
    assert stage.main(arguments(folder, *words, options=options)) == 0
    assert log.read_text().startswith("# cp ")
    assert stage.main(arguments(folder, *words)) == 0
    assert "skip" in capfd.readouterr().out


def test_launched_command_puts_array_log_and_interpreter():
    words = launched_command(["python", "-m", "x", "JOB"], ["run.pl"], "l.JOB", 3)
    assert words == ["run.pl", "JOB=1:3", "l.JOB", sys.executable, "-m", "x", "JOB"]
    assert launched_command(["echo"], [], "l", 0) == ["echo"]


def test_failure_report_shows_the_job_that_failed(tmp_path):
    (tmp_path / "d.1.log").write_text("fine\n# Ended (code 0) at\n")
    (tmp_path / "d.2.log").write_text("broken\n# Ended (code 1) at\n")
    report = failure_report(tmp_path / "d.JOB.log")
    assert "broken" in report
    assert "fine" not in report
    assert report.endswith(str(tmp_path / "d.2.log"))


def start(folder, script):
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet2_dq.bin.stage"]
        + arguments(folder, "bash", "-c", script),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 10
    while not (folder / "pid").exists() or not (folder / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, int((folder / "pid").read_text())


def gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signal")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_end_the_command_too(folder, signum):
    process, pid = start(folder, f"echo $$ >{folder}/pid; exec sleep 60")
    process.send_signal(signum)
    process.communicate(timeout=15)
    assert gone(pid)
    assert process.returncode == (-9 if signum == signal.SIGKILL else 128 + signum)


def test_second_run_in_the_same_directory_is_refused(folder, capfd):
    process, pid = start(folder, f"echo $$ >{folder}/pid; exec sleep 60")
    assert stage.main(arguments(folder, "true")) == stage.EXIT_BAD_SETUP
    error = capfd.readouterr().err
    assert "another run works on" in error
    assert str(process.pid) in error
    process.terminate()
    process.communicate(timeout=15)
    assert gone(pid)


def test_killed_training_goes_on_and_a_changed_one_starts_afresh(folder, capfd):
    work = folder / "train"
    script = (
        f"mkdir -p {work}; echo x >>{work}/epochs; [ -e {folder}/ok ] || kill -9 $$;"
    )
    words = ("bash", "-c", f"{script} cp {work}/epochs {folder}/out")
    options = ["--fresh", str(work)]
    assert stage.main(arguments(folder, *words, options=options)) == 137
    (folder / "ok").write_text("")
    assert stage.main(arguments(folder, *words, options=options)) == 0
    assert (folder / "out").read_text() == "x\nx\n"
    (folder / "in").write_text("other")
    assert stage.main(arguments(folder, *words, options=options)) == 0
    assert (folder / "out").read_text() == "x\n"
    assert "moved to" in capfd.readouterr().out
