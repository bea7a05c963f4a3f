"""ESPnet scorer of syllables by two CTC heads: the ``joint`` mode.

It stands where ESPnet's own ``CTCPrefixScorer`` would, in BeamSearch and in
BatchBeamSearch of both releases, alone or beside other scorers (language model, length
bonus). K-wav2vec's joint decoding (METHODS 7.6) searches each head by itself and mixes
two lists; here every hypothesis is scored by both heads from its first syllable on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from espnet2_dq.decode.joint_lattice import (
    LOG_LINEAR,
    Extensions,
    HeadLattice,
    JointLattice,
    Prefixes,
)
from espnet2_dq.decode.joint_vocabulary import Candidates, JointVocabulary
from espnet2_dq.decode.lattice_scorer import LOG_ZERO, LatticeScorer
from espnet2_dq.decode.spelling import GRAPHEME, HEADS, SYLLABLE
from espnet2_dq.errors import ConfigError, DataError

#: ``(1, T, D)`` encoder output -> head -> ``(1, T, V)`` log-probabilities.
Heads = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]


class JointPrefixScorer(LatticeScorer[Extensions]):
    """Incremental scores of syllables under both heads, exact.

    The score of a syllable is score(prefix + syllable...) - score(prefix...), where
    score combines both heads' log-probabilities; that of ``eos`` ends the prefix. So a
    finished hypothesis has the combination of what ``ctc_loss`` gives to its syllables
    and to their graphemes, negative.

    Syllables outside the list have ids from V_s on, another meaning in each utterance
    (``tokens``). A search without open vocabulary has exactly the ids of the list, and
    may hold other scorers over them.

    Args:
        heads: Posteriors of both heads from what the search is given.
        vocabulary: What may be emitted; ``vocabulary.size`` is the search's
            ``vocab_size`` and ``vocabulary.eos`` its ``sos`` and ``eos``.
        weight: Of the syllable head, 0 to 1; the grapheme head has the rest.
        combination: ``log_linear`` or ``mixture``, see ``joint_lattice.combine``.

    Raises:
        ConfigError: ``weight`` is not within 0 and 1.
    """

    def __init__(
        self,
        heads: Heads,
        vocabulary: JointVocabulary,
        *,
        weight: float = 0.5,
        combination: str = LOG_LINEAR,
    ) -> None:
        if not 0 <= weight <= 1:
            raise ConfigError(f"weight: {weight}; 0 to 1 (syllable head) is allowed")
        self.heads = heads
        self.vocabulary = vocabulary
        self.eos = vocabulary.eos
        self.weights = {GRAPHEME: 1 - weight, SYLLABLE: weight}
        self.combination = combination
        self._lattice: JointLattice | None = None
        self._candidates: Candidates | None = None

    @property
    def lattice(self) -> JointLattice:
        """The utterance at hand.

        Raises:
            RuntimeError: The search has not started.
        """
        if self._lattice is None:
            raise RuntimeError("init_state or batch_init_state comes first")
        return self._lattice

    @property
    def candidates(self) -> Candidates:
        """Those of the utterance at hand."""
        if self._candidates is None:
            raise RuntimeError("init_state or batch_init_state comes first")
        return self._candidates

    def init_state(self, x: torch.Tensor) -> None:
        """Start an utterance: ``(T, D)``. The state of the empty prefix is None.

        Raises:
            DataError: No frames, NaN, or heads of different lengths.
            ConfigError: Widths that are not those of the token lists.
        """
        found = self.heads(x[None])
        log_probs = {head: found[head][0].detach().cpu().numpy() for head in HEADS}
        frames = {head: len(values) for head, values in log_probs.items()}
        if frames[GRAPHEME] != frames[SYLLABLE] or not frames[GRAPHEME]:
            raise DataError(
                f"frames of the heads: {frames}; the same number, at least "
                "1, is expected"
            )
        if any(not (values < np.inf).all() for values in log_probs.values()):
            raise DataError("posteriors hold NaN or infinity; check sound and model")
        log_probs = self.vocabulary.prepare(log_probs)
        candidates = self.vocabulary.select(log_probs, self.weights, self.combination)
        lattices = {
            head: HeadLattice(log_probs[head], candidates.spellings[head])
            for head in HEADS
        }
        self._lattice = JointLattice(lattices, self.weights, self.combination)
        self._candidates = candidates
        self._ids = torch.from_numpy(candidates.ids)
        self._candidate_of = {int(t): i for i, t in enumerate(candidates.ids)}

    def candidates_of(self, ids: Sequence[int]) -> list[int] | None:
        """Candidates of a hypothesis, start and end left out; None: it is impossible.

        A search fills its beam with ids that are no candidates where nothing else is
        left.
        """
        found = [self._candidate_of.get(i, -1) for i in ids if i != self.eos]
        return None if -1 in found else found

    def _column(self, token: int) -> int:
        return self._candidate_of.get(token, -1)

    def _score(self, states: Sequence[Any]) -> tuple[torch.Tensor, Extensions]:
        """Incremental scores ``(N, size)`` float64 of all tokens."""
        extensions = self.lattice.score(self._prefixes(states))
        before = extensions.prefixes.score[:, None]
        after = np.column_stack([extensions.continued, extensions.ended])
        possible = (before > -np.inf) & (after > -np.inf)
        gains = np.full(after.shape, LOG_ZERO)
        np.subtract(after, before, out=gains, where=possible)
        scores = torch.full(
            (len(states), self.vocabulary.size), LOG_ZERO, dtype=torch.float64
        )
        both = torch.from_numpy(gains)
        scores[:, self._ids] = both[:, :-1]
        scores[:, self.eos] = both[:, -1]
        return scores, extensions

    def _prefixes(self, states: Sequence[Any]) -> Prefixes:
        """Forward variables of the running hypotheses, in one go per parent."""
        if states[0] is None:
            return self.lattice.start()
        parent, rows, candidates = self._parents(states)
        return self.lattice.extend(parent, np.array(rows), np.array(candidates))
