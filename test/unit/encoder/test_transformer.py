"""DQTransformerEncoder: taps, padding, masking, LayerDrop, initialisation."""

from typing import Any

import pytest
import torch

from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError

STYLES = [
    {"style": "wav2vec2", "kernel": 8, "groups": 2},
    {"style": "wav2vec2", "kernel": 7, "groups": 2},
    {"style": "data2vec", "kernel": 5, "groups": 2, "depth": 3},
    {"style": "data2vec", "kernel": 4, "groups": 2, "depth": 2},
]


def _make(**conf: Any) -> DQTransformerEncoder:
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 3,
        "positional": STYLES[0],
        **conf,
    }
    return DQTransformerEncoder(16, **values)


@pytest.mark.parametrize("positional", STYLES)
@pytest.mark.parametrize("normalize_before", [False, True])
def test_padding_never_changes_a_valid_frame(
    positional: dict[str, Any], normalize_before: bool
) -> None:
    encoder = _make(positional=positional, normalize_before=normalize_before).eval()
    xs = torch.randn(2, 20, 16)
    xs[1, 13:] = 1e4
    lengths = torch.tensor([20, 13])
    both = encoder.extract(xs, lengths, need_ffn=True)
    alone = encoder.extract(xs[1:, :13], lengths[1:], need_ffn=True)
    assert (both.output[1, :13] - alone.output[0]).abs().max() < 1e-5
    assert both.output[1, 13:].abs().max() == 0
    for mine, other in zip(
        both.layers + both.ffn, alone.layers + alone.ffn, strict=True
    ):
        assert (mine[1, :13] - other[0]).abs().max() < 1e-5
        assert torch.isfinite(mine).all()


def test_pad_leak_is_seen_without_masking_between() -> None:
    """Reproducing fairseq's stack makes valid frames depend on padding."""
    leaky = {**STYLES[2], "mask_between": False}
    encoder = _make(positional=leaky).eval()
    xs, lengths = torch.randn(1, 20, 16), torch.tensor([13])
    padded = encoder.extract(xs, lengths).output[0, :13]
    alone = encoder.extract(xs[:, :13], lengths).output[0]
    assert (padded - alone).abs().max() > 1e-3


@pytest.mark.parametrize("normalize_before", [False, True])
def test_ffn_tap_is_fc2_and_layers_are_block_outputs(normalize_before: bool) -> None:
    encoder = _make(normalize_before=normalize_before).eval()
    seen: dict[int, torch.Tensor] = {}
    for index, block in enumerate(encoder.blocks):
        block.fc2.register_forward_hook(
            lambda _m, _i, out, index=index: seen.__setitem__(index, out)
        )
    out = encoder.extract(torch.randn(2, 9, 16), torch.tensor([9, 9]), need_ffn=True)
    assert len(out.layers) == len(out.ffn) == 3
    for index in range(3):
        assert torch.equal(out.ffn[index], seen[index])
    last = out.layers[-1]
    if normalize_before:
        last = encoder.layer_norm(last)
    assert torch.equal(out.output, last)
    assert encoder.extract(torch.randn(2, 9, 16), torch.tensor([9, 9])).ffn == []


def test_max_layer_stops_early() -> None:
    encoder = _make().eval()
    xs, lengths = torch.randn(1, 9, 16), torch.tensor([9])
    full = encoder.extract(xs, lengths)
    part = encoder.extract(xs, lengths, max_layer=2)
    assert len(part.layers) == 2
    assert torch.equal(part.output, full.layers[1])
    assert torch.equal(part.encoder_input, full.encoder_input)
    with pytest.raises(ValueError, match="max_layer"):
        encoder.extract(xs, lengths, max_layer=4)


