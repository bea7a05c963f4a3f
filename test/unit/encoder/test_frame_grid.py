"""Frame arithmetic against real convolutions."""

import numpy as np
import pytest
import torch

from espnet2_dq.encoder.frame_grid import KERNELS, STRIDES, FrameGrid


def test_default_grid_is_20_ms() -> None:
    grid = FrameGrid()
    assert (grid.hop, grid.receptive_field) == (320, 400)
    assert grid.centre_s(0) == pytest.approx(0.0125)
    assert grid.centre_s(50) == pytest.approx(1.0125)


@pytest.mark.parametrize("samples", [0, 399, 400, 401, 719, 720, 16000, 16001])
def test_num_frames_equals_layer_by_layer_count(samples: int) -> None:
    count = samples
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        count = max(0, (count - kernel) // stride + 1)
    grid = FrameGrid()
    assert grid.num_frames(samples) == count
    assert grid.num_frames(np.array([samples])).tolist() == [count]
    assert grid.num_frames(torch.tensor([samples])).tolist() == [count]


def test_receptive_field_is_exact() -> None:
    """The gradient of frame t reaches exactly its samples."""
    grid = FrameGrid([4, 3], [2, 2])
    x = torch.zeros(1, 1, 40, requires_grad=True)
    y = x
    for kernel, stride in ((4, 2), (3, 2)):
        y = torch.nn.functional.conv1d(y, torch.ones(1, 1, kernel), stride=stride)
    y[0, 0, 3].backward()
    assert x.grad is not None
    touched = x.grad[0, 0].nonzero().flatten()
    assert touched[0] == 3 * grid.hop
    assert touched[-1] == 3 * grid.hop + grid.receptive_field - 1
