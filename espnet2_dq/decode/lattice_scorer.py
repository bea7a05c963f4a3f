"""What ESPnet's searches ask of a prefix scorer, for scorers with a lattice.

A scorer of this kind computes the extensions of all running hypotheses at once; the
state of a hypothesis only points into them, and its variables are computed when the
search keeps it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from espnet2_dq.espnet_compat import BatchPartialScorerInterface

# ESPnet's "impossible": finite, so that sums of it never become NaN.
LOG_ZERO = -1.0e10

#: Scores of all extensions of some prefixes, in the lattice's own form.
Extensions = TypeVar("Extensions")


@dataclass(frozen=True)
class _Chosen(Generic[Extensions]):
    """One hypothesis that the search keeps.

    Not a tuple: ESPnet 202611 rebuilds the tuples it finds in states.
    """

    extensions: Extensions
    row: int
    column: int


@dataclass(frozen=True)
class _Scored(Generic[Extensions]):
    """All extensions of the running hypotheses; ``ids`` maps indices to tokens."""

    extensions: Extensions
    ids: torch.Tensor | None


class LatticeScorer(  # type: ignore[misc]
    BatchPartialScorerInterface, Generic[Extensions]
):
    """Both of ESPnet's searches, over what a subclass scores.

    Attributes:
        eos: Id whose score ends the hypothesis.
    """

    eos: int

    @abstractmethod
    def init_state(self, x: torch.Tensor) -> None:
        """Start an utterance: ``(T, D)``. The state of the empty prefix is None."""

    @abstractmethod
    def _score(self, states: Sequence[Any]) -> tuple[torch.Tensor, Extensions]:
        """Incremental scores ``(N, V)`` float64 of all tokens, and the extensions."""

    @abstractmethod
    def _column(self, token: int) -> int:
        """Where the lattice has a token; -1: it has not."""

    def batch_init_state(self, x: torch.Tensor) -> None:
        """Start an utterance: ``(T, D)``, or ``(1, T, D)`` in ESPnet 202611."""
        if x.dim() == 3:
            if x.size(0) != 1:
                raise ValueError(
                    f"{x.size(0)} utterances at once; search one utterance at a time"
                )
            x = x[0]
        self.init_state(x)

    def score_partial(
        self, y: torch.Tensor, next_tokens: torch.Tensor, state: Any, x: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        """Score tokens after one prefix (BeamSearch).

        Args:
            y: Prefix; not used, the state knows it.
            next_tokens: ``(K,)`` ids to score.
            state: State of the prefix.
            x: Gives dtype and device of the scores.

        Returns:
            Scores ``(K,)`` and a state that ``select_state`` takes apart.
        """
        scores, extensions = self._score([state])
        ids = next_tokens.cpu()
        return scores[0, ids].to(x), _Scored(extensions, ids)

    def batch_score_partial(
        self,
        ys: torch.Tensor,
        next_tokens: torch.Tensor | None,
        states: Sequence[Any],
        xs: torch.Tensor,
    ) -> tuple[torch.Tensor, Any]:
        """Score tokens after N prefixes (BatchBeamSearch).

        Args:
            ys: ``(N, L)`` prefixes; not used, the states know them.
            next_tokens: ``(N, K)`` ids that a pre-beam left, or None for all.
            states: One state per prefix.
            xs: Gives dtype and device of the scores.

        Returns:
            Scores ``(N, V)``, LOG_ZERO for what the lattice has not, and the state of
            them all.
        """
        scores, extensions = self._score(states)
        if next_tokens is not None:
            wanted = torch.zeros_like(scores, dtype=torch.bool)
            wanted.scatter_(1, next_tokens.cpu(), True)
            wanted[:, self.eos] = True
            scores = scores.masked_fill(~wanted, LOG_ZERO)
        return scores.to(xs), _Scored(extensions, None)

    def select_state(self, state: Any, i: Any, new_id: Any = None) -> Any:
        """State of one hypothesis.

        Args:
            state: What scoring returned, or a list of hypotheses' states.
            i: Which prefix (batch), which of the scored tokens (single), or which
                hypothesis of the list.
            new_id: The token that was appended (batch).
        """
        if not isinstance(state, _Scored):
            return None if state is None else state[i]
        if state.ids is None:
            row, token = int(i), int(new_id)
        else:
            row, token = 0, int(state.ids[int(i)])
        return _Chosen(state.extensions, row, self._column(token))

    def _parents(
        self, states: Sequence[Any]
    ) -> tuple[Extensions, list[int], list[int]]:
        """Extensions that the states point into, and their rows and columns."""
        parent: Extensions = states[0].extensions
        if any(state.extensions is not parent for state in states):
            raise ValueError("states of different steps cannot be scored together")
        return (
            parent,
            [state.row for state in states],
            [state.column for state in states],
        )
