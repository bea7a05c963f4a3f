"""Online k-means product quantizer (Eqs. 5 and 6; readings R4, R5, R6, R10, R11).

``e = GroupNorm(Conv1d(features))``; each of ``G`` groups of ``D / G`` channels picks
its nearest of ``V`` codewords. Everything here is float32, also under autocast:
in half precision distances tie and the argmin goes wrong (METHODS T25).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.norms import masked_group_norm

# Rows per block of the distance matrix: keeps it small beside the features
# (1024 x 174 float32 = 0.7 MB) while a matmul of this size still runs at full speed.
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class QuantizerOutput:
    """What one pass of the quantizer gives.

    Attributes:
        quantized: Shape of the features. The codewords, with the gradient going
            straight through to ``encoded`` (R10); 0 at padding.
        codes: ``(B, T, G)`` or ``(B, G)`` int64, ``-1`` at padding.
        joint: ``(B, T)`` or ``(B,)`` int64, one number per tuple of codes, the first
            group counting most; ``-1`` at padding.
        encoded: Shape of the features; ``e``, 0 at padding.
        kmeans_items: ``(B, T)`` or ``(B,)`` float32, loss of every item, 0 at padding.
        kmeans_loss: Scalar, mean of ``kmeans_items`` over the valid items.
    """

    quantized: torch.Tensor
    codes: torch.Tensor
    joint: torch.Tensor
    encoded: torch.Tensor
    kmeans_items: torch.Tensor
    kmeans_loss: torch.Tensor


def nearest_codes(encoded: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Nearest codeword by ``||c||^2 - 2 e.c`` (``||e||^2`` cannot change the argmin).

    Args:
        encoded: ``(N, G, d)`` float32.
        codebook: ``(G, V, d)`` float32.

    Returns:
        ``(N, G)`` int64. No frames x codes x dim tensor is built (METHODS T26).
    """
    with torch.no_grad():
        length = codebook.square().sum(-1).unsqueeze(1)  # (G, 1, V)
        table = codebook.transpose(1, 2)  # (G, d, V)
        codes = encoded.new_empty(encoded.shape[:2], dtype=torch.long)
        for start in range(0, encoded.shape[0], BLOCK_ROWS):
            rows = encoded[start : start + BLOCK_ROWS].transpose(0, 1)  # (G, n, d)
            distance = torch.baddbmm(length, rows, table, alpha=-2.0)
            codes[start : start + BLOCK_ROWS] = distance.argmin(-1).T
    return codes


