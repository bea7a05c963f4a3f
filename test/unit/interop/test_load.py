"""load_weights: what loads, what is reported, what is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.load import load_weights, read_weights
from espnet2_dq.interop.rename import detect_source, rename_keys


class Tiny(nn.Module):
    """Two parts with 30 and 11 parameters and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 5)
        self.head = nn.Linear(10, 1)
        self.register_buffer("steps", torch.tensor(3))


def test_everything_loads_and_is_copied() -> None:
    source, target = Tiny(), Tiny()
    source.steps += 4
    report = load_weights(target, source.state_dict())
    assert report.fraction == 1.0
    assert report.missing == report.unexpected == []
    assert report.mismatched == {}
    assert len(report.loaded) == 5
    assert torch.equal(target.head.weight, source.head.weight)
    assert target.steps == 7


def test_report_and_refusal_leave_the_model_alone() -> None:
    target = Tiny()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    weights = {
        "encoder.weight": torch.zeros(5, 5),
        "encoder.bias": torch.zeros(4),
        "other": torch.zeros(1),
    }
    with pytest.raises(CheckpointError, match="61.0% of the parameters") as caught:
        load_weights(target, weights)
    for part in ("head.weight", "other", r"(4,) in the checkpoint, (5,) in the model"):
        assert part in str(caught.value)
    for name, value in target.state_dict().items():
        assert torch.equal(value, before[name])
    report = load_weights(target, weights, min_fraction=0.6)
    assert report.loaded == ["encoder.weight"]
    assert report.missing == ["steps", "head.weight", "head.bias"]
    assert report.unexpected == ["other"]
    assert report.mismatched == {"encoder.bias": ((4,), (5,))}
    assert report.fraction == pytest.approx(25 / 41)
    assert target.encoder.weight.abs().max() == 0


def test_prefixes_limit_loading_and_counting() -> None:
    source, target = Tiny(), Tiny()
    head = target.head.weight.clone()
    report = load_weights(target, source.state_dict(), prefixes=["encoder."])
    assert report.fraction == 1.0
    assert report.unexpected == []
    assert torch.equal(target.head.weight, head)
    assert torch.equal(target.encoder.weight, source.encoder.weight)


@pytest.mark.parametrize("layout", ["bare", "model", "state_dict", "safetensors"])
def test_files(tmp_path: Path, layout: str) -> None:
    source, target = Tiny(), Tiny()
    path = tmp_path / "weights.pth"
    if layout == "safetensors":
        from safetensors.torch import save_file

        path = tmp_path / "weights.safetensors"
        save_file(source.state_dict(), path)
    elif layout == "bare":
        torch.save(source.state_dict(), path)
    else:
        torch.save({layout: source.state_dict(), "epoch": 3}, path)
    assert load_weights(target, path).fraction == 1.0
    assert torch.equal(target.head.weight, source.head.weight)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / "absent.pth")
    path = tmp_path / "cut.pth"
    torch.save(Tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match="cut.pth: cannot be read"):
        read_weights(path)
    torch.save({"cfg": Path("x")}, path)
    with pytest.raises(CheckpointError, match="convert it to .safetensors with"):
        read_weights(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(path)
    other = tmp_path / "cut.safetensors"
    other.write_bytes(b"12345678")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_weights(other)


def test_sources_are_told_apart() -> None:
    assert detect_source(["wav2vec2.feature_projection.projection.bias"]) == (
        "huggingface"
    )
    assert detect_source(["mask_emb", "post_extract_proj.weight"]) == "fairseq"
    assert detect_source(["encoder.pos_conv.0.bias", "encoder.layers.0.fc1.bias"]) == (
        "fairseq"
    )
    assert detect_source(["encoder.blocks.0.fc1.weight"]) == "ours"


@pytest.mark.parametrize(
    ("source", "name", "ours"),
    [
        (
            "fairseq",
            "w2v_encoder.w2v_model.encoder.pos_conv.0.weight_g",
            "encoder.pos_conv.conv.parametrizations.weight.original0",
        ),
        ("fairseq", "encoder.pos_conv.3.0.bias", "encoder.pos_conv.convs.3.bias"),
        (
            "fairseq",
            "feature_extractor.conv_layers.0.2.weight",
            "frontend.layers.0.layer_norm.weight",
        ),
        (
            "fairseq",
            "feature_extractor.conv_layers.4.2.1.bias",
            "frontend.layers.4.layer_norm.bias",
        ),
        ("fairseq", "layer_norm.bias", "frontend.final_norm.bias"),
        ("fairseq", "encoder.layer_norm.bias", "encoder.layer_norm.bias"),
        (
            "huggingface",
            "wav2vec2.encoder.pos_conv_embed.conv.weight_v",
            "encoder.pos_conv.conv.parametrizations.weight.original1",
        ),
        (
            "huggingface",
            "data2vec_audio.encoder.layers.11.layer_norm.weight",
            "encoder.blocks.11.self_attn_layer_norm.weight",
        ),
    ],
)
def test_single_names(source: str, name: str, ours: str) -> None:
    assert list(rename_keys({name: 0}, source)) == [ours]


def test_rename_errors() -> None:
    with pytest.raises(ConfigError, match="not one of"):
        rename_keys({}, "keras")
    with pytest.raises(ConfigError, match="two weights"):
        rename_keys({"module.a": 0, "a": 1}, "ours")
