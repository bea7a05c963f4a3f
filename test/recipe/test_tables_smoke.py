"""tables.sh on seconds of audio: rows beside each other, twice; a collapse is an entry.

The tests of this file share one working directory and build on each other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "egs2" / "commonvoice_dq" / "ssl1"
ROWS = ("unispeech", "dq_dd_no_lqt")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tables_smoke")]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def tables_sh(work):
    """tables.sh at smoke scale; the checkout's own results stay as they are."""

    def call(*options):
        done = subprocess.run(
            [
                *(str(RECIPE / "tables.sh"), "--scale", "smoke", "--jobs", "2"),
                *("--work_dir", str(work), "--results", str(work / "results")),
                *("--markdown", str(work / "RESULTS.md"), *options),
            ],
            env={**os.environ, "DQ_PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        return done.returncode, done.stdout

    return call


@pytest.fixture(scope="module")
def first(tables_sh):
    """The first run of two rows."""
    code, output = tables_sh("--rows", " ".join(ROWS))
    assert code == 0, output[-4000:]
    return output


def record(work, name):
    return json.loads((work / "results" / "smoke" / f"{name}.json").read_text())


def trained(work):
    """When every training and score was written."""
    exp = work / "exp" / "tables_smoke"
    files = [*exp.glob("*/*/latest.pth"), *exp.glob("*/score_*/*/scores.json")]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_figures(first, work, row):
    found = record(work, f"{row}_s0")
    assert found["state"] == "ok"
    assert len(found["rates"]["per"]["languages"]) == 9
    assert found["trainings"]["pretrain"]["updates"] == 8
    assert found["trainings"]["pretrain"]["audio_hours"] > 0
    names = {name.partition("_")[0] for name in found["seconds"]}
    assert names == {"05", "06", "07", "09", "10", "11"}
    assert str(work) not in json.dumps(found)


def test_quantizers_of_the_rows_are_measured(first, work):
    assert set(record(work, "dq_dd_no_lqt_s0")["codes"]) == {"pp", "pnmi"}


def test_the_tables_show_both(first, work):
    text = (work / "RESULTS.md").read_text()
    for row in ROWS:
        assert f"| {row} | 0 | ok |" in text
    assert (work / "results" / "smoke" / "index.html").exists()


def test_the_second_time_nothing_is_run(first, work, tables_sh):
    before = trained(work)
    assert len(before) == 2 * 3
    code, output = tables_sh("--rows", " ".join(ROWS))
    assert code == 0
    assert "done before: dq_dd_no_lqt_s0 unispeech_s0" in output
    assert "stage " not in output
    assert trained(work) == before


def test_a_lost_record_is_made_again_without_training(first, work, tables_sh):
    before = trained(work)
    kept = record(work, "unispeech_s0")
    (work / "results" / "smoke" / "unispeech_s0.json").unlink()
    (work / "exp" / "tables_smoke" / "unispeech_s0" / "row.json").unlink()
    code, _ = tables_sh("--rows", "unispeech")
    assert code == 0
    assert record(work, "unispeech_s0")["rates"] == kept["rates"]
    assert record(work, "unispeech_s0")["seconds"] == kept["seconds"]
    assert trained(work) == before


COLLAPSE = (
    "--pretrain_args '--model_conf gauge_interval=1 --model_conf health.patience=1"
    " --model_conf health.stop_after=1 --model_conf health.warn_after=0"
    " --model_conf health.min_target_spread=1000'"
)


def test_a_collapse_becomes_an_entry_and_does_not_fail_the_call(first, work, tables_sh):
    words = ("--rows", "dq_dd_no_lqt", "--seeds", "1", "--run_options", COLLAPSE)
    before = trained(work)
    code, output = tables_sh(*words)
    assert code == 0, output[-4000:]
    found = record(work, "dq_dd_no_lqt_s1")
    assert (found["state"], found["kind"]) == ("failed", "collapse")
    assert found["cause"].startswith("CollapseError: teacher target: target_spread")
    assert found["stage"] == "06_pretrain"
    assert "collapse in 06_pretrain" in (work / "RESULTS.md").read_text()
    assert trained(work) == before
    code, output = tables_sh(*words)
    assert code == 0
    assert "done before: dq_dd_no_lqt_s1" in output


def test_an_error_of_a_row_is_named_with_its_log(first, work, tables_sh):
    options = "--pretrain_args '--no_such_option 1'"
    code, output = tables_sh("--rows", "data2vec", "--run_options", options)
    assert code == 3
    assert "failed: data2vec_s0: " in output
    log = output.rsplit("log: ", 1)[1].split()[0]
    assert "no_such_option" in Path(log).read_text()
    assert record(work, "data2vec_s0")["kind"] == "error"
