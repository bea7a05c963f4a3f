"""Channels-last convolution against PyTorch's and ESPnet's, with gradients."""

import pytest
import torch
from espnet2.asr.frontend.cnn import CNNFrontend
from torch.nn import functional as F

from espnet2_dq.encoder.conv_frontend import WaveformFrontend
from espnet2_dq.encoder.strided_conv import strided_conv


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"),
    [(1, 10, 5), (1, 3, 5), (6, 3, 2), (6, 2, 2), (40, 3, 2), (3, 7, 2), (4, 1, 3)],
)
def test_equals_conv1d(channels: int, kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(stride * 12, channels, requires_grad=channels > 1)
    conv = torch.nn.Conv1d(channels, 5, kernel, stride, bias=bias)
    mine = strided_conv(x, conv.weight, conv.bias, stride)
    # frames beyond the end count as zero: 12 outputs however wide the kernel
    padded = F.pad(x, (0, 0, 0, max(0, kernel - stride)))
    theirs = conv(padded.t()[None])[0].t()[:12]
    assert mine.shape == (12, 5)
    assert (mine - theirs).abs().max() < 1e-5
    inputs = [p for p in (x, *conv.parameters()) if p.requires_grad]
    direction = torch.randn_like(mine)
    for one, two in zip(
        torch.autograd.grad(mine, inputs, direction),
        torch.autograd.grad(theirs, inputs, direction),
        strict=True,
    ):
        assert (one - two).abs().max() < 1e-5


def test_gradcheck_in_double_precision() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 3, 3, dtype=torch.double, requires_grad=True)
    bias = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: strided_conv(*a, 2), (x, weight, bias))


@pytest.mark.parametrize("samples", [4000, 4001, 4239, 4240, 4160])
@pytest.mark.parametrize(
    ("norm_mode", "bias"),
    [("layer_norm", False), ("layer_norm", True), ("group_norm", 0)],
)
def test_frontend_equals_espnets(norm_mode: str, bias: bool, samples: int) -> None:
    """The same parameters, the stock forward: values and gradients."""
    torch.manual_seed(0)
    frontend = WaveformFrontend(
        norm_mode=norm_mode, bias=bool(bias), channels=16, normalize_audio=False
    )
    with torch.no_grad():
        for parameter in frontend.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    speech = torch.randn(3, samples)
    mine, lengths = frontend(speech, torch.full((3,), samples))
    theirs, _ = CNNFrontend.forward(frontend, speech, None)
    assert mine.shape == theirs.shape
    assert lengths.tolist() == [theirs.shape[1]] * 3
    assert (mine - theirs).abs().max() < 1e-5
    parameters = list(frontend.parameters())
    direction = torch.randn_like(mine)
    for one, two in zip(
        torch.autograd.grad(mine, parameters, direction),
        torch.autograd.grad(theirs, parameters, direction),
        strict=True,
    ):
        assert (one - two).abs().max() < 1e-5 * (1 + two.abs().max())


def test_bfloat16_autocast_is_close_and_keeps_gradient_dtypes() -> None:
    torch.manual_seed(0)
    frontend = WaveformFrontend(channels=32)
    speech, lengths = torch.randn(2, 8000), torch.tensor([8000, 8000])
    exact, _ = frontend(speech, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = frontend(speech, lengths)
    assert (exact - mixed.float()).abs().mean() < 0.05
    mixed.float().square().sum().backward()
    for parameter in frontend.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()
