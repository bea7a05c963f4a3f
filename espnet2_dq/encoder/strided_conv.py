"""Unpadded strided 1-d convolution over channels-last rows, as matrix products.

ESPnet's and PyTorch's convolutions keep ``(B, C, T)``: on a CPU their backward pass and
the copies around LayerNorm cost more than the arithmetic. Here frames are rows, so a
window of ``stride`` frames is one longer row of the same memory, and a convolution is
one matrix product per stride-wide piece of the kernel, without gathering windows.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

# rows shorter than this are gathered: tiny inner products waste the passes over memory
_GATHER_BELOW = 32


def strided_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
) -> torch.Tensor:
    """Convolve one long row of frames.

    Args:
        x: ``(N, C)`` contiguous frames, N a multiple of ``stride``.
        weight: ``(O, C, K)`` as in ``nn.Conv1d``.
        bias: ``(O,)`` or None.
        stride: Frames between outputs.

    Returns:
        ``(N / stride, O)``. Output t reads frames ``t * stride ... + K - 1``; where
        that reaches beyond the end, missing frames count as zero.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    # (O, C, K) -> (O, K * C): the order in which frames lie in memory
    flat = weight.transpose(1, 2).reshape(weight.size(0), -1)
    out: torch.Tensor = _StridedConv.apply(x, flat, bias, stride)
    return out


class _StridedConv(torch.autograd.Function):
    """``strided_conv`` for a flattened kernel ``(O, K * C)``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
    ) -> torch.Tensor:
        gather = not ctx.needs_input_grad[0]
        rows = _as_windows(x, weight.size(1), stride, gather=gather)
        ctx.save_for_backward(rows, weight)
        ctx.x_shape = x.shape
        out = rows.new_empty(len(rows), weight.size(0))
        for shift, columns, piece in _pieces(rows, weight):
            if shift:
                out[:-shift].addmm_(columns, piece.t())
            elif bias is None:
                torch.mm(columns, piece.t(), out=out)
            else:
                torch.addmm(bias, columns, piece.t(), out=out)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, None]:
        rows, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        grad_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        width = rows.size(1)
        for shift, columns, piece in _pieces(rows, weight):
            part = grad[: len(grad) - shift]
            if grad_weight is not None:
                start = shift * width
                view = grad_weight[:, start : start + piece.size(1)]
                view.copy_(part.t() @ columns)
            if grad_rows is None:
                continue
            if shift == 0 and piece.size(1) == width:
                torch.mm(part, piece, out=grad_rows)
            elif shift == 0:  # frames between kernels reach no output
                grad_rows.zero_()[:, : piece.size(1)].addmm_(part, piece)
            else:
                grad_rows[shift:, : piece.size(1)].addmm_(part, piece)
        grad_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        if grad_rows is not None:
            grad_rows = grad_rows.view(ctx.x_shape)
        return grad_rows, grad_weight, grad_bias, None


def _as_windows(
    x: torch.Tensor, window: int, stride: int, *, gather: bool
) -> torch.Tensor:
    """``(N, C)`` -> ``(N / stride, stride * C)`` without copying.

    With ``gather``, very short rows (the waveform) become whole windows
    ``(N / stride, window)`` instead.
    """
    step = stride * x.size(1)
    if step >= _GATHER_BELOW or window <= step or not gather:
        return x.view(-1, step)
    flat = torch.nn.functional.pad(x.reshape(-1), (0, window - step))
    return flat.unfold(0, window, step).contiguous()


def _pieces(
    rows: torch.Tensor, weight: torch.Tensor
) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """Pieces of the kernel: (rows to look ahead, inputs, weights ``(O, columns)``)."""
    width = rows.size(1)
    pieces = []
    for shift in range(-(-weight.size(1) // width)):
        piece = weight[:, shift * width : (shift + 1) * width]
        pieces.append((shift, rows[shift:, : piece.size(1)], piece))
    return pieces
