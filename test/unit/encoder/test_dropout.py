"""The fast CPU dropout: share, scale, gradient, reproducibility."""

import pytest
import torch

from espnet2_dq.encoder.dropout import dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_scale(dtype: torch.dtype, rate: float) -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(400, 501, dtype=dtype), rate, True).float()
    kept = out != 0
    assert (~kept).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert out[kept].mean().item() == pytest.approx(1 / (1 - rate), rel=5e-3)
    # neighbours, in both directions, are independent
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1])):
        both = (a & b).float().mean().item()
        assert both == pytest.approx((1 - rate) ** 2, abs=0.01)


def test_gradient_uses_the_same_mask() -> None:
    x = torch.randn(30, 7, requires_grad=True)
    out = dropout(x, 0.3, True)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.allclose(out, x * grad)
    assert 0 < (grad == 0).float().mean() < 1


def test_torch_seed_decides() -> None:
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5, True), first)
    assert not torch.equal(first, second)


def test_limits() -> None:
    x = torch.randn(10)
    assert dropout(x, 0.5, False) is x
    assert dropout(x, 0.0, True) is x
    assert dropout(x, 1.0, True).abs().max() == 0
    assert dropout(torch.empty(0, 3), 0.5, True).shape == (0, 3)
