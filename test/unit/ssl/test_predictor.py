import pytest
import torch
from torch import nn

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.predictor import Predictor


@pytest.fixture
def batch():
    torch.manual_seed(0)
    x = torch.randn(2, 9, 8)
    pad_mask = torch.arange(9)[None] >= torch.tensor([9, 5])[:, None]
    return x, pad_mask


@pytest.mark.parametrize("normalize_before", [False, True])
def test_padding_and_batch_mates_do_not_matter(batch, normalize_before):
    x, pad_mask = batch
    predictor = Predictor(8, 2, 16, normalize_before=normalize_before).eval()
    together = predictor(x.masked_fill(pad_mask[..., None], 1e3), pad_mask)
    alone = predictor(x[1:, :5])
    torch.testing.assert_close(together[1, :5], alone[0])
    assert (together[pad_mask] == 0).all()


def test_context_matters(batch):
    x, _ = batch
    predictor = Predictor(8, 2, 16).eval()
    changed = x.clone()
    changed[:, 0] += 1.0
    assert not torch.allclose(predictor(x)[:, -1], predictor(changed)[:, -1])


def test_layers_and_linear():
    predictor = Predictor(8, 2, 16, 3)
    assert len(predictor.blocks) == 3
    assert isinstance(predictor.linear, nn.Linear)
    assert predictor.linear.weight.shape == (8, 8)


def test_without_blocks_it_is_a_linear_layer(batch):
    x, _ = batch
    predictor = Predictor(8, 2, 16, 0)
    torch.testing.assert_close(predictor(x), predictor.linear(x))


def test_every_parameter_gets_a_gradient(batch):
    x, pad_mask = batch
    predictor = Predictor(8, 2, 16, normalize_before=True)
    predictor(x, pad_mask).square().sum().backward()
    missing = [n for n, p in predictor.named_parameters() if p.grad is None]
    assert not missing


def test_negative_number_of_blocks_is_refused():
    with pytest.raises(ConfigError, match="-1"):
        Predictor(8, 2, 16, -1)
