"""Stage 7 from the command line, with a small real model of random weights."""

import json
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from factories import make_kaldi_dir

from espnet2_dq.bin.analyse import main
from espnet2_dq.ssl.build import build_ssl_model

CONFIG = {
    "frontend": "log_mel",
    "frontend_conf": {"n_mels": 20},
    "encoder": "dq_transformer",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 3,
        "positional": {"style": "wav2vec2", "kernel": 5, "groups": 2, "depth": 1},
    },
    "model_conf": {
        "regression": {"top_k": 2},
        "language": {"layers": [1], "student_layer": 1, "clusters": 4},
        "phoneme": {"layers": [2], "student_layer": 2, "clusters": 6},
    },
}


def write_exp(folder: Path, *, quantizers: bool) -> Path:
    config = json.loads(json.dumps(CONFIG))
    for name in ("language", "phoneme"):
        config["model_conf"][name]["enable"] = quantizers
    torch.manual_seed(0)
    model = build_ssl_model(config)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(model.state_dict(), folder / "latest.pth")
    rows = [{"update": u, "loss": 3.0 - u, "lr": 0.1} for u in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def analyse(tmp_path: Path, *, quantizers: bool, phones: bool = True) -> dict:
    exp = write_exp(tmp_path / "exp" / "pretrain", quantizers=quantizers)
    make_kaldi_dir(tmp_path / "test", utterances=3, seconds=0.6, phones=phones)
    out = tmp_path / "exp" / "analysis"
    argv = ["--exp", str(exp), "--data_dir", str(tmp_path / "test"), "--out", str(out)]
    assert main(argv) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert {p.name for p in out.glob("*.[ps][nv]g")} == set(metrics["figures"])
    return metrics


def test_full_model(tmp_path: Path) -> None:
    metrics = analyse(tmp_path, quantizers=True)
    assert metrics["frames"] == 6 * 29
    assert 0.0 <= metrics["lnmi"]["joint"] <= 1.0
    assert 0.0 <= metrics["pnmi"]["joint"] <= 1.0
    assert len(metrics["pnmi"]["groups"]) == 2
    assert max(metrics["agn"]["phoneme"]) <= 6
    assert metrics["figures"] == [
        "language_codes.png",
        "phone_codes.png",
        "training.svg",
    ]


def test_plain_data2vec_gives_what_there_is(tmp_path: Path, capfd) -> None:
    metrics = analyse(tmp_path, quantizers=False)
    assert metrics["figures"] == ["training.svg"]
    assert metrics["pnmi"] is None
    assert len(metrics["notes"]) == 2


def test_missing_checkpoint_is_an_error_for_people(tmp_path: Path) -> None:
    make_kaldi_dir(tmp_path / "test", utterances=1)
    argv = ["--exp", str(tmp_path), "--data_dir", str(tmp_path / "test")]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_torch_is_only_imported_with_a_model() -> None:
    modules = ["analysis.stage", "analysis.codes", "analysis.report", "bin.report"]
    modules += ["analysis.collect", "analysis.metrics", "bin.analyse", "bin.pack"]
    names = ", ".join(f"espnet2_dq.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
