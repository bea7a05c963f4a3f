"""Whole UniSpeech runs on seconds of noise: resume, two processes, two stages."""

import json

import pytest
import torch
import yaml
from factories import make_kaldi_dir
from training_runs import SCHEDULE, assert_same, run_ranks, weights
from wav2vec2_factories import wav2vec2_config

from espnet2_dq.bin.ssl_train import main

pytestmark = pytest.mark.slow

SUPERVISION = {"phoneme": "mixed", "weight": 0.3, "codebook_gradient": True}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two languages, phonemes of both; only es is declared high-resource."""
    root = tmp_path_factory.mktemp("unispeech")
    for name in ("train", "dev"):
        directory = make_kaldi_dir(root / name, utterances=4, seconds=1.0)
        lines = [f"{utt} 1 2 3 2" for utt in directory.utterances]
        (root / name / "phn.int").write_text("\n".join(lines) + "\n")
    (root / "tokens.txt").write_text("<blank>\na\nb\nc\n")
    return root


def command(corpus, output, *options, supervision=SUPERVISION, **conf):
    """Arguments of ssl_train for a tiny model, with labels if there is supervision."""
    output.mkdir(parents=True, exist_ok=True)
    model = wav2vec2_config(large=True, transpose=True, supervision=supervision)
    path = output / "given.yaml"
    batches = {"batch_seconds": 4.0, "max_epoch": 2}
    path.write_text(yaml.safe_dump({**model, **SCHEDULE, **batches, **conf}))
    arguments = ["--config", str(path), "--output_dir", str(output), "--probe_at"]
    for mode, name in (("train", "train"), ("valid", "dev")):
        arguments += [f"--{mode}_data", str(corpus / name)]
    if supervision:
        arguments += ["--token_list", str(corpus / "tokens.txt")]
        arguments += ["--supervised_langs", "es"]
    return [*arguments, *options]


def test_a_stopped_and_resumed_run_ends_where_an_uninterrupted_one_ends(
    corpus, tmp_path
):
    conf = {"accum_grad": 2}
    assert main(command(corpus, tmp_path / "whole", **conf)) == 0
    parts = command(corpus, tmp_path / "parts", **conf)
    assert main([*parts, "--max_epoch", "1", "--scheduler_conf", "max_steps=4"]) == 0
    assert main([*parts, "--must_resume", "true"]) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    log = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert {"loss_contrastive", "loss_ctc", "ter_ctc"} <= json.loads(log[-1]).keys()


def test_two_processes_of_which_one_often_has_no_labels(corpus, tmp_path):
    run_ranks(command(corpus, tmp_path, max_epoch=1, batch_seconds=3.0))
    trained = weights(tmp_path)
    assert trained["num_updates"] == SCHEDULE["num_iters_per_epoch"]
    assert all(value.isfinite().all() for value in trained.values())


def test_second_stage_continues_without_labels(corpus, tmp_path):
    """As released: contrastive loss alone, still in the encoder's dimension."""
    still = {"optim_conf": {"lr": 1e-12}, "max_epoch": 1}
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(command(corpus, first, **still)) == 0
    options = ["--init_from", str(first), "--init_from_min_fraction", "1.0"]
    assert main(command(corpus, second, *options, supervision={}, **still)) == 0
    one, two = weights(first), weights(second)
    for name, value in two.items():
        if not name.startswith(("health", "num_updates")):
            assert torch.allclose(value, one[name], atol=1e-6), name
    assert {n.split(".")[0] for n in one.keys() - two.keys()} == {"supervised"}
