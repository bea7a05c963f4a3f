"""Sources of weights: what is found, what has to agree, what is refused."""

import json

import pytest
import torch
import yaml
from training_factories import make_config
from wav2vec2_factories import SHAPES, make_wav2vec2, wav2vec2_config

from espnet2_dq.asr.init import initialise as initialise_ctc
from espnet2_dq.asr.init import resolve_architecture
from espnet2_dq.bin.export_hf import main as export_main
from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.export_hf import export_hf
from espnet2_dq.interop.hf_config import hf_config, read_hf_config
from espnet2_dq.interop.pretrained import find_weights, read_architecture
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.ssl.init import initialise, settle_architecture


@pytest.fixture
def hf_dir(tmp_path):
    return export_hf(make_wav2vec2(1), wav2vec2_config(), tmp_path / "hf")


@pytest.fixture
def our_dir(tmp_path):
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(wav2vec2_config()))
    model = make_wav2vec2(1)
    model.on_update()
    torch.save(model.state_dict(), folder / "latest.pth")
    return folder


def settle(init_from, **changes):
    given = wav2vec2_config()
    for key, value in changes.items():
        given[key] = {**given[key], **value} if isinstance(value, dict) else value
    return {**given, **settle_architecture(given, init_from)}


def test_a_configuration_that_says_all_the_same_may_be_given(hf_dir, our_dir):
    for source in (hf_dir, our_dir, hf_dir / "model.safetensors"):
        settled = settle(source, encoder_conf={"dropout_rate": 0.3})
        assert settled["encoder_conf"]["dropout_rate"] == 0.3
        model = build_ssl_model(settled)
        initialise(model, source, 1.0)
        assert model.num_updates == 0
        reference = make_wav2vec2(1).state_dict()
        for part in ("encoder.blocks.2.fc1.weight", "quantizer.codevectors"):
            assert torch.equal(model.state_dict()[part], reference[part])
    settle(hf_dir, frontend_conf={"channels": 99, "shapes": SHAPES})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_conf": {"num_blocks": 4}}, "encoder_conf.num_blocks: 4 here, 3 in"),
        ({"frontend_conf": {"channels": 16}}, r"frontend_conf.channels: \[\[16, 10, 5"),
        ({"frontend_conf": {"norm_mode": "layer_norm"}}, "frontend_conf.norm_mode"),
        (
            {"frontend_conf": {"normalize_audio": True}},
            "frontend_conf.normalize_audio: True here, False in",
        ),
        (
            {"encoder_conf": {"positional": {"kernel": 15, "groups": 2}}},
            "encoder_conf.positional",
        ),
        ({"model_conf": {"final_dim": 9}}, "model_conf.final_dim: 9 here, 8 in"),
        (
            {"model_conf": {"quantizer": {"codes": 320}}},
            "model_conf.quantizer.codes: 320 here, 10 in",
        ),
        ({"frontend": "log_mel"}, "frontend: 'log_mel' here, 'waveform' in"),
    ],
)
@pytest.mark.parametrize("kind", ["hf_dir", "our_dir"])
def test_the_key_that_differs_is_named(request, kind, changes, message):
    with pytest.raises(ConfigError, match=message):
        settle(request.getfixturevalue(kind), **changes)


def test_normalisation_has_to_be_said_somewhere(hf_dir):
    """Trap T21."""
    (hf_dir / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"normalize_audio: missing.*does not say"):
        settle_architecture({"objective": "wav2vec2"}, hf_dir)
    given = {"objective": "wav2vec2", "frontend_conf": {"normalize_audio": True}}
    assert settle_architecture(given, hf_dir)["frontend_conf"]["normalize_audio"]
    newer = {"feature_extractor": {"do_normalize": True}}
    (hf_dir / "processor_config.json").write_text(json.dumps(newer))
    assert read_hf_config(hf_dir / "config.json")["frontend_conf"]["normalize_audio"]


def test_quantizer_and_projections_have_to_be_there(our_dir):
    path = our_dir / "latest.pth"
    state = torch.load(path)
    kept = {k: v for k, v in state.items() if not k.startswith(("quantizer", "proj"))}
    torch.save(kept, path)
    with pytest.raises(CheckpointError, match=r"(?s)latest\.pth.*missing: quantizer"):
        initialise(make_wav2vec2(2), our_dir, 0.95)
    model = make_wav2vec2(2)
    initialise(model, our_dir, 0.0)
    assert torch.equal(model.project_q.weight, make_wav2vec2(2).project_q.weight)


