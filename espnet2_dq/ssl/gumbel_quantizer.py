"""Gumbel-softmax product quantizer of wav2vec 2.0 (METHODS 4).

Each of ``G`` groups picks one of ``V`` codewords by the logits of one linear layer. In
training the choice is sampled and the gradient goes straight through to the softmax;
in evaluation the best logit wins. Everything is float32, also under autocast (T25).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from espnet2_dq.ssl.quantizer import look_up
from espnet2_dq.ssl.wav2vec2_config import GumbelConfig

# Mean probabilities can be exactly 0 (fairseq's initial logits are far apart), where
# the entropy's derivative is infinite.
TINY = 1e-12


@dataclass(frozen=True)
class GumbelOutput:
    """What one pass of the quantizer gives for ``N`` frames.

    Attributes:
        quantized: ``(N, D)`` float32 codewords of all groups, side by side.
        codes: ``(N, G)`` int64.
        joint: ``(N,)`` int64, one number per tuple of codes.
        mean_probs: ``(G, V)`` float32, softmax without noise, averaged over frames.
    """

    quantized: torch.Tensor
    codes: torch.Tensor
    joint: torch.Tensor
    mean_probs: torch.Tensor


def gumbel_temperature(update: int, conf: GumbelConfig) -> float:
    """Temperature after ``update`` updates: exponential fall to a floor."""
    falling = conf.temperature_start * conf.temperature_decay**update
    return max(falling, conf.temperature_end)


def soft_perplexity(mean_probs: torch.Tensor) -> torch.Tensor:
    """Sum over groups of exp(entropy): ``(G, V)`` -> scalar, from ``G`` to ``G * V``.

    With a gradient, and a finite one for codewords of probability 0.
    """
    entropy = -(mean_probs * mean_probs.clamp_min(TINY).log()).sum(-1)
    return entropy.exp().sum()


class GumbelQuantizer(nn.Module):
    """Product quantizer with sampled codes.

    Parameter shapes are those of fairseq and Hugging Face, so that their weights fit
    as they are.

    Args:
        input_size: Channels ``C`` of the features.
        conf: Groups, codes, size.
    """

    def __init__(self, input_size: int, conf: GumbelConfig) -> None:
        super().__init__()
        self.groups, self.codes, self.dim = conf.groups, conf.codes, conf.dim
        self.weight_proj = nn.Linear(input_size, conf.groups * conf.codes)
        nn.init.normal_(self.weight_proj.weight, mean=0.0, std=1.0)
        nn.init.zeros_(self.weight_proj.bias)
        self.codevectors = nn.Parameter(
            torch.rand(1, conf.groups * conf.codes, conf.dim // conf.groups)
        )

    def forward(
        self,
        features: torch.Tensor,
        temperature: float,
        *,
        codebook_gradient: bool = True,
    ) -> GumbelOutput:
        """Quantise frames.

        Args:
            features: ``(N, C)``, real frames only; N may be 0.
            temperature: Of the Gumbel softmax; without effect in evaluation.
            codebook_gradient: Let the loss move the codewords; without it, it moves
                the choice only.
        """
        with torch.autocast(features.device.type, enabled=False):
            logits = self.weight_proj(features.float())
            logits = logits.view(-1, self.groups, self.codes)
            book = self.codevectors.view(self.groups, self.codes, -1)
            if not codebook_gradient:
                book = book.detach()
            if self.training:
                chosen = F.gumbel_softmax(logits, tau=temperature, hard=True, dim=-1)
                codes = chosen.detach().argmax(-1)
                # (G, N, V) @ (G, V, d): no frames x codes x dim tensor (METHODS T26)
                quantized = torch.bmm(chosen.transpose(0, 1), book).transpose(0, 1)
            else:
                codes = logits.argmax(-1)
                quantized = look_up(codes, book)
            probs = torch.softmax(logits, dim=-1).sum(0) / max(1, len(logits))
            quantized = quantized.reshape(len(logits), self.dim)
        return GumbelOutput(quantized, codes, self.joint_codes(codes), probs)

    def joint_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """One number per tuple, first group counting most: ``(N, G)`` -> ``(N,)``."""
        joint = codes[..., 0]
        for group in range(1, self.groups):
            joint = joint * self.codes + codes[..., group]
        return joint
