"""Layer probes find the layer that hears what is asked, and say when none does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ssl_exp import write_exp
from tone_corpus import band_source, write_tones

from espnet2_dq.analysis.frame_labels import read_alignments
from espnet2_dq.analysis.layer_probes import (
    LayerProbeOptions,
    choose,
    probe_layers,
    suggestions,
)
from espnet2_dq.analysis.probe import standard_error
from espnet2_dq.bin.probe_layers import main
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import DataError

OPTIONS = LayerProbeOptions(max_train_frames=1500, max_test_frames=500, batch_s=5.0)


@pytest.fixture(scope="module")
def dirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four speakers to fit on, two others to test."""
    root = tmp_path_factory.mktemp("tones")
    train = write_tones(root / "train", speakers=("s0", "s1", "s4", "s5"), each=6)
    return train, write_tones(root / "dev", speakers=("s2", "s3"), each=5, seed=1)


@pytest.fixture(scope="module")
def result(dirs) -> dict:
    phones = {**read_alignments(dirs[0]), **read_alignments(dirs[1])}
    sources = {"trained": band_source(), "untrained": band_source(useful=False)}
    return probe_layers(sources, *dirs, phones=phones, options=OPTIONS)


@pytest.mark.parametrize(
    ("target", "layer", "classes"),
    [("language", 1, 2), ("speaker", 2, 4), ("phoneme", 3, 3)],
)
def test_each_target_is_found_in_its_layer(result, target, layer, classes) -> None:
    found = result["targets"][target]
    accuracy = found["trained"]["accuracy"]
    assert found["best_layer"] == layer
    assert accuracy[layer] > 0.9
    assert len(accuracy) == 4
    assert max(accuracy[:layer] + accuracy[layer + 1 :]) < 0.8
    assert found["classes"] == classes
    assert found["suggested"] == [layer]
    assert found["learned"] is True


def test_who_is_tested(result: dict) -> None:
    targets = result["targets"]
    assert targets["language"]["test"] == "unseen speakers"
    assert targets["language"]["train_items"] == 48
    assert targets["language"]["test_items"] == 20
    # speakers of dev are unknown: a fifth of each speaker's 12 utterances is held out
    assert targets["speaker"]["test"] == "other utterances of the same speakers"
    assert targets["speaker"]["train_items"] == 40
    assert targets["speaker"]["test_items"] == 8
    assert targets["speaker"]["majority"] == 0.25
    assert result["notes"] == []


def test_controls_stay_at_chance(result: dict) -> None:
    for target in result["targets"].values():
        chance = max(target["majority"], 1 / target["classes"])
        assert max(target["untrained"]["accuracy"]) < chance + 0.35


def test_suggestion_is_printed_and_withheld_where_nothing_was_learned(dirs) -> None:
    noise = {"trained": band_source(useful=False), "untrained": band_source()}
    lines = suggestions(probe_layers(noise, *dirs, options=OPTIONS))
    assert sum("nothing to choose by" in line for line in lines) == 2
    assert not any("suggested" in line for line in lines)
    assert lines[-1] == "note: no aligned phones: phonemes are not probed"
    lines = suggestions(probe_layers({"trained": band_source()}, *dirs))
    assert "  suggested for a speaker quantizer: layers: [2], student_layer: 2" in lines


def test_a_further_table_follows_the_same_rule(dirs, tmp_path: Path) -> None:
    """Labels that unseen speakers share are tested on these, as languages are."""
    train, dev = dirs
    for folder in dirs:
        langs = read_table(folder / "utt2lang")
        write_table(
            folder / "utt2emo", {u: f"mood-{lang}" for u, lang in langs.items()}
        )
    options = LayerProbeOptions(tables=("utt2emo",))
    found = probe_layers({"trained": band_source()}, train, dev, options=options)
    assert list(found["targets"]) == ["emo"]
    assert found["targets"]["emo"]["best_layer"] == 1
    assert found["targets"]["emo"]["test"] == "unseen speakers"


