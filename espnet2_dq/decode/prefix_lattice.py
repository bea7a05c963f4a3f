"""CTC prefix probabilities of one utterance, for many prefixes at once.

The recursion of Watanabe et al., "Hybrid CTC/attention architecture" (2017),
algorithm 2, rearranged so that no loop over frames and no frames x hypotheses x
vocabulary tensor is left: scoring all extensions of N prefixes is one matrix product,
and only the extensions that the search keeps get their forward variables, by two
cumulative log-sums. Names as there: r^n, r^b = forward probabilities of paths that end
in a token / in a blank, phi = what an extension may continue, psi = P(prefix...).
"""

from dataclasses import dataclass

import torch

# Log-probabilities below are cut here: sums over frames stay exact in float64.
_FLOOR = -1.0e4
# Products below are taken again in the log domain: they may have lost digits.
_SMALLEST = 1.0e-280
_CHUNK_PAIRS = 4096
_NONE = -1
_INF = float("inf")


@dataclass(frozen=True)
class Prefixes:
    """Forward variables of N prefixes, all float64.

    Attributes:
        token_end: ``(N, T)`` log r^n.
        blank_end: ``(N, T)`` log r^b.
        last: ``(N,)`` column of the last token in the lattice; -1 for none.
        empty: ``(N,)`` bool, True for the empty prefix.
        score: ``(N,)`` log P(prefix...), the probability of all its continuations.
    """

    token_end: torch.Tensor
    blank_end: torch.Tensor
    last: torch.Tensor
    empty: torch.Tensor
    score: torch.Tensor


@dataclass(frozen=True)
class Extensions:
    """Scores of all one-token extensions of N prefixes over the S kept tokens.

    Attributes:
        prefixes: What is extended.
        continued: ``(N, S)`` log P(prefix + token...).
        ended: ``(N,)`` log P(prefix and nothing more).
    """

    prefixes: Prefixes
    continued: torch.Tensor
    ended: torch.Tensor