def look_up(codes: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Codewords ``(N, G, d)`` of ``codes (N, G)`` in ``codebook (G, V, d)``."""
    groups, clusters, dim = codebook.shape
    rows = codes + torch.arange(groups, device=codes.device) * clusters
    found = codebook.reshape(-1, dim).index_select(0, rows.reshape(-1))
    return found.view(-1, groups, dim)


def code_usage(codes: torch.Tensor, clusters: int) -> torch.Tensor:
    """How often each codeword is used.

    Args:
        codes: ``(..., G)`` int64; negative entries are padding.
        clusters: Codewords per group ``V``.

    Returns:
        ``(G, V)`` int64 counts.
    """
    groups = codes.shape[-1]
    flat = codes.reshape(-1, groups)
    rows = flat + torch.arange(groups, device=codes.device) * clusters
    rows = torch.where(flat < 0, groups * clusters, rows)  # last bin: padding
    counts = torch.bincount(rows.reshape(-1), minlength=groups * clusters + 1)
    return counts[:-1].view(groups, clusters)


def perplexity(counts: torch.Tensor) -> torch.Tensor:
    """Exponential of the entropy of code usage: ``(G, V)`` counts -> ``(G,)``.

    1 means a single code is used, ``V`` that all are used equally, 0 that nothing
    was counted.
    """
    total = counts.sum(-1, keepdim=True)
    share = counts.double() / total.clamp_min(1e-12)
    value = torch.exp(-torch.special.xlogy(share, share).sum(-1))
    return torch.where(total.squeeze(-1) > 0, value, 0.0).float()


class _Assign(torch.autograd.Function):
    """Assignment, straight-through and both k-means terms in one node.

    Written by hand because the gradient of ``||sg(e) - q||^2 + gamma ||e - sg(q)||^2``
    has a closed form: only ``e`` and the codes wait for the backward pass, and nothing
    but the results is larger than a block of rows. Codewords are looked up again there,
    which costs less than keeping them.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, encoded: torch.Tensor, codebook: torch.Tensor, gamma: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        codes = nearest_codes(encoded, codebook)
        quantized = look_up(codes, codebook)
        squared = encoded.new_empty(encoded.shape[0])
        for start in range(0, encoded.shape[0], BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            difference = encoded[rows] - quantized[rows]
            squared[rows] = torch.linalg.vector_norm(difference, dim=(1, 2)).square_()
        ctx.save_for_backward(encoded, codebook, codes)
        ctx.gamma = gamma
        ctx.mark_non_differentiable(codes)
        return quantized, codes, squared * (1.0 + gamma)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad_q: torch.Tensor, _codes: Any, grad_items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        encoded, codebook, codes = ctx.saved_tensors
        groups, clusters, dim = codebook.shape
        grad_encoded = torch.empty_like(encoded)
        grad_codebook = encoded.new_zeros(groups * clusters, dim)
        shift = torch.arange(groups, device=codes.device) * clusters
        for start in range(0, encoded.shape[0], BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            pull = grad_encoded[rows]  # a view: written in place, block by block
            torch.sub(encoded[rows], look_up(codes[rows], codebook), out=pull)
            pull *= 2.0 * grad_items[rows, None, None]
            # first term: codewords move to their items
            chosen = (codes[rows] + shift).reshape(-1)
            grad_codebook.index_add_(0, chosen, pull.view(-1, dim), alpha=-1.0)
            # second term moves the projection; grad_q passes straight through
            pull.mul_(ctx.gamma).add_(grad_q[rows])
        return grad_encoded, grad_codebook.view_as(codebook), None


def assign(
    encoded: torch.Tensor, codebook: torch.Tensor, gamma: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nearest codewords, straight-through (R10), with both terms of Eq. 6.

    Args:
        encoded: ``(N, G, d)`` float32.
        codebook: ``(G, V, d)`` float32.
        gamma: Weight of the second term.

    Returns:
        Codewords ``(N, G, d)`` whose gradient goes to ``encoded``; codes ``(N, G)``
        int64; and ``(N,)`` the loss of every item, summed over the channels, whose
        first term reaches only ``codebook`` and second only ``encoded``.
    """
    quantized, codes, items = _Assign.apply(  # type: ignore[no-untyped-call]
        encoded, codebook, gamma
    )
    return quantized, codes, items


class OnlineKMeans(nn.Module):
    """Product quantizer with codebooks learned by gradient.

    Args:
        dim: Channels ``D`` of the features.
        clusters: Codewords per group ``V`` (each group has its own, R5).
        groups: ``G``; divides ``D``.
        gamma: Weight of the second k-means term (Eq. 6).
        post_norm: ``groupnorm`` after the projection as in fairseq, or ``none`` (R4).
        norm_over_time: Statistics of that norm over the valid frames too
            (fairseq), or per frame.
        reduction: ``mean`` over the channels (fairseq's MSE) or ``sum`` (the norm
            of Eq. 6, ``D`` times as much) (R6).
        init_scale: Standard deviation of the random codebook.
    """

    def __init__(
        self,
        dim: int,
        clusters: int,
        groups: int = 2,
        *,
        gamma: float = 0.25,
        post_norm: Literal["groupnorm", "none"] = "groupnorm",
        norm_over_time: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        init_scale: float = 0.01,
    ) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise ConfigError(f"groups is {groups}; it must divide dim, {dim}")
        if clusters < 1:
            raise ConfigError(f"clusters is {clusters}; choose at least 1")
        if post_norm not in ("groupnorm", "none"):
            raise ConfigError(f"post_norm '{post_norm}': choose groupnorm or none")
        if reduction not in ("mean", "sum"):
            raise ConfigError(f"reduction '{reduction}': choose mean or sum")
        self.dim, self.clusters, self.groups = dim, clusters, groups
        self.gamma, self.reduction = gamma, reduction
        self.norm_over_time = norm_over_time
        width = dim // groups
        # (G, d_in, d_out): Conv1d(dim, dim, 1, groups=G, bias=False) without the
        # transposes; the same uniform init as Conv1d, bound 1 / sqrt(fan_in)
        self.projection = nn.Parameter(torch.empty(groups, width, width))
        nn.init.uniform_(self.projection, -(width**-0.5), width**-0.5)
        self.codebook = nn.Parameter(
            init_scale * torch.randn(groups, clusters, width), requires_grad=True
        )
        self.norm_weight: nn.Parameter | None = None
        self.norm_bias: nn.Parameter | None = None
        if post_norm == "groupnorm":
            self.norm_weight = nn.Parameter(torch.ones(dim))
            self.norm_bias = nn.Parameter(torch.zeros(dim))

    def encode(
        self, features: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Project and normalise: ``(B, T, D)`` or ``(B, D)`` -> same shape, float32."""
        with torch.autocast(features.device.type, enabled=False):
            width = self.dim // self.groups
            # (..., D) -> (G, N, d): a view, bmm reads it with strides
            split = features.float().reshape(-1, self.groups, width).transpose(0, 1)
            projected = torch.bmm(split, self.projection.float())
            projected = projected.transpose(0, 1).reshape(features.shape)
            if self.norm_weight is None or self.norm_bias is None:
                return projected
            return masked_group_norm(
                projected,
                self.groups,
                self.norm_weight,
                self.norm_bias,
                None if valid is None else ~valid,
                self.norm_over_time,
            )

    def joint_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """One number per tuple: ``(..., G)`` -> ``(...)``; ``-1`` stays ``-1``."""
        joint = codes[..., 0]
        for group in range(1, self.groups):
            joint = joint * self.clusters + codes[..., group]
        return torch.where(codes[..., 0] < 0, -1, joint)

    def reach_codebook(self, output: QuantizerOutput) -> torch.Tensor:
        """``output.quantized`` whose gradient goes to the codewords as well (R11).

        Same values; shape of the features, 0 at padding.
        """
        codes = output.codes.reshape(-1, self.groups)
        found = look_up(codes.clamp_min(0), self.codebook.float())
        found = found.view(output.quantized.shape)
        found = found.masked_fill(output.joint.unsqueeze(-1) < 0, 0.0)
        return output.quantized + (found - found.detach())

    def forward(
        self, features: torch.Tensor, valid: torch.Tensor | None = None
    ) -> QuantizerOutput:
        """Quantise features.

        Args:
            features: ``(B, T, D)`` frames or ``(B, D)`` utterances, no gradient
                needed.
            valid: ``(B, T)`` or ``(B,)`` bool, True = real item; None: all.

        Returns:
            See `QuantizerOutput`. The first k-means term reaches only the codebook,
            everything else only the projection and its norm.
        """
        if features.shape[-1] != self.dim:
            raise ValueError(
                f"features {tuple(features.shape)} given to a quantizer of {self.dim}"
            )
        with torch.autocast(features.device.type, enabled=False):
            encoded = self.encode(features, valid)
            split = encoded.reshape(-1, self.groups, self.dim // self.groups)
            quantized, codes, items = assign(split, self.codebook.float(), self.gamma)
            quantized = quantized.view(features.shape)
            codes = codes.view(*features.shape[:-1], self.groups)
            items = items.view(features.shape[:-1])
            if self.reduction == "mean":
                items = items / self.dim
            if valid is not None:
                quantized = quantized.masked_fill(~valid.unsqueeze(-1), 0.0)
                codes = codes.masked_fill(~valid.unsqueeze(-1), -1)
                items = items.masked_fill(~valid, 0.0)
            count = items.numel() if valid is None else valid.sum().clamp_min(1)
            loss = items.sum() / count
        return QuantizerOutput(
            quantized, codes, self.joint_codes(codes), encoded, items, loss
        )