def test_span_mask_replaces_frames_and_leaves_input_alone() -> None:
    encoder = _make().eval()
    xs, lengths = torch.randn(1, 9, 16), torch.tensor([9])
    before = xs.clone()
    span_mask = torch.zeros(1, 9, dtype=torch.bool)
    span_mask[0, 2:5] = True
    out = encoder.extract(xs, lengths, span_mask=span_mask)
    assert torch.equal(xs, before)
    replaced = xs.clone()
    assert encoder.mask_embedding is not None
    replaced[0, 2:5] = encoder.mask_embedding.detach()
    assert torch.allclose(out.output, encoder.extract(replaced, lengths).output)
    out.output[..., 0].sum().backward()
    assert encoder.mask_embedding.grad is not None
    assert encoder.mask_embedding.grad.abs().max() > 0


def test_span_mask_errors() -> None:
    xs, lengths = torch.randn(1, 9, 16), torch.tensor([9])
    with pytest.raises(ValueError, match="span_mask"):
        _make().extract(xs, lengths, span_mask=torch.zeros(1, 8, dtype=torch.bool))
    bare = _make(mask_embedding=False)
    assert "mask_embedding" not in bare.state_dict()
    with pytest.raises(ConfigError, match="mask_embedding"):
        bare.extract(xs, lengths, span_mask=torch.zeros(1, 9, dtype=torch.bool))


def test_layer_drop_skips_in_training_only_and_keeps_positions() -> None:
    encoder = _make(
        layer_drop_rate=1.0, dropout_rate=0.0, attention_dropout_rate=0.0
    ).train()
    xs, lengths = torch.randn(1, 9, 16), torch.tensor([9])
    out = encoder.extract(xs, lengths, need_ffn=True)
    assert len(out.layers) == len(out.ffn) == 3
    for layer, ffn in zip(out.layers, out.ffn, strict=True):
        assert torch.equal(layer, out.encoder_input)
        assert ffn.abs().max() == 0
    kept = encoder.eval().extract(xs, lengths)
    assert not torch.equal(kept.layers[0], kept.encoder_input)


def test_skipped_blocks_still_give_every_parameter_a_gradient() -> None:
    """DistributedDataParallel would otherwise stop at the next update."""
    encoder = _make(layer_drop_rate=1.0).train()
    out, _, _ = encoder(torch.randn(1, 9, 16), torch.tensor([9]))
    out.sum().backward()
    for name, parameter in encoder.blocks.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() == 0


def test_layer_drop_rate_is_respected() -> None:
    encoder = _make(layer_drop_rate=0.25, dropout_rate=0.0).train()
    xs, lengths = torch.randn(1, 3, 16), torch.tensor([3])
    skipped = 0
    for _ in range(100):
        out = encoder.extract(xs, lengths)
        inputs = [out.encoder_input, *out.layers[:-1]]
        skipped += sum(map(torch.equal, inputs, out.layers))
    assert 45 <= skipped <= 105  # expected 75 of 300, 4 standard deviations


def test_utterance_without_frames_stays_finite() -> None:
    encoder = _make().train()
    out, _, _ = encoder(torch.randn(2, 9, 16), torch.tensor([9, 0]))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert out[1].abs().max() == 0
    for parameter in encoder.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_bert_initialisation() -> None:
    encoder = _make(linear_units=512)
    weight = encoder.blocks[0].fc1.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert encoder.blocks[0].fc1.bias.abs().max() == 0
    assert encoder.mask_embedding is not None
    assert 0 <= encoder.mask_embedding.min() <= encoder.mask_embedding.max() <= 1


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"attention_heads": 3}, "multiple of attention_heads"),
        ({"positional": {"style": "rotary"}}, "rotary"),
        ({"positional": {"style": "wav2vec2", "kernal": 3}}, "Did you mean 'kernel'"),
        ({"positional": {"style": "wav2vec2", "depth": 5}}, "depth 1"),
        ({"positional": {"groups": 5}}, "do not divide"),
        ({"output_size": 32}, "preencoder: linear"),
    ],
)
def test_bad_configuration(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _make(**conf)