class PrefixLattice:
    """Posteriors of one utterance, reduced to the tokens that can matter.

    Args:
        log_probs: ``(T, V)`` natural logarithms, T >= 1.
        top_k: Keep the tokens that are among the k best of some frame; None: all. What
            is kept is scored exactly: P(prefix) needs only the prefix's own tokens.
        blank: Id of the blank, which is never a token.
        never: Further ids that are never tokens, such as ``<sos/eos>``.

    Attributes:
        tokens: ``(S,)`` ids of the kept tokens, ascending.
        column: ``(V,)`` column of each token, -1 where it is not kept.
    """

    def __init__(
        self,
        log_probs: torch.Tensor,
        *,
        top_k: int | None = None,
        blank: int = 0,
        never: tuple[int, ...] = (),
    ) -> None:
        frames, vocab_size = log_probs.shape
        if frames == 0:
            raise ValueError("no frames: an utterance needs at least one")
        exact = log_probs.detach().cpu().double()
        if not bool((exact < _INF).all()):  # NaN fails as well
            raise ValueError("posteriors hold NaN or infinity")
        self.tokens = _kept_tokens(exact, top_k, (blank, *never))
        self.column = torch.full((vocab_size,), _NONE)
        self.column[self.tokens] = torch.arange(len(self.tokens))
        exact = exact.clamp(min=_FLOOR)
        self._blank = exact[:, blank]  # (T,)
        self._scores = exact[:, self.tokens].T.contiguous()  # (S, T)
        self._probs = self._scores.exp().T.contiguous()  # (T, S)
        self._blank_sum = self._blank.cumsum(0)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self._blank)

    def start(self) -> Prefixes:
        """The empty prefix: only blanks so far, score 0."""
        return Prefixes(
            torch.full((1, self.num_frames), -_INF, dtype=torch.float64),
            self._blank_sum[None],
            torch.tensor([_NONE]),
            torch.tensor([True]),
            torch.zeros(1, dtype=torch.float64),
        )

    def score(self, prefixes: Prefixes) -> Extensions:
        """Score every extension and the end of every prefix."""
        any_end = torch.logaddexp(prefixes.token_end, prefixes.blank_end)
        phi = _shift(any_end, prefixes.empty)
        continued = self._sum_over_frames(phi)
        (rows,) = torch.nonzero(prefixes.last >= 0, as_tuple=True)
        if len(rows):
            # a token directly after itself needs a blank between
            last = prefixes.last[rows]
            phi_last = _shift(prefixes.blank_end[rows], prefixes.empty[rows])
            continued[rows, last] = (phi_last + self._scores[last]).logsumexp(1)
        return Extensions(prefixes, continued, any_end[:, -1])

    def _sum_over_frames(self, phi: torch.Tensor) -> torch.Tensor:
        """Log of sum_t exp(phi[n, t]) p[t, s], ``(N, S)``."""
        peak = phi.amax(1, keepdim=True)
        peak = torch.where(peak == -_INF, 0.0, peak)
        sums = (phi - peak).exp() @ self._probs
        logs = sums.log() + peak
        alive = (phi > -_INF).any(1, keepdim=True)
        rows, columns = torch.nonzero((sums < _SMALLEST) & alive, as_tuple=True)
        for first in range(0, len(rows), _CHUNK_PAIRS):
            n = rows[first : first + _CHUNK_PAIRS]
            s = columns[first : first + _CHUNK_PAIRS]
            logs[n, s] = (phi[n] + self._scores[s]).logsumexp(1)
        return logs

    def extend(
        self, extensions: Extensions, rows: torch.Tensor, columns: torch.Tensor
    ) -> Prefixes:
        """Forward variables of chosen extensions.

        Args:
            extensions: What was scored.
            rows: ``(M,)`` prefix of each choice.
            columns: ``(M,)`` column of its new token; -1: a token that is not kept,
                which gives a dead prefix of probability 0.
        """
        parents = extensions.prefixes
        kept = columns.clamp(min=0)
        blank_end, empty = parents.blank_end[rows], parents.empty[rows]
        any_end = torch.logaddexp(parents.token_end[rows], blank_end)
        repeated = (parents.last[rows] == columns)[:, None]
        phi = _shift(torch.where(repeated, blank_end, any_end), empty)
        dead = columns < 0
        phi = phi.masked_fill(dead[:, None], -_INF)
        token_end = _linear_recursion(phi, self._scores[kept])
        nothing = torch.zeros_like(empty)
        blank_end = _linear_recursion(_shift(token_end, nothing), self._blank)
        score = extensions.continued[rows, kept].masked_fill(dead, -_INF)
        return Prefixes(token_end, blank_end, columns, nothing, score)


def _kept_tokens(
    log_probs: torch.Tensor, top_k: int | None, never: tuple[int, ...]
) -> torch.Tensor:
    """Sorted ids of the tokens that the search may use, ``(S,)``."""
    possible = log_probs.amax(0) > _FLOOR
    possible[list(never)] = False
    if top_k is not None and top_k < log_probs.size(1):
        allowed = log_probs.clone()
        allowed[:, list(never)] = -_INF
        best = torch.zeros_like(possible)
        best[allowed.topk(min(top_k, log_probs.size(1)), dim=1).indices.unique()] = True
        possible &= best
    return torch.nonzero(possible).flatten()


def _shift(ends: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """What frame t continues: ``ends[:, t - 1]``; before frame 0, the empty prefix."""
    first = torch.where(empty, 0.0, -_INF).to(ends.dtype)[:, None]
    return torch.cat([first, ends[:, :-1]], dim=1)


def _linear_recursion(inputs: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """r[t] = steps[t] + logaddexp(r[t - 1], inputs[t]) along the last dimension.

    Divided by the product of all steps so far, the recursion is a running sum:
    r[t] = S[t] + logcumsumexp(inputs[t] - S[t - 1]) with S = cumsum(steps).
    """
    sums = steps.cumsum(-1)
    return sums + (inputs - (sums - steps)).logcumsumexp(-1)
