"""All 13 stages, twice; then damage, and only what depends on it runs again.

The tests of this file share one working directory and build on each other.
"""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recipe_smoke")]

STAGES = [
    "01_data",
    "02_check",
    "03_filter",
    "04_units_phn",
    "05_stats",
    "06_pretrain",
    "07_analyse",
    "08_subset_finetune_0.2m_phn",
    "09_finetune_phn_0.2m",
    "10_decode_phn_0.2m_test",
    "11_score_phn_0.2m_test",
    "12_report",
    "13_pack",
]


def files_of(folder):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def first(recipe, smoke_options):
    """The first run of all stages."""
    outcome = recipe(*smoke_options)
    assert outcome.code == 0, outcome.output[-4000:]
    return outcome


def test_every_stage_runs(first):
    assert first.stages("run") == STAGES
    assert first.stages("skip") == []


def test_results_hold_numbers_for_every_language(first, recipe):
    folder = recipe.work / "exp" / "dq" / "report"
    results = json.loads((folder / "results.json").read_text())
    assert set(results["per"]) >= {"en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt"}
    assert all(isinstance(rate, float) for rate in results["per"].values())
    assert set(results["seconds"]) >= set(STAGES[:11])
    page = (folder / "index.html").read_text()
    assert f"--work_dir {recipe.work}" in page


def test_last_lines_are_the_table_and_the_report(first, recipe):
    lines = first.output.splitlines()
    assert any("average" in line for line in lines[-20:])
    assert str(recipe.work / "exp" / "dq" / "report" / "index.html") in lines[-1]


def test_second_run_does_nothing_and_says_so(first, recipe, smoke_options):
    before = files_of(recipe.work)
    outcome = recipe(*smoke_options)
    assert outcome.code == 0
    assert outcome.stages("skip") == STAGES
    assert files_of(recipe.work) == before


def test_dry_run_says_why_and_touches_nothing(first, recipe, smoke_options):
    before = files_of(recipe.work)
    outcome = recipe(*smoke_options, "--dry_run", "true", "--min_duration_s", "0.3")
    assert outcome.code == 0
    assert outcome.stages("run") == ["03_filter"]
    assert "--min_duration_s 0.4 -> 0.3" in outcome.output
    assert "GiB of disk; one GPU" in outcome.output
    assert files_of(recipe.work) == before


@pytest.mark.parametrize(
    ("file", "again"),
    [
        # Repaired by the stage that made it; what comes out is as before.
        ("data/test/text", ["01_data"]),
        ("dump/test/utt2lang", ["03_filter", "04_units_phn"]),
        ("exp/dq/stats.json", ["05_stats"]),
        ("exp/dq/report/results.json", ["12_report", "13_pack"]),
    ],
)
def test_damage_is_repaired_and_only_what_depends_on_it_runs(
    first, recipe, smoke_options, file, again
):
    path = recipe.work / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    outcome = recipe(*smoke_options)
    assert outcome.code == 0, outcome.output[-4000:]
    assert outcome.stages("run") == again
    if "report" not in file:  # it tells how long the stages took this time
        assert path.read_bytes() == content
    assert recipe(*smoke_options).stages("run") == []


def test_an_option_of_one_stage_runs_that_stage(first, recipe, smoke_options):
    outcome = recipe(*smoke_options, "--finetune_args", "--seed 1", "--dry_run", "true")
    assert outcome.stages("run") == ["09_finetune_phn_0.2m"]
