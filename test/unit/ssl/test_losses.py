import pytest
import torch

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.losses import regression_loss


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(5, 16) * 2, torch.randn(5, 16)


def test_beta_zero_is_the_scaled_sum_of_squares(pair):
    pred, target = pair
    expected = (pred - target).square().sum(-1) / 4.0
    torch.testing.assert_close(regression_loss(pred, target), expected)


def test_beta_is_smooth_l1(pair):
    pred, target = pair
    expected = torch.nn.SmoothL1Loss(beta=0.7, reduction="none")(pred, target).sum(-1)
    got = regression_loss(pred, target, beta=0.7, scale=1.0)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, regression_loss(pred, target, scale=1.0))


def test_target_gets_no_gradient(pair):
    pred, target = (x.requires_grad_() for x in pair)
    regression_loss(pred, target).sum().backward()
    assert pred.grad is not None
    assert target.grad is None


def test_half_precision_inputs_are_computed_in_float32():
    pred = torch.full((1, 4), 300.0, dtype=torch.float16)  # 300^2 overflows float16
    got = regression_loss(pred, torch.zeros(1, 4, dtype=torch.float16), scale=1.0)
    assert got.item() == pytest.approx(360000.0)


def test_empty_selection(pair):
    pred, target = pair
    assert regression_loss(pred[:0], target[:0]).shape == (0,)


def test_errors(pair):
    pred, target = pair
    with pytest.raises(ValueError, match="differ"):
        regression_loss(pred, target[:2])
    with pytest.raises(ConfigError, match="beta"):
        regression_loss(pred, target, beta=-1.0)
