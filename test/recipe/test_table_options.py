"""Rows in the recipe and tables.sh: what would run, and bad input; nothing is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from espnet2_dq.bin import run_tables
from espnet2_dq.recipe.rows import TABLE_FILE, read_tables
from espnet2_dq.recipe.table_plan import Place, plan_row

RECIPE = Path(__file__).parents[2] / "egs2" / "commonvoice_dq" / "ssl1"
DRY = ("--dry_run", "true", "--python", sys.executable)
ROWS = read_tables(RECIPE / TABLE_FILE).rows


@pytest.fixture
def here(recipe, tmp_path):
    """The recipe in an empty directory."""
    return type(recipe)(tmp_path / "work")


def command_of(outcome, stage):
    """The command that a stage would run."""
    lines = outcome.output.splitlines()
    return lines[1 + next(i for i, x in enumerate(lines) if f"stage {stage}:" in x)]


def test_a_row_lays_its_configuration_over_the_base(here):
    outcome = here(*DRY, "--row", "dq_dd", "--stage", "5", "--stop_stage", "6")
    assert outcome.code == 0, outcome.output
    for stage in ("05_stats", "06_pretrain"):
        words = command_of(outcome, stage)
        assert "--config conf/train_ssl_mini.yaml" in words
        assert "--overlay conf/rows/dq_dd.yaml" in words
    words = command_of(outcome, "06_pretrain")
    assert "--supervised_langs en --token_list" in words
    assert "units/phn/tokens.txt" in words
    assert f"{here.work}/exp/dq/pretrain" in words  # the tag stays as given


def test_without_a_row_the_command_is_as_it_was(here):
    outcome = here(*DRY, "--stage", "5", "--stop_stage", "6")
    words = command_of(outcome, "06_pretrain").split(" -m ")[1]
    exp, dump = f"{here.work}/exp/dq", f"{here.work}/dump"
    assert words == (
        f"espnet2_dq.bin.ssl_train --config conf/train_ssl_mini.yaml --output_dir"
        f" {exp}/pretrain --train_data {dump}/train --valid_data {dump}/dev"
        " --ngpu 0 --seed 0 --resume true"
    )
    assert "--overlay" not in outcome.output


def test_two_stages(here):
    words = ("--row", "unidata2vec_two_stage", "--stage", "6", "--stop_stage", "6")
    outcome = here(*DRY, *words)
    assert outcome.stages("run") == [
        *("06_languages_first_train", "06_languages_first_dev", "06_first"),
        *("06_languages_pretrain_train", "06_languages_pretrain_dev", "06_pretrain"),
    ]
    first, second = (command_of(outcome, f"06_{n}") for n in ("first", "pretrain"))
    assert "--overlay conf/rows/unidata2vec_first.yaml" in first
    assert "--supervised_langs en" in first
    assert f"--train_data {here.work}/exp/dq/data_first/train" in first
    assert "--supervised_langs" not in second
    assert f"--init_from {here.work}/exp/dq/first" in second
    assert "--not_langs en" in command_of(outcome, "06_languages_pretrain_dev")


def test_options_of_the_caller_stand_over_the_row_s(here):
    words = ("--row", "unidata2vec_two_stage", "--first_langs", "fr es")
    words += ("--pretrain_langs", "it", "--stage", "6", "--stop_stage", "6")
    outcome = here(*DRY, *words)
    assert "--langs 'fr es'" in command_of(outcome, "06_languages_first_train")
    assert "--langs it" in command_of(outcome, "06_languages_pretrain_train")


def test_a_model_of_another_run_to_start_from(here):
    outcome = here(*DRY, "--init_from", "exp/a/pretrain", "--stage", "6",
                   "--stop_stage", "6")  # fmt: skip
    assert "--init_from exp/a/pretrain" in command_of(outcome, "06_pretrain")


def test_labels_need_phonemes_also_when_characters_are_fine_tuned(here):
    words = ("--row", "dq_dd", "--units", "char", "--stage", "4", "--stop_stage", "4")
    assert here(*DRY, *words).stages("run") == ["04_units_char", "04_units_phn"]


def test_random_initialisation_has_no_pretraining(here):
    outcome = here(*DRY, "--row", "random", "--stage", "5", "--stop_stage", "9")
    assert "stage 06_pretrain: skip (row random has no pretraining)" in outcome.output
    assert "--init random" in command_of(outcome, "09_finetune_phn_random")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("dq_ddd", "Did you mean 'dq_dd'?"),
        ("transcoder", "./tables.sh runs both"),
    ],
)
def test_rows_that_run_sh_cannot_run(here, row, message):
    outcome = here(*DRY, "--row", row)
    assert outcome.code == 2
    assert message in outcome.output
    assert not here.work.exists()


# ---------------------------------------------------------------- tables.sh


def tables_sh(*options):
    done = subprocess.run(
        [str(RECIPE / "tables.sh"), *options],
        env={"DQ_PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_unknown_row_lists_all_rows():
    code, output = tables_sh("--rows", "data2vec nobody")
    assert code == 1
    assert "unknown row 'nobody'" in output
    assert all(name in output for name in ROWS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scale", "huge"), "unknown scale 'huge'"),
        (("--seeds", "0 x"), "--seeds: 'x' is not a whole number"),
    ],
)
def test_bad_values_are_named(options, message):
    code, output = tables_sh(*options)
    assert code == 1
    assert message in output


@pytest.mark.parametrize("scale", ["smoke", "mini", "base"])
def test_a_dry_run_shows_all_rows_at_every_scale(scale, tmp_path):
    code, output = tables_sh(
        *("--dry_run", "true", "--scale", scale, "--seeds", "0 1"),
        *("--work_dir", str(tmp_path / "work"), "--run_options", "--nj 3"),
    )
    assert code == 0, output
    lines = output.splitlines()
    assert {f"{row}_s{seed}: run" for row in ROWS for seed in (0, 1)} <= set(lines)
    assert all("--nj 3" in line for line in lines if "./run.sh" in line)
    assert not (tmp_path / "work").exists()


def test_what_is_done_is_skipped_unless_it_was_another_configuration(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(RECIPE)
    tables = read_tables(TABLE_FILE)
    place = Place(tables.scale("smoke"), tmp_path)
    run = plan_row(tables.row("dq_sd"), 0, place, tables)
    run.exp.mkdir(parents=True)
    words = ["--dry_run", "true", "--rows", "dq_sd", "--work_dir", str(tmp_path)]

    def shown(digest, *options):
        state = {"digest": digest, "failure": None}
        (run.exp / "row.json").write_text(json.dumps(state))
        assert run_tables.main([*words, *options]) == 0
        return capsys.readouterr().out

    assert shown(run.digest) == "dq_sd_s0: skip (done)\n"
    assert "dq_sd_s0: run\n" in shown("other")
    assert "dq_sd_s0: run\n" in shown(run.digest, "--retry", "true")
    assert "dq_sd_s0: run\n" in shown(run.digest, "--run_options", "--nj 2")
