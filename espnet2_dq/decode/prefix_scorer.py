"""ESPnet scorer for CTC prefixes: exact, and fast through ``PrefixLattice``.

It stands where ESPnet's own ``CTCPrefixScorer`` would, in BeamSearch and in
BatchBeamSearch of both releases, alone or beside other scorers.
"""

from collections.abc import Sequence
from typing import Any

import torch

from espnet2_dq.decode.lattice_scorer import LOG_ZERO, LatticeScorer
from espnet2_dq.decode.prefix_lattice import Extensions, Prefixes, PrefixLattice


class PrunedCTCPrefixScorer(LatticeScorer[Extensions]):
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

    def _column(self, token: int) -> int:
        return int(self.lattice.column[token])

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
        parent, rows, columns = self._parents(states)
        return self.lattice.extend(parent, torch.tensor(rows), torch.tensor(columns))