def test_one_label_only_is_passed_over_with_a_note(tmp_path: Path) -> None:
    train = write_tones(tmp_path / "train", speakers=("s0", "s1"), each=3, phones=False)
    dev = write_tones(tmp_path / "dev", speakers=("s2",), each=1, phones=False)
    for folder in (train, dev):
        utts = read_table(folder / "utt2spk")
        write_table(folder / "utt2lang", dict.fromkeys(utts, "de"))
    found = probe_layers({"trained": band_source()}, train, dev)
    assert list(found["targets"]) == ["speaker"]
    assert "one label only" in found["notes"][0]


def test_bad_input_is_named(dirs, tmp_path: Path) -> None:
    train, _ = dirs
    source = {"trained": band_source()}
    with pytest.raises(DataError, match="unseen speakers"):
        probe_layers(source, train, train)
    few = write_tones(tmp_path / "few", speakers=("s0", "s1"), each=1)
    with pytest.raises(DataError, match="fewer than two labels have 5 utterances"):
        probe_layers(source, few, dirs[1])
    missing = LayerProbeOptions(tables=("utt2mood",))
    with pytest.raises(DataError, match=r"utt2mood.*utt2lang"):
        probe_layers(source, *dirs, options=missing)


def test_the_best_of_equals_and_its_neighbours() -> None:
    def target(accuracy: list[float], error: float) -> dict:
        errors = [error] * len(accuracy)
        return {"trained": {"accuracy": accuracy, "standard_error": errors}}

    found = choose(target([0.99, 0.5, 0.6, 0.7, 0.69, 0.68, 0.2, 0.7], 0.03))
    assert found["best_layer"] == 3  # layer 0 cannot be tapped
    assert found["within_error"] == [3, 4, 5, 7]
    assert found["suggested"] == [3, 4, 5]
    assert found["learned"] is None
    wide = choose(target([0.1, 0.5, 0.5, 0.51, 0.5, 0.49], 0.1))
    assert wide["within_error"] == [1, 2, 3, 4, 5]
    assert wide["suggested"] == [2, 3, 4] or wide["suggested"] == [1, 2, 3]


def test_frames_of_an_utterance_count_as_one_for_the_error() -> None:
    hits = torch.tensor([True] * 50 + [False] * 50)
    alone = standard_error(hits)
    assert alone == pytest.approx(np.sqrt(0.25 / 100))
    two_utterances = torch.tensor([0] * 50 + [1] * 50)
    assert standard_error(hits, two_utterances) == pytest.approx(np.sqrt(2) * 25 / 100)
    assert standard_error(hits, torch.arange(100)) == pytest.approx(alone)


def test_command_writes_numbers_and_picture(dirs, tmp_path: Path, capfd) -> None:
    exp = write_exp(tmp_path / "pretrain")
    argv = ["--exp", str(exp), "--train_dir", str(dirs[0]), "--test_dir", str(dirs[1])]
    argv += ["--out", str(tmp_path / "out"), "--max_train_frames", "500"]
    assert main([*argv, "--network", "teacher"]) == 0
    found = json.loads((tmp_path / "out" / "layers.json").read_text())
    assert found["source"] == f"teacher of {exp}"
    assert found["alignment"] == "exact"
    assert set(found["targets"]) == {"language", "speaker", "phoneme"}
    for target in found["targets"].values():
        assert len(target["trained"]["accuracy"]) == 4
        assert len(target["untrained"]["standard_error"]) == 4
        assert 1 <= target["best_layer"] <= 3
    assert "<svg" in (tmp_path / "out" / "layers.svg").read_text()
    assert main([*argv, "--network", "log_mel", "--untrained", "false"]) == 0
    found = json.loads((tmp_path / "out" / "layers.json").read_text())
    assert found["targets"]["phoneme"]["best_layer"] == 0
    assert main([*argv[2:], "--network", "student"]) == 1
    assert "--exp: missing" in capfd.readouterr().err
