"""Whole wav2vec 2.0 pretraining runs on seconds of noise: resume, further, refusal."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from factories import make_kaldi_dir
from wav2vec2_factories import make_wav2vec2, wav2vec2_config

from espnet2_dq.bin.ssl_train import main
from espnet2_dq.interop.export_hf import export_hf

pytestmark = pytest.mark.slow

SCHEDULE = {
    "batch_seconds": 4.0,
    "crop_seconds": 1.0,
    "max_epoch": 2,
    "num_iters_per_epoch": 4,
    "accum_grad": 2,
    "optim": "adamw",
    "optim_conf": {"lr": 1e-3},
    "scheduler": "tristagelr",
    "scheduler_conf": {"warmup_ratio": 0.2, "hold_ratio": 0.4, "decay_ratio": 0.4},
    "num_threads": 1,
    "num_workers": 0,
    "progress_interval": 1,
    "min_free_gb": 0.01,
    "probe_at": [],
    "best_model_criterion": [["valid", "loss_contrastive", "min"]],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for name in ("train", "dev"):
        make_kaldi_dir(root / name, utterances=4, seconds=1.0)
    return root


def command(corpus: Path, output: Path, *options: str, **conf) -> list[str]:
    output.mkdir(parents=True, exist_ok=True)
    config = wav2vec2_config(large=True)
    config["encoder_conf"]["dropout_rate"] = 0.1
    path = output / "given.yaml"
    path.write_text(yaml.safe_dump({**config, **SCHEDULE, **conf}))
    arguments = ["--config", str(path), "--output_dir", str(output)]
    for mode, name in (("train", "train"), ("valid", "dev")):
        arguments += [f"--{mode}_data", str(corpus / name)]
    return [*arguments, *options]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "latest.pth", weights_only=True)


def test_a_stopped_and_resumed_run_ends_where_an_uninterrupted_one_ends(
    corpus, tmp_path
):
    """Noise of the quantizer, dropout, temperature and schedule continue exactly."""
    assert main(command(corpus, tmp_path / "whole")) == 0
    stopped = command(corpus, tmp_path / "parts")
    assert main([*stopped, "--max_epoch", "1", "--scheduler_conf", "max_steps=4"]) == 0
    assert main([*stopped, "--must_resume", "true"]) == 0
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    log = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in log]
    assert [row["update"] for row in rows] == [1, 2, 3, 4]
    for key in ("loss_contrastive", "loss_diversity", "loss_penalty", "temperature"):
        assert rows[-1][key] is not None
    assert rows[-1]["temperature"] < rows[0]["temperature"]


def test_further_pretraining_starts_from_the_weights_and_resumes_from_its_own(
    corpus, tmp_path, capsys
):
    start = make_wav2vec2(1, large=True)
    folder = export_hf(start, wav2vec2_config(large=True), tmp_path / "hf")
    output = tmp_path / "further"
    options = ["--init_from", str(folder), "--max_epoch", "1"]
    still = {"optim_conf": {"lr": 1e-12}}  # what was loaded is then what is saved
    assert main(command(corpus, output, *options, **still)) == 0
    saved = yaml.safe_load((output / "config.yaml").read_text())
    assert saved["frontend_conf"]["normalize_audio"] is True
    trained = weights(output)
    assert trained["num_updates"] == 2
    for name, value in start.state_dict().items():
        if not name.startswith(("health", "num_updates")):
            assert (trained[name] - value).abs().max() < 1e-6, name
    # the second start resumes: what --init_from names may be gone
    (folder / "model.safetensors").unlink()
    again = command(corpus, output, "--init_from", str(folder), **still)
    assert main(again) == 0
    assert weights(output)["num_updates"] == 4
    other = command(corpus, tmp_path / "other", *options)
    assert main([*other, "--encoder_conf", "num_blocks=4"]) == 1
    assert "encoder_conf.num_blocks: 4 here, 3 in" in capsys.readouterr().err
