"""--overlay where a configuration is read: training, and what it would cost."""

import argparse
import json

import pytest
import yaml
from factories import make_kaldi_dir

from espnet2_dq.bin import stats, subset
from espnet2_dq.bin.training import MERGED, add_overlay_options, lay_overlay
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.errors import ConfigError

BASE = {"batch_seconds": 8, "max_epoch": 2, "num_iters_per_epoch": 4}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train_ssl_mini.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "row.yaml").write_text("all: {max_epoch: 3}\nmini: {batch_seconds: 9}")
    return tmp_path


def parsed(folder, *words):
    """What training does before ESPnet's parser sees the rest."""
    ours = argparse.ArgumentParser(add_help=False)
    add_overlay_options(ours)
    known, rest = ours.parse_known_args(
        ["--config", str(folder / "train_ssl_mini.yaml"), *words]
    )
    task = argparse.ArgumentParser()
    for key in (*BASE, "output_dir", "config"):
        task.add_argument(f"--{key}")
    return known, rest, task


def test_the_merged_file_becomes_the_configuration(folder):
    row, out = str(folder / "row.yaml"), folder / "exp"
    words = ("--overlay", row, "--output_dir", str(out), "--max_epoch", "7")
    known, rest, task = parsed(folder, *words)
    args = task.parse_args(lay_overlay(known, rest, task))
    assert args.config == str(out / MERGED)
    assert args.max_epoch == "7"  # options of the command line stand over all
    merged = yaml.safe_load((out / MERGED).read_text())
    assert merged == {**BASE, "max_epoch": 3, "batch_seconds": 9}


def test_the_size_may_be_given(folder):
    row, out = str(folder / "row.yaml"), folder / "exp"
    words = ("--overlay", row, "--overlay_size", "base", "--output_dir", str(out))
    lay_overlay(*parsed(folder, *words))
    assert yaml.safe_load((out / MERGED).read_text())["batch_seconds"] == 8


def test_an_unknown_key_names_file_section_and_the_nearest(folder):
    (folder / "row.yaml").write_text("mini: {max_epochs: 3}")
    words = ("--overlay", str(folder / "row.yaml"), "--output_dir", str(folder))
    with pytest.raises(ConfigError) as caught:
        lay_overlay(*parsed(folder, *words))
    assert "row.yaml (mini): unknown key 'max_epochs'" in str(caught.value)
    assert "Did you mean 'max_epoch'?" in str(caught.value)
    assert not (folder / MERGED).exists()


def test_an_overlay_needs_a_place_for_the_merged_file(folder):
    with pytest.raises(ConfigError, match="needs --output_dir"):
        lay_overlay(*parsed(folder, "--overlay", str(folder / "row.yaml")))


def test_cost_is_that_of_the_merged_configuration(folder):
    make_kaldi_dir(folder / "dump" / "train", with_audio=False)
    words = ["--dump", str(folder / "dump"), "--sets", "train", "--config"]
    words += [str(folder / "train_ssl_mini.yaml"), "--out", str(folder / "stats.json")]

    def updates(*more):
        assert stats.main([*words, *more]) == 0
        return json.loads((folder / "stats.json").read_text())["plan"]["updates"]

    assert updates() == 8
    assert updates("--overlay", str(folder / "row.yaml")) == 12
    assert stats.main([*words, "--overlay", str(folder / "none.yaml")]) == 1


def chosen(folder, *options):
    """Languages of the subset of es, fr and it."""
    source, out = folder / "train", folder / "out"
    make_kaldi_dir(source, langs=("es", "fr", "it"), with_audio=False, text=False)
    words = ["--data", str(source), "--out", str(out), *options]
    code = subset.main(words)
    return KaldiDir.read(out).languages if code == 0 else None


def test_languages_to_pretrain_on_need_no_text(folder, capsys):
    assert chosen(folder, "--unlabelled", "true", "--langs", "es it") == ["es", "it"]
    assert chosen(folder, "--unlabelled", "true", "--not_langs", "es") == ["fr", "it"]
    assert chosen(folder, "--langs", "es") is None
    assert "no file 'text'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--not_langs", "en"), "--not_langs: en not in"),
        (("--langs", "es", "--not_langs", "fr"), "give one of the two"),
        (("--not_langs", "es fr it"), "0 utterances chosen"),
        ((), "(or --not_langs)"),
    ],
)
def test_languages_that_are_not_there(folder, capsys, options, message):
    assert chosen(folder, "--unlabelled", "true", *options) is None
    assert message in capsys.readouterr().err
