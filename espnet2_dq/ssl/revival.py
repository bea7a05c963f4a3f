"""Keeping quantizers alive: deviations from the paper, all off by default.

As the paper specifies it, the language quantizer falls to one code per group within
50 updates on small data, and no loss shows it: equal codes are no negatives (R17), so
the contrastive loss is 0 there. What revived it (METHODS T24): codebooks initialised
from data, dead codes re-seeded from a short queue, pooled features centred
(`espnet2_dq.ssl.centring`), and other learning rates for the quantizer's projection and
codebook.

`Revival` collects during forward passes and changes state only in `Revival.step`, once
per optimizer update: gradient accumulation and several processes then give what one
large batch gives. All lasting state is in buffers, so a resumed run continues exactly.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.centring import RunningCentre
from espnet2_dq.ssl.distributed import all_sum, gather_rows, share_from_first
from espnet2_dq.ssl.kmeans import kmeans, spread_choice
from espnet2_dq.ssl.quantizer import OnlineKMeans, code_usage


@dataclass(frozen=True)
class RevivalConfig:
    """Switches of one quantizer; the defaults change nothing.

    Attributes:
        init: ``random`` codebook (paper) or ``data``: k-means on queued features.
        init_update: Update after which the data initialisation happens.
        queue: Features kept for initialisation and reseeding. Short is better while
            the teacher moves: a long queue clusters time.
        rows_per_update: At most this many features enter the queue per update.
        reseed_interval: Updates between reseedings of dead codes; 0 = off.
        dead_threshold: A code is dead when, since the last reseeding, it was used at
            most this share of the uniform count; 0 = never used.
        centre_momentum: Weight of the newest update in the running mean that is
            subtracted from pooled features; 0 = off.
        remove_directions: Principal directions of the centred pooled features that
            are taken out of them (`espnet2_dq.ssl.centring`).
        whiten_directions: The directions behind those are scaled to equal variance;
            0 = off.
        projection_lr_scale: Learning rate factor of the projection and its norm.
        codebook_lr_scale: Learning rate factor of the codebook.
        seed: Seed of the random choices.
    """

    init: Literal["random", "data"] = "random"
    init_update: int = 100
    queue: int = 128
    rows_per_update: int = 1024
    reseed_interval: int = 0
    dead_threshold: float = 0.0
    centre_momentum: float = 0.0
    remove_directions: int = 0
    whiten_directions: int = 0
    projection_lr_scale: float = 1.0
    codebook_lr_scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        for name in (
            "init_update",
            "reseed_interval",
            "dead_threshold",
            "remove_directions",
            "whiten_directions",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"revival.{name} is {getattr(self, name)}; 0 or more")
        for name in ("queue", "rows_per_update"):
            if getattr(self, name) < 1:
                raise ConfigError(f"revival.{name} is {getattr(self, name)}; 1 or more")
        if not 0.0 <= self.centre_momentum <= 1.0:
            raise ConfigError(
                f"revival.centre_momentum is {self.centre_momentum}; choose 0 to 1"
            )
        directions = self.remove_directions + self.whiten_directions
        if directions and self.centre_momentum == 0.0:
            raise ConfigError(
                "revival.remove_directions and whiten_directions need a centre, but"
                " revival.centre_momentum is 0; set it above 0 (0.005, say)"
            )

    @property
    def active(self) -> bool:
        """Whether `Revival` has anything to do in training."""
        return self.needs_queue or self.centre_momentum > 0.0

    @property
    def needs_queue(self) -> bool:
        """Whether features have to be kept."""
        return self.init == "data" or self.reseed_interval > 0


class FeatureQueue(nn.Module):
    """Ring buffer of the newest feature vectors.

    Args:
        capacity: Rows kept.
        dim: Channels ``D``.
    """

    rows: torch.Tensor
    pushed: torch.Tensor

    def __init__(self, capacity: int, dim: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("rows", torch.zeros(capacity, dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    def push(self, x: torch.Tensor) -> None:
        """Add ``(N, D)`` rows, oldest first; the oldest rows in the queue leave."""
        start = int(self.pushed)
        kept = x[-self.capacity :].detach().to(self.rows.dtype)
        first = start + len(x) - len(kept)
        places = torch.arange(first, first + len(kept), device=x.device)
        self.rows[places % self.capacity] = kept
        self.pushed += len(x)

    def content(self) -> torch.Tensor:
        """The filled rows ``(N, D)``, in storage order."""
        return self.rows[: min(int(self.pushed), self.capacity)]


class Revival(nn.Module):
    """Watches one quantizer and keeps its codes alive.

    Args:
        config: Switches.
        dim: Channels of the features.
        clusters: Codewords per group.
        groups: Groups.
    """

    usage: torch.Tensor
    done_init: torch.Tensor

    def __init__(
        self, config: RevivalConfig, dim: int, clusters: int, groups: int
    ) -> None:
        super().__init__()
        self.config = config
        self.dim, self.groups = dim, groups
        self.clusters = clusters
        self.queue: FeatureQueue | None = None
        if config.needs_queue:
            self.queue = FeatureQueue(config.queue, dim)
        self.centre: RunningCentre | None = None
        if config.centre_momentum > 0.0:
            self.centre = RunningCentre(
                dim,
                config.centre_momentum,
                config.remove_directions,
                config.whiten_directions,
            )
        self.register_buffer("usage", torch.zeros(groups, clusters, dtype=torch.long))
        self.register_buffer("done_init", torch.zeros((), dtype=torch.bool))
        # Collected since the last step. Not buffers: DDP overwrites buffers with
        # those of process 0 before a forward pass.
        self._features: list[torch.Tensor] = []
        self._pooled: list[torch.Tensor] = []
        self._codes: list[torch.Tensor] = []
        self._framewise = False

    def observe(
        self,
        features: torch.Tensor,
        codes: torch.Tensor,
        valid: torch.Tensor | None = None,
        pooled: torch.Tensor | None = None,
    ) -> None:
        """Collect one training batch; changes no state.

        Args:
            features: ``(B, T, D)`` or ``(B, D)``, what the quantizer received.
            codes: ``(B, T, G)`` or ``(B, G)``, what it chose (``-1`` at padding).
            valid: ``(B, T)`` bool, True = real frame, or None.
            pooled: ``(B, D)`` pooled features before centring, where centring is on.
        """
        rows = features.detach()
        self._framewise = features.dim() == 3
        rows = rows.reshape(-1, self.dim) if valid is None else rows[valid]
        if self.queue is not None:
            self._features.append(evenly_spaced(rows, self.config.rows_per_update))
        self._codes.append(codes.detach().reshape(-1, self.groups))
        if pooled is not None and self.centre is not None:
            self._pooled.append(pooled.detach())

    @torch.no_grad()
    def step(
        self,
        quantizer: OnlineKMeans,
        update: int,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> torch.Tensor:
        """Take in what was observed; initialise or reseed when it is time.

        Call once after every optimizer update, on every process.

        Args:
            quantizer: The quantizer watched.
            update: Number of optimizer updates done.
            optimizer: Its moments of replaced codewords are cleared.

        Returns:
            ``(G, V)`` bool, True = codeword replaced.
        """
        self._take_in(quantizer.codebook)
        replaced = torch.zeros_like(self.usage, dtype=torch.bool)
        rows = None if self.queue is None else self.queue.content()
        if rows is None or len(rows) == 0:
            return replaced
        if self._framewise:
            rows = rows.unsqueeze(0)  # a norm over time sees the queue as one utterance
        generator = torch.Generator().manual_seed(self.config.seed + 7919 * update)
        wants_init = self.config.init == "data" and not bool(self.done_init)
        interval = self.config.reseed_interval
        if wants_init and update >= self.config.init_update:
            initialise_codebook(quantizer, rows, generator)
            self.done_init.fill_(True)
            replaced.fill_(True)
        elif interval and update % interval == 0 and not wants_init:
            replaced = reseed_dead_codes(
                quantizer, rows, self.usage, generator, self.config.dead_threshold
            )
        else:
            return replaced
        self.usage.zero_()
        share_from_first(quantizer.codebook.data)
        if optimizer is not None:
            clear_moments(optimizer, quantizer.codebook, replaced)
        return replaced

    def _take_in(self, like: torch.Tensor) -> None:
        """Move the collected batches of all processes into the buffers."""
        empty = like.new_zeros(0, self.dim)
        if self.queue is not None:
            limit = self.config.rows_per_update
            rows = gather_rows(torch.cat([empty, *self._features]))
            self.queue.push(evenly_spaced(rows, limit))
        if self.centre is not None:
            self.centre.update(gather_rows(torch.cat([empty, *self._pooled])))
        if self._codes:
            counts = code_usage(torch.cat(self._codes), self.clusters)
        else:
            counts = torch.zeros_like(self.usage)
        self.usage += all_sum(counts)
        self._features, self._pooled, self._codes = [], [], []


def initialise_codebook(
    quantizer: OnlineKMeans, rows: torch.Tensor, generator: torch.Generator
) -> None:
    """Set the codebook to k-means centres of the encoded rows, per group.

    Args:
        quantizer: Its codebook is changed.
        rows: ``(N, D)`` utterances or ``(1, N, D)`` frames.
        generator: CPU generator of the choices.
    """
    encoded = _encode(quantizer, rows)
    for group in range(quantizer.groups):
        centres = kmeans(encoded[:, group], quantizer.clusters, generator)
        quantizer.codebook.data[group] = centres.to(quantizer.codebook.dtype)


def reseed_dead_codes(
    quantizer: OnlineKMeans,
    rows: torch.Tensor,
    usage: torch.Tensor,
    generator: torch.Generator,
    threshold: float = 0.0,
) -> torch.Tensor:
    """Move dead codewords onto encoded features far from the living ones.

    Args:
        quantizer: Its codebook is changed.
        rows: Recent features, ``(N, D)`` utterances or ``(1, N, D)`` frames.
        usage: ``(G, V)`` counts since the last reseeding.
        generator: CPU generator of the choices.
        threshold: Dead means used at most ``threshold * total / V`` times.

    Returns:
        ``(G, V)`` bool, True = moved.
    """
    total = usage.sum(-1, keepdim=True)
    dead = usage <= threshold * total / usage.shape[-1]
    dead &= total > 0  # nothing observed says nothing about a code
    if rows.numel() == 0 or not bool(dead.any()):
        return torch.zeros_like(dead)
    encoded = _encode(quantizer, rows)
    for group in range(quantizer.groups):
        lost = dead[group]
        if bool(lost.any()):
            living = quantizer.codebook.data[group][~lost].float()
            chosen = spread_choice(
                encoded[:, group], int(lost.sum()), generator, start=living
            )
            new = encoded[chosen, group].to(quantizer.codebook.dtype)
            quantizer.codebook.data[group][lost] = new
    return dead


def _encode(quantizer: OnlineKMeans, rows: torch.Tensor) -> torch.Tensor:
    """``(N, D)`` or ``(1, N, D)`` features -> ``(N, G, d)`` encoded vectors."""
    width = quantizer.dim // quantizer.groups
    with torch.no_grad():
        return quantizer.encode(rows).reshape(-1, quantizer.groups, width)


def clear_moments(
    optimizer: torch.optim.Optimizer, parameter: torch.Tensor, rows: torch.Tensor
) -> None:
    """Zero the optimizer's running averages of replaced codewords.

    Args:
        optimizer: Adam-like; state tensors of the parameter's shape are touched.
        parameter: ``(G, V, d)`` codebook.
        rows: ``(G, V)`` bool, True = replaced.
    """
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    for value in state.values():
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
            value[rows] = 0.0


def evenly_spaced(rows: torch.Tensor, limit: int) -> torch.Tensor:
    """At most ``limit`` of the ``(N, D)`` rows, evenly spaced, in order."""
    if len(rows) <= limit:
        return rows
    return rows[torch.arange(limit, device=rows.device) * len(rows) // limit]
