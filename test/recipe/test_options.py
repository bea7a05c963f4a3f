"""Options, help, dry run and bad input of the recipe; nothing is computed."""

import re
import sys

import pytest


@pytest.fixture
def here(recipe, tmp_path):
    """The recipe in an empty directory."""
    return type(recipe)(tmp_path / "work")


def test_help_lists_every_option_with_its_default(here):
    outcome = here("--help")
    assert outcome.code == 0
    for option in ("stage", "train_config", "units", "finetune_minutes", "beam"):
        assert re.search(rf"^  --{option} ", outcome.output, re.MULTILINE)
    assert "(default: phn)" in outcome.output


def test_unknown_option_names_the_nearest(here):
    outcome = here("--train-confg", "x")
    assert outcome.code == 2
    assert "Did you mean 'train_config'?" in outcome.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--units", "syllable"), "--units 'syllable' is not one of: phn char"),
        (("--stage", "14"), "stage '14' is neither 1-13 nor one of: data check"),
        (("--corpus", "timit"), "is not one of: commonvoice kaldi mini"),
        (("--corpus", "kaldi"), "--corpus kaldi needs --data_root"),
        (("--nj", "two"), "--nj 'two' is not a whole number"),
        (("--seed",), "option --seed needs a value"),
        (("6",), "unexpected word '6'"),
        (("--python", "/bin/false"), "make env"),
    ],
)
def test_bad_values_are_refused_before_anything_runs(here, options, message):
    words = options if "--python" in options else ("--python", sys.executable, *options)
    outcome = here(*words)
    assert outcome.code != 0
    assert message in outcome.output
    assert not here.work.exists()


def test_dry_run_in_an_empty_directory_lists_all_stages(here):
    outcome = here("--dry_run", "true", "--python", sys.executable)
    assert outcome.code == 0, outcome.output
    assert len(outcome.stages("run")) == 13
    assert not here.work.exists()


def test_stages_have_names_and_a_range(here):
    words = ("--dry_run", "true", "--python", sys.executable)
    outcome = here(*words, "--stage", "pretrain", "--stop_stage", "7")
    assert outcome.stages("run") == ["06_pretrain", "07_analyse"]


def test_the_last_value_of_an_option_counts(here):
    words = ("--dry_run", "true", "--python", sys.executable, "--stop_stage", "1")
    outcome = here(*words, "--seed", "1", "--seed=2")
    assert "--seed 2" in outcome.output


def test_words_of_cmd_sh_are_honoured(here):
    words = ("--dry_run", "true", "--python", sys.executable)
    outcome = here(*words, "--stage", "6", cuda_cmd="run.pl --mem 7G")
    assert f"run.pl --mem 7G {here.work}/exp/dq/pretrain/train.log" in outcome.output


def test_gpus_go_to_the_launcher_and_to_the_trainer(here):
    words = ("--dry_run", "true", "--python", sys.executable, "--ngpu", "2")
    outcome = here(*words, "--stage", "6", "--stop_stage", "6")
    assert "run.pl --gpu 2 " in outcome.output
    assert "--ngpu 2" in outcome.output
    assert "--multiprocessing_distributed true" in outcome.output


def test_force_names_stages(here):
    words = ("--dry_run", "true", "--python", sys.executable, "--stop_stage", "2")
    outcome = here(*words, "--force", "check")
    assert "stage 02_check: run (forced)" in outcome.output
    assert "stage 01_data: run (not done yet)" in outcome.output


def stages_named(outcome):
    subset, finetune = outcome.stages("run")
    return subset.removeprefix("08_subset_"), finetune.removeprefix("09_finetune_")


def test_lists_of_clips_replace_minutes(here, tmp_path):
    words = ("--dry_run", "true", "--python", sys.executable, "--stage", "8")
    words += ("--stop_stage", "9", "--corpus", "commonvoice")
    outcome = here(*words, "--cpc_lists", str(tmp_path))
    assert stages_named(outcome) == ("finetune_ids_phn", "phn")
    outcome = here(*words, "--finetune_list", "lists/ten.txt")
    assert stages_named(outcome) == ("finetune_ten_phn", "phn_ten")
    outcome = here(*words, "--cpc_lists", str(tmp_path), "--finetune_minutes", "10")
    assert stages_named(outcome) == ("finetune_10m_phn", "phn_10m")
