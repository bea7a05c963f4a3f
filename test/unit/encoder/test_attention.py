"""Attention: both implementations agree; padded keys are ignored."""

from collections.abc import Callable

import pytest
import torch

from espnet2_dq.encoder import attention
from espnet2_dq.encoder.attention import attend, padding_bias, prefer_fused


def _inputs(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, 7, 4, dtype=dtype, requires_grad=True) for _ in range(3)]


def _pad_mask() -> torch.Tensor:
    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[1, 5:] = True
    return mask


@pytest.mark.parametrize("padded", [False, True])
def test_plain_and_fused_agree(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    bias = padding_bias(_pad_mask()) if padded else None
    results = []
    choices: list[Callable[..., bool]] = [lambda *_: True, lambda *_: False]
    for choice in choices:
        monkeypatch.setattr(attention, "prefer_fused", choice)
        inputs = _inputs()
        out = attend(*inputs, bias, 0.0)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for one, two in zip(*results, strict=True):
        assert (one - two).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("grad", [False, True])
def test_padded_keys_have_no_weight(dtype: torch.dtype, grad: bool) -> None:
    query, key, value = (x.detach().requires_grad_(grad) for x in _inputs(dtype))
    bias = padding_bias(_pad_mask())
    out = attend(query, key, value, bias, 0.0)
    loud = value.detach().clone()
    loud[1, :, 5:] = 1e4
    assert torch.equal(out, attend(query, key, loud.requires_grad_(grad), bias, 0.0))


def test_bias_is_skipped_without_padding() -> None:
    assert padding_bias(torch.zeros(2, 7, dtype=torch.bool)) is None


def test_choice_on_a_cpu() -> None:
    short, long = torch.zeros(1, 1, 50, 4), torch.zeros(1, 1, 500, 4)
    assert prefer_fused(short, 0.1)
    assert not prefer_fused(short.requires_grad_(), 0.0)
    assert prefer_fused(long.requires_grad_(), 0.0)
    assert not prefer_fused(long, 0.1)
    assert not prefer_fused(long.detach().bfloat16().requires_grad_(), 0.0)


def test_dropout_acts_on_the_weights_in_training() -> None:
    inputs = _inputs()
    torch.manual_seed(1)
    one = attend(*inputs, None, 0.5)
    two = attend(*inputs, None, 0.5)
    assert not torch.equal(one, two)
