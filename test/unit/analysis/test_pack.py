"""Packed models: what is inside, what is not, and that a stranger can load them."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from factories import make_kaldi_dir

from espnet2_dq.analysis.collect import collect
from espnet2_dq.analysis.pack_check import check, load_packed
from espnet2_dq.analysis.packing import pack_ctc, pack_ssl
from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.bin.pack import main
from espnet2_dq.errors import CheckpointError
from espnet2_dq.ssl.build import build_ssl_model

FRONT = {
    "frontend": "log_mel",
    "frontend_conf": {"n_mels": 20},
    "preencoder": "linear",
    "encoder": "dq_transformer",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 2,
        "positional": {"style": "wav2vec2", "kernel": 5, "groups": 2, "depth": 1},
    },
}
LOCAL = {"output_dir": "/secret/exp", "train_shape_file": ["/secret/shape"]}
TOKENS = ["<blank>", "<unk>", "a", "ʃ"]
SPEECH = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))


def save(folder: Path, config: dict, model: torch.nn.Module) -> None:
    folder.mkdir(parents=True)
    text = yaml.safe_dump({**config, **LOCAL}, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    torch.save(model.state_dict(), folder / "1epoch.pth")
    (folder / "latest.pth").symlink_to("1epoch.pth")


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    branch = {"layers": [1], "student_layer": 1, "clusters": 4, "predictor_layers": 1}
    ssl = {
        **FRONT,
        "model_conf": {
            "regression": {"top_k": 1},
            "language": branch,
            "phoneme": branch,
        },
    }
    save(tmp_path / "exp" / "tag" / "pretrain", ssl, build_ssl_model(ssl))
    ctc = {**FRONT, "token_list": TOKENS, "model_conf": {"subsample": 2}}
    save(tmp_path / "exp" / "tag" / "finetune_phn", ctc, build_ctc_model(ctc))
    make_kaldi_dir(tmp_path / "dump" / "train", with_audio=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus.json").write_text(json.dumps({"source": "synthetic"}))
    return tmp_path / "exp" / "tag"


def collected(exp: Path):
    root = exp.parent.parent
    return collect(exp, data=root / "data", dump=root / "dump")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def state(path: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    (tmp_path / "m.pth").write_bytes(members(path)["model.pth"])
    return torch.load(tmp_path / "m.pth", weights_only=True)


def test_encoder_export_is_stripped_and_loads(exp: Path, tmp_path: Path) -> None:
    packed = pack_ssl(collected(exp), tmp_path / "out")
    files = members(packed.path)
    assert set(files) == {"config.yaml", "model.pth", "README.md", "meta.yaml"}
    assert yaml.safe_load(files["meta.yaml"])["files"] == {
        "ssl_model_file": "model.pth"
    }
    weights = state(packed.path, tmp_path)
    roots = {k.split(".")[0] for k in weights}
    assert {"preencoder", "encoder"} <= roots <= {"frontend", "preencoder", "encoder"}
    assert not any("teacher" in k or "codebook" in k for k in weights)
    assert not any(b"/secret" in content for content in files.values())
    line = check(packed.path, "ssl", packed.source, SPEECH)
    assert "24 frames of 16" in line


def test_full_export_keeps_the_quantizers(exp: Path, tmp_path: Path) -> None:
    packed = pack_ssl(collected(exp), tmp_path / "out", full=True)
    assert any("codebook" in k for k in state(packed.path, tmp_path))
    assert "encoded 0.5 s" in check(packed.path, "ssl_full", packed.source, SPEECH)


def test_fine_tuned_model_holds_its_tokens(exp: Path, tmp_path: Path) -> None:
    packed = pack_ctc(collected(exp), exp / "finetune_phn", tmp_path / "out")
    files = members(packed.path)
    config = yaml.safe_load(files["config.yaml"])
    assert config["token_list"] == TOKENS
    assert "tokens recognised" in check(packed.path, "ctc", packed.source, SPEECH)
    card = files["README.md"].decode()
    assert "All speech is synthetic" in card
    assert "Not scored." in card


def test_card_shows_scores(exp: Path, tmp_path: Path) -> None:
    section = {"metric": "per", "languages": {"es": {"rate": 0.125}}, "average": 0.125}
    (exp / "score_phn" / "test").mkdir(parents=True)
    (exp / "score_phn" / "test" / "scores.json").write_text(json.dumps(section))
    packed = pack_ctc(collected(exp), exp / "finetune_phn", tmp_path / "out")
    assert "| es | 12.50 |" in packed.path.with_suffix(".md").read_text()


def test_other_weights_fail_the_check(exp: Path, tmp_path: Path) -> None:
    packed = pack_ssl(collected(exp), tmp_path / "out")
    weights = torch.load(exp / "pretrain" / "1epoch.pth", weights_only=True)
    weights["encoder.layer_norm.bias"] += 1.0
    torch.save(weights, exp / "pretrain" / "1epoch.pth")
    with pytest.raises(CheckpointError, match="not that of"):
        check(packed.path, "ssl", packed.source, SPEECH)


def test_missing_weight_fails_to_load(exp: Path, tmp_path: Path) -> None:
    weights = torch.load(exp / "pretrain" / "1epoch.pth", weights_only=True)
    kept = {k: v for k, v in weights.items() if "encoder.blocks.1" not in k}
    torch.save(kept, tmp_path / "few.pth")
    with pytest.raises(CheckpointError, match="at least 100%"):
        load_packed(
            "ssl", str(exp / "pretrain" / "config.yaml"), str(tmp_path / "few.pth")
        )


def test_nothing_to_pack(tmp_path: Path) -> None:
    assert main(["--exp", str(tmp_path)]) == 1


@pytest.mark.slow  # a process with torch for each model
def test_command_packs_and_checks_in_a_fresh_process(exp: Path, capfd) -> None:
    root = exp.parent.parent
    argv = ["--exp", exp, "--data", root / "data", "--dump", root / "dump"]
    assert main([str(word) for word in argv]) == 0
    found = {p.name for p in (exp / "pack").iterdir()}
    assert found == {"ssl.zip", "ssl.md", "asr_phn.zip", "asr_phn.md"}