def test_data2vec_starts_with_a_teacher_like_its_student(hf_dir):
    config = {**make_config(), **settle_architecture({"model_conf": {}}, hf_dir)}
    config["model_conf"] = make_config()["model_conf"]
    config["model_conf"]["phoneme"]["layers"] = [2]
    model = build_ssl_model(config)
    initialise(model, hf_dir, 1.0)
    student, teacher = model.encoder.state_dict(), model.teacher.encoder.state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in student.items())
    expected = make_wav2vec2(1).encoder.blocks[0].fc1.weight
    assert torch.equal(model.encoder.blocks[0].fc1.weight, expected)


def test_fine_tuning_takes_a_hugging_face_directory(hf_dir, tmp_path):
    from espnet2_dq.asr.build import build_ctc_model

    for architecture in (None, str(hf_dir), str(hf_dir / "config.json")):
        given = {"encoder_conf": {"dropout_rate": 0.2}}
        merged = resolve_architecture(given, str(hf_dir), architecture)
        assert merged["encoder_conf"]["dropout_rate"] == 0.2
        assert merged["frontend_conf"]["normalize_audio"] is False
    tokens = ["<blank>", "<unk>", "a", "b"]
    model = build_ctc_model(
        {**merged, "token_list": tokens, "time_mask": {"prob": 0.5}}
    )
    report = initialise_ctc(model, str(hf_dir), 1.0)
    assert report.missing == []
    reference = make_wav2vec2(1)
    for name, value in reference.encoder.state_dict().items():
        assert torch.equal(value, model.encoder.state_dict()[name]), name
    with pytest.raises(ConfigError, match="num_blocks: 6 here, 3 in"):
        resolve_architecture({"encoder_conf": {"num_blocks": 6}}, str(hf_dir))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="not found"):
        find_weights(tmp_path / "none")
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="several files"):
        find_weights(tmp_path)
    path = tmp_path / "alone.pth"
    torch.save({"a": torch.ones(1)}, path)
    assert read_architecture(path) is None


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", CheckpointError, "cannot be read as JSON"),
        ('{"model_type": "hubert"}', CheckpointError, "model_type is 'hubert'"),
        ('{"hidden_act": "relu"}', ConfigError, "hidden_act is 'relu'; only 'gelu'"),
        ('{"add_adapter": true}', ConfigError, "add_adapter"),
    ],
)
def test_other_models_are_refused(tmp_path, content, error, message):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(error, match=message):
        read_hf_config(path)


def test_data2vec_audio_directories_have_their_own_shape(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "data2vec-audio"}')
    found = read_hf_config(path)
    assert found["frontend_conf"]["norm_mode"] == "layer_norm"
    place = found["encoder_conf"]["positional"]
    assert place == {"style": "data2vec", "kernel": 19, "depth": 5, "groups": 16}


def test_what_hugging_face_has_not_is_not_exported(tmp_path):
    config = wav2vec2_config()
    config["encoder_conf"]["positional"] = {"style": "data2vec"}
    with pytest.raises(ConfigError, match=r"positional\.style"):
        hf_config(config)
    with pytest.raises(ConfigError, match="objective: data2vec"):
        export_hf(make_wav2vec2(), make_config(), tmp_path)
    with pytest.raises(ConfigError, match="frontend: log_mel"):
        hf_config({**make_config(), "objective": "wav2vec2"})


def test_command(our_dir, tmp_path, capsys):
    out = tmp_path / "out"
    assert export_main(["--exp_dir", str(our_dir), "--out", str(out)]) == 0
    names = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {path.name for path in out.iterdir()} == names
    assert json.loads((out / "preprocessor_config.json").read_text()) | {
        "do_normalize": False,
        "sampling_rate": 16000,
    } == json.loads((out / "preprocessor_config.json").read_text())
    assert export_main(["--exp_dir", str(our_dir), "--out", str(our_dir)]) == 1
    assert "holds config.yaml" in capsys.readouterr().err
