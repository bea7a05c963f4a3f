"""Stage 7 from the command line, with a small real model of random weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from asr_factories import TOKENS, tiny_config
from factories import make_kaldi_dir
from ssl_exp import write_exp

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.bin.analyse import main
from espnet2_dq.data.ctm import PhoneSegment, write_ctm
from espnet2_dq.data.tables import read_table, write_table


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
    modules += ["analysis.alignments", "analysis.summary", "data.textgrid"]
    modules += ["bin.probe_layers", "bin.offline_kmeans"]
    names = ", ".join(f"espnet2_dq.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, list[str]]:
    """Data directory without alignments, and the command without its options."""
    exp = write_exp(tmp_path / "exp" / "pretrain")
    make_kaldi_dir(tmp_path / "test", utterances=3, seconds=0.6)
    argv = ["--exp", str(exp), "--data_dir", str(tmp_path / "test")]
    return tmp_path / "test", [*argv, "--out", str(tmp_path / "out")]


def metrics_of(argv: list[str]) -> dict:
    assert main(argv) == 0
    return json.loads(Path(argv[5], "metrics.json").read_text())


def test_users_alignments_are_labelled(prepared, tmp_path: Path) -> None:
    data_dir, argv = prepared
    phones = [PhoneSegment(0.0, 0.3, "x"), PhoneSegment(0.3, 0.3, "y")]
    utts = list(read_table(data_dir / "wav.scp"))
    write_ctm(tmp_path / "mine.ctm", dict.fromkeys(utts[1:], phones))
    metrics = metrics_of([*argv, "--alignments", str(tmp_path / "mine.ctm")])
    assert metrics["alignment"] == "ctm"
    assert metrics["alignment_source"] == str(tmp_path / "mine.ctm")
    assert metrics["alignment_missing"] == 1
    assert metrics["phones"] == 2
    assert metrics["pnmi"]["joint"] is not None
    assert any("only if MFA made them" in note for note in metrics["notes"])
    assert "phone_codes.png" in metrics["figures"]


def test_alignment_by_a_model_is_labelled(prepared, tmp_path: Path, caplog) -> None:
    data_dir, argv = prepared
    write_table(data_dir / "phn", dict.fromkeys(read_table(data_dir / "text"), "a b"))
    config = tiny_config(token_list=TOKENS)
    torch.manual_seed(0)
    (tmp_path / "ft").mkdir()
    (tmp_path / "ft" / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(build_ctc_model(config).state_dict(), tmp_path / "ft" / "latest.pth")
    with caplog.at_level("INFO"):
        metrics = metrics_of([*argv, "--align_with", str(tmp_path / "ft")])
    assert metrics["alignment"] == "ctc"
    assert metrics["phones"] in (2, 3)
    assert "alignment: ctc" in caplog.text
    assert "not comparable with the paper's Tables IV and V" in caplog.text


def test_alignments_that_do_not_fit_stop_the_stage(prepared, tmp_path, capfd) -> None:
    data_dir, argv = prepared
    phones = [PhoneSegment(0.0, 0.3, "x")]
    utts = list(read_table(data_dir / "wav.scp"))
    write_ctm(tmp_path / "mine.ctm", dict.fromkeys(utts, phones))
    argv = [*argv, "--alignments", str(tmp_path / "mine.ctm")]
    strict = [*argv, "--alignment_tolerance_s", "0.1"]
    Path(argv[5]).mkdir()
    Path(argv[5], "metrics.json").write_text("{}")
    assert main(strict) == 1
    error = capfd.readouterr().err
    assert f"{utts[0]}: too short: the alignment ends at 0.30 s, the sound at" in error
    assert not Path(argv[5], "metrics.json").exists()
    assert metrics_of([*strict, "--max_reject_ratio", "1"])["alignment_rejects"] == {
        "too short": 6
    }
    assert metrics_of(argv)["alignment_rejects"] == {}


def test_speaker_quantizer_is_judged_by_speakers(tmp_path: Path) -> None:
    exp = write_exp(tmp_path / "pretrain", target="utt2spk")
    make_kaldi_dir(tmp_path / "test", utterances=3, seconds=0.6)
    argv = ["--exp", str(exp), "--data_dir", str(tmp_path / "test")]
    metrics = metrics_of([*argv, "--out", str(tmp_path / "out")])
    assert metrics["target"]["table"] == "utt2spk"
    assert metrics["target"]["labels"] == 4
    assert {"language_codes.png", "spk_codes.png"} <= set(metrics["figures"])
    table = CodeTable.load(tmp_path / "out" / "codes.npz")
    assert metrics["acn"]["language"] == len(set(map(tuple, table.language)))


def test_more_clusters_than_frames_end_in_a_clear_error(tmp_path, capfd) -> None:
    exp = write_exp(tmp_path / "pretrain")  # six clusters
    make_kaldi_dir(
        tmp_path / "test", langs=("es",), utterances=1, seconds=0.1, phones=True
    )
    argv = ["--exp", str(exp), "--data_dir", str(tmp_path / "test")]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 1
    assert "6 clusters per group of the phoneme quantizer for 4 frames" in (
        capfd.readouterr().err
    )
