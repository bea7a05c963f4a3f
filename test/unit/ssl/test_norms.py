import pytest
import torch
import torch.nn.functional as F

from espnet2_dq.ssl.norms import (
    l2_norm,
    masked_group_norm,
    masked_instance_norm,
    masked_mean,
)

LENGTHS = torch.tensor([13, 9, 2])


@pytest.fixture
def batch():
    torch.manual_seed(0)
    x = torch.randn(3, 13, 8) * 3 + 1
    pad_mask = torch.arange(13)[None] >= LENGTHS[:, None]
    return x, pad_mask


def poisoned(x, pad_mask):
    return x.masked_fill(pad_mask[..., None], float("nan"))


def test_instance_norm_equals_torch_without_padding(batch):
    x, pad_mask = batch
    expected = F.instance_norm(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(masked_instance_norm(x, None), expected)
    none_padded = torch.zeros_like(pad_mask)
    torch.testing.assert_close(masked_instance_norm(x, none_padded), expected)


def test_instance_norm_of_each_utterance_alone(batch):
    x, pad_mask = batch
    got = masked_instance_norm(poisoned(x, pad_mask), pad_mask)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = F.instance_norm(x[row : row + 1, :length].transpose(1, 2))
        torch.testing.assert_close(got[row, :length], alone[0].T)
        assert (got[row, length:] == 0).all()


def test_instance_norm_of_one_frame_is_zero():
    assert (masked_instance_norm(torch.randn(2, 1, 4), None) == 0).all()


def test_norms_are_float32_for_half_inputs():
    x = torch.randn(2, 5, 8).bfloat16()
    ones, zeros = torch.ones(8), torch.zeros(8)
    assert masked_instance_norm(x, None).dtype == torch.float32
    assert masked_mean(x, None).dtype == torch.float32
    assert l2_norm(x).dtype == torch.float32
    normed = masked_group_norm(x, 2, ones, zeros, None, True)
    assert normed.dtype == torch.float32


def test_mean_takes_valid_frames_only(batch):
    x, pad_mask = batch
    got = masked_mean(poisoned(x, pad_mask), pad_mask)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(got[row], x[row, :length].mean(0))


def test_mean_of_nothing_is_zero():
    everything = torch.ones(1, 4, dtype=torch.bool)
    assert (masked_mean(torch.randn(1, 4, 3), everything) == 0).all()


@pytest.mark.parametrize("over_time", [True, False])
def test_group_norm_equals_torch_on_each_utterance(batch, over_time):
    x, pad_mask = batch
    weight, bias = torch.rand(8), torch.rand(8)
    got = masked_group_norm(poisoned(x, pad_mask), 2, weight, bias, pad_mask, over_time)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = x[row, :length]  # (T, D)
        if over_time:
            expected = F.group_norm(alone.T[None], 2, weight, bias)[0].T
        else:
            expected = F.group_norm(alone, 2, weight, bias)
        torch.testing.assert_close(got[row, :length], expected)
        assert (got[row, length:] == 0).all()


def test_group_norm_of_pooled_vectors():
    x, weight, bias = torch.randn(4, 8), torch.rand(8), torch.rand(8)
    expected = F.group_norm(x, 2, weight, bias)
    for over_time in (True, False):
        got = masked_group_norm(x, 2, weight, bias, None, over_time)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("over_time", [True, False])
def test_group_norm_gradients_equal_torch(over_time):
    x = torch.randn(2, 6, 8, dtype=torch.float32, requires_grad=True)
    weight, bias = torch.rand(8, requires_grad=True), torch.rand(8, requires_grad=True)
    cotangent = torch.randn(2, 6, 8)
    got = masked_group_norm(x, 2, weight, bias, None, over_time)
    grads = torch.autograd.grad(got, (x, weight, bias), cotangent)
    if over_time:
        plain = F.group_norm(x.transpose(1, 2), 2, weight, bias).transpose(1, 2)
    else:
        plain = F.group_norm(x.reshape(12, 8), 2, weight, bias).view(2, 6, 8)
    expected = torch.autograd.grad(plain, (x, weight, bias), cotangent)
    for one, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_l2_norm():
    x = torch.randn(3, 4)
    torch.testing.assert_close(l2_norm(x).norm(dim=-1), torch.ones(3))
    assert (l2_norm(torch.zeros(1, 4)) == 0).all()
