"""When gauges mean collapse: warn, then stop and name the block (METHODS T7, T8)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from espnet2_dq.errors import CollapseError, ConfigError


@dataclass(frozen=True)
class HealthConfig:
    """Bounds on the gauges, and from when they count.

    Warm-up dips are normal (the prediction spread falls early in a healthy run), so
    nothing counts before ``warn_after`` updates or ``warn_fraction`` of the run,
    whichever comes first: short runs are covered too.

    Attributes:
        min_target_spread: Teacher target (fairseq's guard).
        min_prediction_spread: Student prediction (fairseq's guard).
        min_frontend_spread: Output of the frontend.
        min_effective_rank: Of targets, predictions and frontend output.
        max_pair_cosine: Mean cosine between frames of one of these.
        min_code_perplexity: Of each group of each quantizer.
        max_code_similarity: Equal codes at equal relative positions of different
            utterances.
        warn_after: Updates before the first warning.
        warn_fraction: Or this share of the run.
        stop_after: Updates before a stop.
        stop_fraction: Or this share of the run.
        patience: Consecutive bad checks, once stopping is allowed, before a stop.
        stop: False: only ever warn.
    """

    min_target_spread: float = 0.1
    min_prediction_spread: float = 0.01
    min_frontend_spread: float = 0.01
    min_effective_rank: float = 1.5
    max_pair_cosine: float = 0.999
    min_code_perplexity: float = 1.2
    max_code_similarity: float = 0.98
    warn_after: int = 1000
    warn_fraction: float = 0.05
    stop_after: int = 5000
    stop_fraction: float = 0.3
    patience: int = 5
    stop: bool = True

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        for name in ("warn_fraction", "stop_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"health.{name} is {getattr(self, name)}; 0 to 1")
        if self.patience < 1:
            raise ConfigError(f"health.patience is {self.patience}; 1 or more")


# Gauge names are "<block>_<kind>", for quantizers "<quantizer>_perplexity_g<group>"
# and "<quantizer>_code_similarity".
BLOCKS = {
    "target": "teacher target",
    "prediction": "student prediction",
    "frontend": "frontend",
    "encoder": "encoder",
    "language": "language quantizer",
    "phoneme": "phoneme quantizer",
    "gumbel": "Gumbel quantizer",
}
NON_FINITE = "loss, gradient or gauge"


@dataclass(frozen=True)
class Finding:
    """One bad gauge: the block, what is wrong with it, what to do."""

    block: str
    problem: str


class HealthRule:
    """Judges gauges at every log interval.

    Args:
        config: Bounds and timing.
    """

    def __init__(self, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self._strikes: dict[str, int] = {}

    def check(
        self, update: int, updates_total: int, gauges: Mapping[str, float]
    ) -> list[str]:
        """Judge one set of gauges.

        Args:
            update: Optimizer updates done.
            updates_total: Length of the run in updates.
            gauges: Values by name; names this rule does not know must be finite.

        Returns:
            Warnings, one per bad block.

        Raises:
            CollapseError: A block was bad at ``patience`` checks in a row, all of them
                late enough in the run.
        """
        config = self.config
        warn_from = min(config.warn_after, config.warn_fraction * updates_total)
        stop_from = min(config.stop_after, config.stop_fraction * updates_total)
        findings = self._findings(gauges, late=update >= warn_from)
        # a NaN counts from the first update on: no later update will mend it
        grave = [f for f in findings if update >= stop_from or f.block == NON_FINITE]
        self._strikes = {f.block: self._strikes.get(f.block, 0) + 1 for f in grave}
        for finding in grave:
            strikes = self._strikes[finding.block]
            if config.stop and strikes >= config.patience:
                raise CollapseError(
                    f"{finding.block}: {finding.problem}, the last of {strikes} bad "
                    f"checks in a row, at update {update} of {updates_total}. "
                    + remedy(finding.block)
                )
        return [f"update {update}: {f.block}: {f.problem}" for f in findings]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Bad checks in a row, by block."""
        return {name: torch.tensor(count) for name, count in self._strikes.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the counts, but not so much that the next check stops the run.

        The first batches after a resume are no better evidence than any others, so
        a resumed run gets at least two checks (one if ``patience`` is 1).
        """
        most = max(self.config.patience - 2, 0)
        self._strikes = {name: min(int(count), most) for name, count in state.items()}

    def _findings(self, gauges: Mapping[str, float], late: bool) -> list[Finding]:
        """At most one finding per block, in the order of the gauges."""
        found: dict[str, Finding] = {}
        for name, value in gauges.items():
            if not math.isfinite(value):
                problem = f"{name} is {value}"
                found.setdefault(NON_FINITE, Finding(NON_FINITE, problem))
            elif late:
                finding = self._judge(name, value)
                if finding is not None:
                    found.setdefault(finding.block, finding)
        return list(found.values())

    def _judge(self, name: str, value: float) -> Finding | None:
        """Compare one finite gauge with its bound."""
        prefix, _, kind = name.partition("_")
        block = BLOCKS.get(prefix)
        if block is None:
            return None
        config = self.config
        if kind.startswith("perplexity_g"):
            if value >= config.min_code_perplexity:
                return None
            block = f"{block} group {kind.removeprefix('perplexity_g')}"
            used = max(1, round(value))
            plural = "code" if used == 1 else "codes"
            return Finding(block, f"uses {used} {plural} (perplexity {value:.2f})")
        floors = {
            "spread": getattr(config, f"min_{prefix}_spread", None),
            "rank": config.min_effective_rank,
        }
        ceilings = {
            "cosine": config.max_pair_cosine,
            "code_similarity": config.max_code_similarity,
        }
        floor, ceiling = floors.get(kind), ceilings.get(kind)
        if floor is not None and value < floor:
            return Finding(block, f"{name} {value:.4g} is below {floor:g}")
        if ceiling is not None and value > ceiling:
            return Finding(block, f"{name} {value:.4g} is above {ceiling:g}")
        return None


def remedy(block: str) -> str:
    """What a user may try for a block."""
    if block == NON_FINITE:
        return "Lower the learning rate or clip gradients, and resume."
    if block.startswith("Gumbel quantizer"):
        return (
            "Raise model_conf.diversity_weight, lower the learning rate, or let the "
            "temperature fall more slowly."
        )
    if "quantizer" in block:
        return (
            "Turn on the revival switches (init: data, reseed_interval, "
            "centre_momentum, codebook_lr_scale), or lower the learning rate."
        )
    return (
        "Lower the learning rate, slow the teacher (higher EMA decay), or set "
        "health.stop to false to go on regardless."
    )
