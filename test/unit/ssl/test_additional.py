"""The additional block in front of a quantizer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.encoder.block import TransformerBlock
from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.additional import AdditionalConfig, make_additional

DIM = 8


def blocks(count):
    return nn.ModuleList(
        TransformerBlock(DIM, 2, 16, dropout_rate=0.0, attention_dropout_rate=0.0)
        for _ in range(count)
    )


@pytest.fixture(params=["conv", "transformer"])
def block(request):
    torch.manual_seed(0)
    return make_additional(DIM, AdditionalConfig(type=request.param), blocks)


def test_padding_and_batch_mates_change_no_valid_frame(block):
    x = torch.randn(2, 9, DIM)
    pad_mask = torch.zeros(2, 9, dtype=torch.bool)
    pad_mask[1, 5:] = True
    alone = block(x[1:, :5], None)
    x[1, 5:] = torch.nan
    both = block(x, pad_mask)
    assert torch.allclose(both[1:, :5], alone, atol=1e-6)
    assert not both[1, 5:].any()


def test_convolutions_follow_the_definition():
    torch.manual_seed(0)
    block = make_additional(DIM, AdditionalConfig(type="conv", layers=2), blocks)
    given = torch.randn(1, 7, DIM)
    x = given[0]
    for number, layer in enumerate(block.layers):
        padded = F.pad(x if number == 0 else F.gelu(x), (0, 0, 1, 1))
        x = torch.stack(
            [
                sum(layer.weight[:, :, k] @ padded[t + k] for k in range(3))
                + (0 if layer.bias is None else layer.bias)
                for t in range(7)
            ]
        )
    assert torch.allclose(block(given)[0], x, atol=1e-5)


def test_two_layers_of_three_frames_see_five():
    torch.manual_seed(0)
    block = make_additional(DIM, AdditionalConfig(type="conv"), blocks)
    x = torch.zeros(1, 11, DIM, requires_grad=True)
    block(x)[0, 5].sum().backward()
    seen = x.grad[0].abs().sum(-1) > 0
    assert seen.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


def test_none_is_none():
    assert make_additional(DIM, AdditionalConfig(), blocks) is None


def test_meaningless_values_are_refused():
    for wrong in ({"layers": 0}, {"kernel": 2}, {"lr_scale": -1.0}):
        with pytest.raises(ConfigError, match="additional"):
            AdditionalConfig(**wrong)
