"""Architecture and weights taken over from pretraining."""

import pytest
import torch
import yaml
from asr_factories import tiny_config

from espnet2_dq.asr.build import build_ctc_model
from espnet2_dq.asr.init import initialise, merge_architecture, resolve_architecture
from espnet2_dq.errors import CheckpointError, ConfigError

PARTS = ("frontend", "preencoder", "encoder")


def architecture(**changes):
    keys = [f"{p}{suffix}" for p in PARTS for suffix in ("", "_conf")]
    config = {k: v for k, v in tiny_config().items() if k in keys}
    config["encoder_conf"] = {**config["encoder_conf"], **changes}
    return config


@pytest.fixture
def pretrained(tmp_path):
    """A pretraining directory: a teacher stands beside the student."""
    torch.manual_seed(7)
    model = build_ctc_model(tiny_config())
    state = {k: v for k, v in model.state_dict().items() if k.startswith(PARTS)}
    state |= {f"teacher.{k}": v + 1 for k, v in state.items()}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(architecture()))
    torch.save(state, tmp_path / "latest.pth")
    return tmp_path, model


def test_architecture_is_taken_over_with_new_dropouts(pretrained) -> None:
    directory, _ = pretrained
    given = {"encoder": None, "encoder_conf": {"dropout_rate": 0.3}, "preencoder": None}
    for init in (directory, directory / "latest.pth"):
        merged = resolve_architecture(given, str(init))
        assert merged == architecture(dropout_rate=0.3)


def test_keys_that_agree_may_be_repeated() -> None:
    given = {"frontend": "log_mel", "encoder_conf": {"num_blocks": 2}}
    assert merge_architecture(given, architecture(), "x") == architecture()
    # said here, left at its default there
    given = {"encoder_conf": {"normalize_before": False}}
    merged = merge_architecture(given, architecture(), "x")
    assert merged == architecture(normalize_before=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frontend": "waveform"}, "frontend: 'waveform' here, 'log_mel' in pre.yaml"),
        ({"encoder_conf": {"num_blocks": 6}}, "encoder_conf.num_blocks: 6 here, 2 in"),
        ({"encoder_conf": {"normalize_before": True}}, "normalize_before: True here"),
        ({"frontend_conf": {"n_mels": 80}}, "frontend_conf.n_mels: 80 here, 20 in"),
        ({"preencoder": "none"}, "preencoder: 'none' here, 'linear'"),
    ],
)
def test_a_key_that_differs_is_named(given, message) -> None:
    with pytest.raises(ConfigError, match=message):
        merge_architecture(given, architecture(), "pre.yaml")


def test_no_preencoder_is_taken_over_as_none() -> None:
    source = {**architecture(), "preencoder": None}
    assert merge_architecture({"preencoder": None}, source, "x")["preencoder"] is None
    assert merge_architecture({"preencoder": "none"}, source, "x")["preencoder"] is None


def test_random_start_needs_an_architecture(pretrained) -> None:
    directory, _ = pretrained
    with pytest.raises(ConfigError, match="--architecture"):
        resolve_architecture({"encoder_conf": {}}, "random")
    own = resolve_architecture({**architecture(), "preencoder": None}, "random")
    assert own == architecture()
    merged = resolve_architecture({}, "random", str(directory))
    assert merged == architecture()
    with pytest.raises(ConfigError, match="--init PATH"):
        resolve_architecture(architecture(), None)


def test_width_is_written_out_for_the_masks() -> None:
    assert merge_architecture({}, {}, "x")["encoder_conf"] == {"output_size": 768}


def test_weights_are_the_students(pretrained, make_model) -> None:
    directory, model = pretrained
    fresh = make_model()
    head = fresh.ctc.ctc_lo.weight.detach().clone()
    report = initialise(fresh, str(directory), 0.95)
    assert report.fraction == 1.0
    expected = model.state_dict()
    for name, value in fresh.state_dict().items():
        if name.startswith(PARTS):
            assert torch.equal(value, expected[name]), name
    assert torch.equal(fresh.ctc.ctc_lo.weight, head)


def test_too_few_weights_fail_unless_allowed(pretrained, make_model) -> None:
    directory, _ = pretrained
    path = directory / "latest.pth"
    state = torch.load(path)
    torch.save({k: v for k, v in state.items() if "blocks.1." not in k}, path)
    with pytest.raises(CheckpointError, match="of the parameters loaded"):
        initialise(make_model(), str(path), 0.95)
    report = initialise(make_model(), str(path), 0.2)
    assert any("blocks.1." in name for name in report.missing)
