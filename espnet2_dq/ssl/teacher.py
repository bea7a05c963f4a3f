"""The EMA teacher: a running average of the student's encoder (METHODS 1.5)."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from espnet2_dq.encoder.output import EncoderOutput
from espnet2_dq.encoder.transformer import DQTransformerEncoder


@dataclass(frozen=True)
class TeacherConfig:
    """Decay of the running average.

    Attributes:
        decay_start: tau at update 0.
        decay_end: tau from ``anneal_updates`` on.
        anneal_updates: Updates of the linear way between them.
        copy_positional: Copy the positional convolution instead of averaging it
            (fairseq's ``ema_layers_only``).
    """

    decay_start: float = 0.999
    decay_end: float = 0.9999
    anneal_updates: int = 30000
    copy_positional: bool = True


def annealed_decay(update: int, conf: TeacherConfig) -> float:
    """Decay tau of update number ``update``, linear, then constant."""
    if update >= conf.anneal_updates:
        return conf.decay_end
    part = update / conf.anneal_updates
    return conf.decay_start + (conf.decay_end - conf.decay_start) * part


class EMATeacher(nn.Module):
    """An fp32 average of the encoder, never trained, never in training mode.

    Its tensors are parameters without gradient, not buffers: DDP neither reduces
    nor broadcasts them, and the state dict carries them (traps T2, T29).

    Args:
        student: The encoder to follow; its present weights are the first average.
        conf: Decay.
    """

    def __init__(self, student: DQTransformerEncoder, conf: TeacherConfig) -> None:
        super().__init__()
        self.conf = conf
        self.encoder = copy.deepcopy(student).float()
        self.encoder.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "EMATeacher":
        """Stay in evaluation mode: no dropout, no LayerDrop in the teacher."""
        return super().train(False)

    @torch.no_grad()
    def step(self, student: DQTransformerEncoder, update: int) -> float:
        """Move towards ``student`` after optimizer update ``update``; return tau."""
        tau = annealed_decay(update, self.conf)
        averaged: list[torch.Tensor] = []
        sources: list[torch.Tensor] = []
        students = dict(student.named_parameters())
        for name, mine in self.encoder.named_parameters():
            theirs = students[name].detach().to(mine.dtype)
            copied = name == "mask_embedding" or (
                self.conf.copy_positional and name.startswith("pos_conv")
            )
            if copied:
                mine.copy_(theirs)
            else:
                averaged.append(mine)
                sources.append(theirs)
        torch._foreach_lerp_(averaged, sources, 1.0 - tau)
        buffers = dict(student.named_buffers())
        for name, mine in self.encoder.named_buffers():
            mine.copy_(buffers[name])
        return tau

    @torch.no_grad()
    def forward(
        self,
        features: torch.Tensor,
        lengths: torch.Tensor,
        max_layer: int | None = None,
    ) -> EncoderOutput:
        """Encode unmasked features.

        Args:
            features: ``(B, T, D)``, projected, before any mask or dropout.
            lengths: Valid frames ``(B,)``.
            max_layer: Stop after this layer (1-based).

        Returns:
            All layers and FFN results, without gradient.
        """
        return self.encoder.extract(
            features.detach(), lengths, need_ffn=True, max_layer=max_layer
        )
