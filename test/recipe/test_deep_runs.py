"""Whole runs with labels: resume, two processes, a run that explodes, a collapse."""

import json

import pytest
import yaml
from factories import make_kaldi_dir
from training_factories import make_config
from training_runs import assert_same, command, run_ranks, weights

from espnet2_dq.bin.ssl_train import main

pytestmark = pytest.mark.slow

CONV = {"additional": {"type": "conv"}}
SUPERVISION = {"language": True, "phoneme": "mixed"}
BRANCHES = make_config()["model_conf"]
LANGUAGE = BRANCHES["language"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two languages, phonemes of both; only es is declared high-resource."""
    root = tmp_path_factory.mktemp("labelled")
    for name in ("train", "dev"):
        directory = make_kaldi_dir(root / name, utterances=8, seconds=2.0)
        lines = [f"{utt} 1 2 3 2" for utt in directory.utterances]
        (root / name / "phn.int").write_text("\n".join(lines) + "\n")
    (root / "tokens.txt").write_text("<blank>\na\nb\nc\n")
    return root


def deep_command(corpus, output, *options, language=None, **conf):
    """A run of deep decoupling; branch settings over the tiny configuration's."""
    model_conf = {
        "language": {**LANGUAGE, **CONV, "gather": True, **(language or {})},
        "phoneme": {**BRANCHES["phoneme"], **CONV},
        "supervision": {**SUPERVISION, "dropout": 0.0},
        **conf.pop("model_conf", {}),
    }
    labels = ["--token_list", str(corpus / "tokens.txt"), "--supervised_langs", "es"]
    return command(corpus, output, *labels, *options, model_conf=model_conf, **conf)


def test_a_stopped_and_resumed_run_ends_where_an_uninterrupted_one_ends(
    corpus, tmp_path
):
    conf = {"accum_grad": 2}
    assert main(deep_command(corpus, tmp_path / "whole", **conf)) == 0
    parts = deep_command(corpus, tmp_path / "parts", **conf)
    assert main([*parts, "--max_epoch", "1", "--scheduler_conf", "max_steps=6"]) == 0
    assert main([*parts, "--must_resume", "true"]) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    last = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert {"loss_ce", "error_lang", "loss_ctc", "ter_ctc"} <= last.keys()


def test_two_processes_give_what_one_gives(corpus, tmp_path):
    """Ranks often hold no labelled utterance: batches are of one to three."""
    assert main(deep_command(corpus, tmp_path / "one", max_epoch=1)) == 0
    run_ranks(deep_command(corpus, tmp_path / "two", max_epoch=1))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    trained = [n for n in one if "usage" not in n and "queue" not in n]
    assert_same({n: one[n] for n in trained}, {n: two[n] for n in trained}, 2e-5)


def test_sizes_follow_the_data_and_stand_in_the_configuration(corpus, tmp_path):
    language = {"clusters": 0, "target": "utt2spk"}
    assert main(deep_command(corpus, tmp_path, language=language, max_epoch=1)) == 0
    conf = yaml.safe_load((tmp_path / "config.yaml").read_text())["model_conf"]
    assert conf["supervision"]["languages"] == 2
    assert conf["supervision"]["tokens"] == 4
    assert conf["language"]["clusters"] == 4  # two speakers a language


def test_missing_labels_are_named(corpus, tmp_path, capsys):
    deep = deep_command(corpus, tmp_path)
    cases = {
        "--supervised_langs en": "'en' is declared high-resource",
        "--supervised_langs": "needs --token_list (tokens.txt",
    }
    for options, message in cases.items():
        assert main([*deep, *options.split()]) == 1
        assert message in capsys.readouterr().err


def test_an_explosion_ends_the_run_with_its_cause(corpus, tmp_path, capsys):
    arguments = command(
        corpus,
        tmp_path,
        model_conf={"regression": {**BRANCHES["regression"], "scale": 1e38}},
        num_iters_per_epoch=40,
        max_epoch=1,
    )
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert "CollapseError: explosion: " in message
    assert "no optimizer step for 20 updates in a row" in message


def test_a_collapse_ends_the_run_and_names_the_block(corpus, tmp_path, capsys):
    """One code per group is what the specified language quantizer falls to."""
    language = {**LANGUAGE, "clusters": 1}
    health = {"patience": 2, "stop_after": 2, "warn_after": 1}
    arguments = command(
        corpus,
        tmp_path,
        model_conf={"language": language, "health": health, "gauge_interval": 1},
    )
    assert main(arguments) == 1
    assert "language quantizer group 1: uses 1 code" in capsys.readouterr().err
