"""Takes the gauges during training and lets the health rule judge them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from espnet2_dq.ssl.distributed import all_sum, is_distributed
from espnet2_dq.ssl.health import (
    UsageTracker,
    effective_rank,
    mean_pair_cosine,
    sequence_similarity,
    spread,
)
from espnet2_dq.ssl.health_rule import HealthConfig, HealthRule


@dataclass(frozen=True)
class Observed:
    """What the gauges look at in one batch.

    Attributes:
        rows: Block name to its frames ``(N, D)``: frontend, encoder, target,
            prediction.
        codes: Quantizer name to codes ``(B, G)`` or ``(B, T, G)``, -1 on padding.
        lengths: Valid frames ``(B,)``.
    """

    rows: Mapping[str, torch.Tensor]
    codes: Mapping[str, torch.Tensor]
    lengths: torch.Tensor


BLOCKS = ("frontend", "encoder", "target", "prediction")


class HealthMonitor(nn.Module):
    """Gauges every ``interval`` updates; between them their values are NaN.

    Code usage is tracked at every batch, since the language quantizer sees only a
    handful of utterances in each.

    Args:
        conf: Bounds of the rule.
        interval: Updates between measurements.
        quantizers: Name to (groups, clusters).
        updates_total: Updates of the whole run.
    """

    def __init__(
        self,
        conf: HealthConfig,
        interval: int,
        quantizers: Mapping[str, tuple[int, int]],
        updates_total: int,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.updates_total = updates_total
        self.rule = HealthRule(conf)
        self.usage = nn.ModuleDict(
            {
                # The averaging window reaches over about 50 batches.
                name: UsageTracker(groups, clusters, decay=0.98)
                for name, (groups, clusters) in quantizers.items()
            }
        )
        self._measured_at = -1

    def keys(self) -> list[str]:
        """Names of all gauges; every batch reports all of them (DDP needs that)."""
        names = [f"{b}_{kind}" for b in BLOCKS for kind in ("spread", "rank", "cosine")]
        for name, tracker in self.usage.items():
            assert isinstance(tracker, UsageTracker)
            groups = range(1, len(tracker.share) + 1)
            names += [f"{name}_perplexity_g{g}" for g in groups]
            names += [f"{name}_codes_g{g}" for g in groups]
        if "phoneme" in self.usage:
            names += ["phoneme_code_similarity", "phoneme_code_similarity_chance"]
        return names

    def forward(self, observed: Observed, update: int) -> dict[str, torch.Tensor]:
        """Track usage; measure and judge when it is time.

        Args:
            observed: This batch.
            update: Updates done before this batch.

        Returns:
            Every gauge of :meth:`keys`, NaN where not measured now.

        Raises:
            CollapseError: The rule says so, naming the block.
        """
        device = observed.lengths.device
        if self.training:
            for name, codes in observed.codes.items():
                self.usage[name].observe(codes)  # type: ignore[operator]
        # Several micro-batches share an update number: measure the first only.
        due = update % self.interval == 0 and update != self._measured_at
        if not (self.training and due):
            nan = torch.full((), torch.nan, device=device)
            return dict.fromkeys(self.keys(), nan)
        self._measured_at = update
        gauges = self._mean_over_ranks(self._measure(observed))
        values = {name: float(value) for name, value in gauges.items()}
        for warning in self.rule.check(update, self.updates_total, values):
            logging.warning("health: %s", warning)
        return gauges

    def _measure(self, observed: Observed) -> dict[str, torch.Tensor]:
        gauges: dict[str, torch.Tensor] = {}
        for block in BLOCKS:
            rows = observed.rows[block]
            gauges[f"{block}_spread"] = spread(rows)
            gauges[f"{block}_rank"] = effective_rank(rows)
            gauges[f"{block}_cosine"] = mean_pair_cosine(rows)
        for name, tracker in self.usage.items():
            assert isinstance(tracker, UsageTracker)
            for group, value in enumerate(tracker.perplexity(), 1):
                gauges[f"{name}_perplexity_g{group}"] = value
            for group, value in enumerate(tracker.used(), 1):
                gauges[f"{name}_codes_g{group}"] = value.float()
        if "phoneme" in self.usage:
            codes = observed.codes["phoneme"]
            clusters = self.usage["phoneme"].clusters
            joint = codes[..., 0]
            for group in range(1, codes.shape[-1]):
                joint = joint * clusters + codes[..., group]  # type: ignore[operator]
            same, chance = sequence_similarity(joint, observed.lengths)
            gauges["phoneme_code_similarity"] = same
            gauges["phoneme_code_similarity_chance"] = chance
        return {name: gauges[name].float() for name in self.keys()}

    @staticmethod
    def _mean_over_ranks(gauges: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All ranks judge the same numbers, so all of them stop together."""
        if not is_distributed():
            return gauges
        packed = all_sum(torch.stack(list(gauges.values())))
        packed = packed / torch.distributed.get_world_size()
        return dict(zip(gauges, packed, strict=True))
