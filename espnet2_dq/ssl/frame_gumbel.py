"""Gumbel softmax in the place of online k-means, frame by frame (ablation S1)."""

import torch
from torch import nn

from espnet2_dq.ssl.gumbel_quantizer import GumbelQuantizer, gumbel_temperature
from espnet2_dq.ssl.quantizer import QuantizerOutput
from espnet2_dq.ssl.wav2vec2_config import GumbelConfig
from espnet2_dq.ssl.wav2vec2_loss import diversity_loss, scatter_rows


class FrameGumbel(nn.Module):
    """wav2vec 2.0's quantizer with the interface of ``OnlineKMeans``.

    It has no k-means loss; what keeps its codes in use is the diversity loss. The
    contrastive loss moves its codewords, too.

    Args:
        dim: Channels ``D`` of the features and of the codewords.
        conf: Groups, codes, temperature; its ``dim`` is ``D``.
    """

    def __init__(self, dim: int, conf: GumbelConfig) -> None:
        super().__init__()
        self.conf = conf
        self.gumbel = GumbelQuantizer(dim, conf)

    def forward(
        self, features: torch.Tensor, valid: torch.Tensor, update: int
    ) -> tuple[QuantizerOutput, torch.Tensor]:
        """Quantise the valid frames.

        Args:
            features: ``(B, T, D)``.
            valid: ``(B, T)`` bool, True = real frame.
            update: Optimizer updates done, for the temperature.

        Returns:
            Output whose ``kmeans_items`` are 0, and the diversity loss, a scalar of
            this batch.
        """
        found = self.gumbel(features[valid], gumbel_temperature(update, self.conf))
        nothing = features.new_zeros(valid.shape, dtype=torch.float32)
        output = QuantizerOutput(
            quantized=scatter_rows(found.quantized, valid),
            codes=scatter_rows(found.codes + 1, valid) - 1,
            joint=scatter_rows(found.joint[:, None] + 1, valid).squeeze(-1) - 1,
            encoded=features.float(),
            kmeans_items=nothing,
            kmeans_loss=nothing.sum(),
        )
        return output, diversity_loss(found.mean_probs)

    def reach_codebook(self, output: QuantizerOutput) -> torch.Tensor:
        """Its codewords have a gradient anyhow."""
        return output.quantized
