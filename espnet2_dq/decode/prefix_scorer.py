"""ESPnet scorer for CTC prefixes: exact, and fast through ``PrefixLattice``.

It stands where ESPnet's own ``CTCPrefixScorer`` would, in BeamSearch and in
BatchBeamSearch of both releases, alone or beside other scorers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from espnet2_dq.decode.prefix_lattice import Extensions, Prefixes, PrefixLattice
from espnet2_dq.espnet_compat import BatchPartialScorerInterface

# ESPnet's "impossible": finite, so that sums of it never become NaN.
LOG_ZERO = -1.0e10


@dataclass(frozen=True)
class _Chosen:
    """One hypothesis that the search keeps; its variables are computed when needed.

    Not a tuple: ESPnet 202611 rebuilds the tuples it finds in states.
    """

    extensions: Extensions
    row: int
    column: int


@dataclass(frozen=True)
class _Scored:
    """All extensions of the running hypotheses; ``ids`` maps indices to tokens."""

    extensions: Extensions
    ids: torch.Tensor | None


class PrunedCTCPrefixScorer(BatchPartialScorerInterface):  # type: ignore[misc]
    """Incremental CTC prefix scores over the tokens that can matter.

    The score of a token is log P(prefix + token...) - log P(prefix...); that of
    ``eos`` is log P(prefix and nothing more) - log P(prefix...). So a finished
    hypothesis has the log-probability that ``ctc_loss`` gives it.

    Args:
        ctc: Module with ``log_softmax``: ``(B, T, D)`` -> ``(B, T, V)``.
        eos: Id whose column means the end: ``<sos/eos>``, or the blank where the
            vocabulary has none.
        top_k: Tokens per frame that enter the utterance's vocabulary; None: all.
        blank: Id of the blank.
    """

    def __init__(
        self, ctc: Any, eos: int, *, top_k: int | None = None, blank: int = 0
    ) -> None:
        self.ctc = ctc
        self.eos = eos
        self.top_k = top_k
        self.blank = blank
        self._lattice: PrefixLattice | None = None

    @property
    def lattice(self) -> PrefixLattice:
        """The utterance at hand.

        Raises:
            RuntimeError: The search has not started.
        """
        if self._lattice is None:
            raise RuntimeError("init_state or batch_init_state comes first")
        return self._lattice

    def init_state(self, x: torch.Tensor) -> None:
        """Start an utterance: ``(T, D)``. The state of the empty prefix is None."""
        log_probs = self.ctc.log_softmax(x[None])[0]
        self._lattice = PrefixLattice(
            log_probs, top_k=self.top_k, blank=self.blank, never=(self.eos,)
        )

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
    ) -> tuple[torch.Tensor, _Scored]:
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
    ) -> tuple[torch.Tensor, _Scored]:
        """Score tokens after N prefixes (BatchBeamSearch).

        Args:
            ys: ``(N, L)`` prefixes; not used, the states know them.
            next_tokens: ``(N, K)`` ids that a pre-beam left, or None for all.
            states: One state per prefix.
            xs: Gives dtype and device of the scores.

        Returns:
            Scores ``(N, V)``, LOG_ZERO for what is pruned, and the state of them all.
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
        return _Chosen(state.extensions, row, int(self.lattice.column[token]))

    def _score(self, states: Sequence[Any]) -> tuple[torch.Tensor, Extensions]:
        """Incremental scores ``(N, V)`` float64 of all tokens."""
        lattice = self.lattice
        extensions = lattice.score(self._prefixes(states))
        before = extensions.prefixes.score[:, None]
        alive = before > -float("inf")
        scores = before.new_full((len(states), len(lattice.column)), LOG_ZERO)
        gains = torch.where(alive, extensions.continued - before, LOG_ZERO)
        scores[:, lattice.tokens] = gains.clamp(min=LOG_ZERO)
        end = torch.where(alive, extensions.ended[:, None] - before, LOG_ZERO)
        scores[:, self.eos] = end[:, 0].clamp(min=LOG_ZERO)
        return scores, extensions

    def _prefixes(self, states: Sequence[Any]) -> Prefixes:
        """Forward variables of the running hypotheses, in one go per parent."""
        if states[0] is None:
            return self.lattice.start()
        parent = states[0].extensions
        if any(state.extensions is not parent for state in states):
            raise ValueError("states of different steps cannot be scored together")
        return self.lattice.extend(
            parent,
            torch.tensor([state.row for state in states]),
            torch.tensor([state.column for state in states]),
        )
