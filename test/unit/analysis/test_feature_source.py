"""Frozen features of our models, of others', and log-mel."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from asr_factories import tiny_config
from ssl_exp import write_exp

from espnet2_dq.analysis.feature_source import encode_sounds, open_features
from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.ssl.build import load_ssl_model

SOUNDS = [
    np.random.default_rng(i).standard_normal(size).astype(np.float32)
    for i, size in enumerate((16000, 9000))
]


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretraining directory whose teacher differs from its student."""
    folder = write_exp(tmp_path_factory.mktemp("features") / "pretrain")
    state = torch.load(folder / "latest.pth", weights_only=True)
    for name, value in state.items():
        if name.startswith("teacher.") and value.is_floating_point():
            value.mul_(0.5)
    torch.save(state, folder / "latest.pth")
    return folder


def features(source) -> list[list[torch.Tensor]]:
    return encode_sounds(source, SOUNDS, None)


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_networks_of_our_pretraining(exp: Path, network: str) -> None:
    source = open_features(exp, network)
    assert source.name == f"{network} of {exp}"
    assert source.num_layers == 3
    model, _ = load_ssl_model(exp)
    for sound, layers in zip(SOUNDS, features(source), strict=True):
        alone, lengths = model.layer_features(
            torch.from_numpy(sound)[None],
            torch.tensor([len(sound)]),
            teacher=network == "teacher",
        )
        assert len(layers) == 4
        for layer, expected in zip(layers, alone, strict=True):
            assert layer.shape == (int(lengths[0]), expected.shape[-1])
            torch.testing.assert_close(layer, expected[0], rtol=1e-3, atol=1e-4)


def test_student_teacher_and_untrained_differ_above_the_input(exp: Path) -> None:
    found = {
        network: features(open_features(exp, network, seed=2))[0]
        for network in ("student", "teacher", "untrained")
    }
    torch.testing.assert_close(found["student"][0], found["teacher"][0])
    assert not torch.allclose(found["student"][3], found["teacher"][3], atol=1e-2)
    assert not torch.allclose(found["student"][0], found["untrained"][0], atol=1e-2)
    again = features(open_features(exp, "untrained", seed=2))[0]
    torch.testing.assert_close(found["untrained"], again)
    other = features(open_features(exp, "untrained", seed=1))[0]
    assert not torch.allclose(other[3], again[3], atol=1e-2)


def test_opening_does_not_disturb_the_random_state(exp: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    open_features(exp, "untrained")
    assert torch.equal(torch.rand(2), expected)


def test_fine_tuned_model_has_a_student_only(tmp_path: Path) -> None:
    config = tiny_config(time_mask=None)
    torch.manual_seed(0)
    model = build_ctc_model(config).eval()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(model.state_dict(), tmp_path / "latest.pth")
    source = open_features(tmp_path)
    assert source.num_layers == 2
    speech, sizes = torch.from_numpy(SOUNDS[0])[None], torch.tensor([16000])
    with torch.no_grad():
        feats, lengths = model.preencoder(*model.frontend(speech, sizes))
        expected = model.encoder.extract(feats, lengths).layers[1][0]
    torch.testing.assert_close(features(source)[0][2], expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="no pretraining directory"):
        open_features(tmp_path, "teacher")


@pytest.mark.slow  # importing transformers
def test_hugging_face_directory(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=[8] * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm="layer",
            do_stable_layer_norm=False,
        )
    ).eval()
    model.save_pretrained(tmp_path / "hf")
    (tmp_path / "hf" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    source = open_features(tmp_path / "hf")
    assert source.num_layers == 2
    found = features(source)[0][2]
    with torch.no_grad():
        expected = model(torch.from_numpy(SOUNDS[0])[None]).last_hidden_state[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_log_mel_needs_no_model() -> None:
    source = open_features(None, "log_mel")
    assert source.num_layers == 0
    one, two = features(source)
    assert [layer.shape for layer in (*one, *two)] == [(49, 80), (27, 80)]
    torch.testing.assert_close(one[0].mean(0), torch.zeros(80), atol=1e-4, rtol=0)


def test_what_is_not_there_is_named(exp: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--network other"):
        open_features(exp, "other")
    with pytest.raises(ConfigError, match="--exp: missing"):
        open_features(None)
    with pytest.raises(CheckpointError, match=r"pretrain.*none\.pth"):
        open_features(exp, checkpoint="none.pth")
    with pytest.raises(ConfigError, match="nothing beside these weights"):
        open_features(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"--layer 4: .* layers 0 .* to 3"):
        open_features(exp).check_layer("--layer", 4)
