"""The command that chooses the weight between the heads."""

import json

import numpy as np
import pytest

from espnet2_dq.bin.tune_weight import main
from espnet2_dq.decode.posterior_files import write_posteriors, write_token_lists

TOKENS = {
    "grapheme": ["<blank>", "<unk>", "ᄀ", "ᄂ", "ᅡ", "<sos/eos>"],
    "syllable": ["<blank>", "<unk>", "가", "나", "<sos/eos>"],
}


def frames(*rows):
    probs = np.array(rows, dtype=np.float64)
    return np.log(probs / probs.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def dev(tmp_path):
    """The grapheme head is sure of the right answer, the syllable head of the wrong."""
    low = 1e-4
    grapheme = frames(
        [low, low, 1, 0.3, low, low], [low, low, low, low, 1, low], [1, *[low] * 5]
    )
    syllable = frames([1, low, low, low, low], [low, low, 0.3, 1, low], [1, *[low] * 4])
    posteriors = tmp_path / "posteriors"
    write_token_lists(posteriors, TOKENS)
    write_posteriors(
        posteriors, "u1", {"grapheme": grapheme, "syllable": syllable}, 960
    )
    data = tmp_path / "dev"
    data.mkdir()
    for name, value in (
        ("wav.scp", "u1.wav"),
        ("utt2spk", "s"),
        ("utt2lang", "ko"),
        ("utt2num_samples", "960"),
        ("text", "가"),
    ):
        (data / name).write_text(f"u1 {value}\n")
    return tmp_path


def tune(dev, *options):
    out = dev / "weights.json"
    code = main(
        [
            *("--posteriors", str(dev / "posteriors"), "--data_dir", str(dev / "dev")),
            *("--beam_size", "4", "--out", str(out), *options),
        ]
    )
    return code, out


def test_weight_of_each_mode_favours_the_head_that_is_right(dev):
    code, out = tune(dev)
    assert code == 0
    chosen = json.loads(out.read_text())
    assert set(chosen) == {"merge", "rescore", "joint"}
    assert chosen["joint"] == chosen["rescore"]
    assert all(value["weight"] <= 0.5 for value in chosen.values())


def test_unknown_mode_is_named(dev, capsys):
    code, out = tune(dev, "--modes", "greedy")
    assert code == 1
    assert not out.exists()


def test_weight_outside_0_to_1_is_refused(dev):
    code, out = tune(dev, "--grid", "1.5")
    assert code == 1
    assert not out.exists()
