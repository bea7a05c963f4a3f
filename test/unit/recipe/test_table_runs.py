"""Rows side by side: order, failures, what is done, and how a cause is found."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from espnet2_dq.recipe.row_failure import Failure, cause_in, find_failure, kind_of
from espnet2_dq.recipe.rows import Row
from espnet2_dq.recipe.table_plan import RowRun
from espnet2_dq.recipe.table_runs import (
    LOG_NAME,
    is_done,
    read_state,
    run_rows,
    run_shared,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def runs(tmp_path):
    """Make a run out of shell lines, each a step."""

    def make(name, *lines, needs="", digest="d"):
        steps = [["bash", "-c", line] for line in lines]
        row = Row(id=name, needs=needs)
        return RowRun(row, 0, tmp_path / f"{name}_s0", steps, digest)

    return make


def run_all(*items, jobs=2, verdicts=None):
    ended = {}

    def keep(run, failure):
        ended[run.name] = failure
        return (verdicts or {}).get(run.name, failure)

    return run_rows(items, jobs, on_end=keep), ended


def test_steps_run_in_order_and_stop_at_the_first_that_fails(runs, tmp_path):
    out = tmp_path / "out"
    good = runs("good", f"echo 1 >>{out}", f"echo 2 >>{out}")
    bad = runs("bad", "exit 3", f"echo never >>{out}")
    outcome, ended = run_all(good, bad)
    assert out.read_text().split() == ["1", "2"]
    assert ended["good_s0"] is None
    assert ended["bad_s0"].kind == "error"
    assert outcome.errors == ["bad_s0"]
    log = (good.exp / LOG_NAME).read_text()
    assert log.count("bash -c") == 2


def test_a_collapse_is_a_result_and_no_error(runs):
    line = "echo 'CollapseError: phoneme quantizer group 1: uses 1 code'; exit 1"
    outcome, _ = run_all(runs("a", line))
    assert outcome.errors == []
    assert outcome.failures["a_s0"].kind == "collapse"


def test_jobs_bound_how_many_run_at_a_time(runs, tmp_path):
    counter = tmp_path / "now"
    counter.mkdir()
    step = (
        f"touch {counter}/$$; ls {counter} | wc -l >>{tmp_path}/most;"
        f" sleep 0.3; rm {counter}/$$"
    )
    run_all(*(runs(f"r{i}", step) for i in range(5)), jobs=2)
    seen = [int(n) for n in (tmp_path / "most").read_text().split()]
    assert len(seen) == 5
    assert max(seen) == 2


def test_what_a_run_needs_ends_before_it_starts(runs, tmp_path):
    out = tmp_path / "out"
    first = runs("first", f"sleep 0.4; echo first >>{out}")
    second = runs("second", f"echo second >>{out}", needs="first")
    other = runs("other", f"echo other >>{out}")
    run_all(first, second, other, jobs=3)
    assert out.read_text().split() == ["other", "first", "second"]


def test_what_needs_a_failed_run_is_not_started(runs, tmp_path):
    out = tmp_path / "out"
    items = (
        runs("first", "exit 1"),
        runs("second", f"touch {out}", needs="first"),
        runs("third", f"touch {out}", needs="second"),
    )
    outcome, ended = run_all(*items)
    assert not out.exists()
    assert ended["second_s0"].cause == "needs first_s0, which failed"
    assert set(outcome.errors) == {"first_s0", "second_s0", "third_s0"}


def test_done_is_this_very_run_that_ended_for_good(runs):
    run = runs("a", "true")
    assert not is_done(run)
    run_all(run)
    assert is_done(run)
    assert not is_done(runs("a", "true", digest="other"))
    run_all(runs("b", "echo 'CollapseError: x'; exit 1"), runs("c", "exit 1"))
    assert is_done(runs("b"))
    assert not is_done(runs("c"))
    (run.exp / "row.json").write_text("{")
    assert read_state(run.exp) is None


def test_who_keeps_the_figures_may_find_them_missing(runs):
    lacking = Failure("error", "ended well, but has no per", "", "")
    outcome, _ = run_all(runs("a", "true"), verdicts={"a_s0": lacking})
    assert outcome.errors == ["a_s0"]
    assert not is_done(runs("a"))


def test_a_run_that_starts_again_is_not_done_meanwhile(runs):
    run_all(runs("a", "true"))
    state = runs("a").exp / "row.json"
    again = runs("a", f"test ! -e {state}")
    outcome, _ = run_all(again)
    assert outcome.failures == {}


def test_shared_steps_stop_at_the_first_failure(tmp_path):
    out = tmp_path / "out"
    steps = [["bash", "-c", c] for c in ("true", "exit 4", f"touch {out}")]
    assert run_shared(steps) == 4
    assert not out.exists()


def test_a_signal_ends_every_row_and_leaves_none_done(tmp_path):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from espnet2_dq.recipe.rows import Row
        from espnet2_dq.recipe.table_plan import RowRun
        from espnet2_dq.recipe.table_runs import run_rows
        exp = Path({str(tmp_path)!r}) / "a_s0"
        step = ["bash", "-c", "echo $$ >{tmp_path}/pid; exec sleep 60"]
        run = RowRun(Row(id="a"), 0, exp, [step], "d")
        print(run_rows([run], 1, on_end=lambda run, failure: failure).signal)
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert str(signal.SIGTERM.value) in child.communicate(timeout=30)[0]
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    assert not (tmp_path / "a_s0" / "row.json").exists()


# ------------------------------------------------------------------ causes


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("CollapseError: phoneme quantizer group 1: uses 1 code", "collapse"),
        ("CollapseError: explosion: loss_phoneme is nan, and no step", "explosion"),
        ("CollapseError: loss, gradient or gauge: loss is inf", "explosion"),
        ("RuntimeError: out of memory", "error"),
        ("KeyError: 'x'", "error"),
    ],
)
def test_kinds(cause, kind):
    assert kind_of(cause) == kind


@pytest.fixture
def logs(tmp_path):
    train = tmp_path / "train.log"
    train.write_text(
        "[vm] INFO: update 3\nTraceback (most recent call last):\n"
        '  File "x.py", line 3\nespnet2_dq.errors.CollapseError: language quantizer'
        " group 1: uses 1 code\n# Ended (code 1) at noon\n"
    )
    row = tmp_path / "row.log"
    row.write_text(
        "# ./run.sh\nstage 05_stats: done in 1 s\nstage 06_pretrain: run (not done)\n"
        f"  | # Ended (code 1) at noon\nlog: {train}\n"
        "stage 06_pretrain: FAILED with code 1 after 3 s\n# ended with code 1\n"
    )
    return row, train


def test_the_cause_stands_in_the_log_that_the_stage_names(logs):
    row, train = logs
    failure = find_failure(row, 1)
    assert failure.kind == "collapse"
    assert failure.cause == "CollapseError: language quantizer group 1: uses 1 code"
    assert failure.stage == "06_pretrain"
    assert failure.log == str(train)


def test_a_message_of_our_commands_is_a_cause(tmp_path):
    log = tmp_path / "row.log"
    log.write_text("subset: error: --langs: xx not in dump/train\nrun.sh: more\n")
    assert cause_in(log) == "subset: --langs: xx not in dump/train"
    assert find_failure(log, 1).kind == "error"


def test_options_that_nobody_knows_are_a_cause(tmp_path):
    log = tmp_path / "row.log"
    log.write_text("usage: x\nssl_train.py: error: unrecognized arguments: --no\n# E\n")
    assert cause_in(log) == "ssl_train.py: unrecognized arguments: --no"


def test_without_any_message_code_and_last_line_remain(tmp_path):
    log = tmp_path / "row.log"
    log.write_text("something\nlast words\n# ended with code 137\n")
    assert find_failure(log, 137).cause == "killed (out of memory?): last words"
    assert find_failure(tmp_path / "nothing", 2).cause == "exit code 2: "
