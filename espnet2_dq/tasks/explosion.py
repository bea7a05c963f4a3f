"""Stops a run that has exploded: ESPnet skips non-finite gradients without end."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from espnet2_dq.errors import CollapseError


class ExplosionRule:
    """Counts updates that the trainer took no step for.

    One now and then is normal (mixed precision finds its scale that way); many in a
    row mean that no step will ever be taken again.

    Args:
        patience: Skipped updates in a row before the run is stopped.
    """

    def __init__(self, patience: int = 20) -> None:
        self.patience = patience
        self.skipped = 0
        self.last = -1

    def check(self, update: int, stats: Mapping[str, Sequence[Any]]) -> None:
        """Judge after the trainer has worked through an update.

        Args:
            update: Steps that the optimizer has taken.
            stats: ESPnet's reporter: values of this epoch by name, newest last.

        Raises:
            CollapseError: No step for ``patience`` updates; names the losses that are
                not finite.
        """
        self.skipped = self.skipped + 1 if update == self.last else 0
        self.last = update
        if self.skipped < self.patience:
            return
        raise CollapseError(
            f"explosion: {_culprits(stats)}, and no optimizer step for {self.skipped}"
            f" updates in a row, at update {update}. Lower the learning rate or clip"
            " gradients, and resume from an earlier checkpoint"
        )


def _culprits(stats: Mapping[str, Sequence[Any]]) -> str:
    """Losses whose newest value is not finite, or the gradient if all of them are."""
    newest = {
        name: float(values[-1].value)
        for name, values in stats.items()
        if name.startswith("loss_") and name != "loss_scale" and len(values)
    }
    bad = [f"{k} is {v}" for k, v in newest.items() if not math.isfinite(v)]
    return ", ".join(bad) or "the gradient is not finite"
