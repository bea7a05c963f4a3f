"""CTC prefix beam search of one head, without a language model (METHODS 7.6).

The search is pyctcdecode's, which K-wav2vec decodes with: tokens below ``token_logp``
are skipped unless no token of the frame is above; hypotheses more than ``-beam_logp``
below the best are dropped, then all but the best ``beam_size``; equal prefixes are
merged by the sum of their probabilities; probabilities are clipped at 1e-15. A
hypothesis' score sums its surviving alignments only: a lower bound (trap T16).

Where it differs from pyctcdecode:

* It takes log-probabilities and says so where it gets something else; pyctcdecode
  guesses from the mean of the row sums whether it was given probabilities (trap T15).
* It returns token ids. Hypotheses are told apart by ids, pyctcdecode's by text: the
  same as long as each token is one character, as in our token lists. ``<unk>`` and
  other tokens may be left out (``forbidden``).
* As in pyctcdecode, spaces at either end and repeated ones do not count, if ``space``
  is given: "a b" stands for "a  b " too, and its score is the sum. Without ``space``
  every sequence of ids counts for itself.
* Exact ties are broken by another order.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.decode.joint_hypothesis import HeadList
from espnet2_dq.decode.posterior_checks import check_log_probs
from espnet2_dq.decode.prefix_kernel import likely_tokens, paths, search
from espnet2_dq.errors import ConfigError

_CLIP_LOGP = float(np.log(1e-15))


@dataclass(frozen=True)
class PrefixSearchOptions:
    """Beam and pruning; the defaults are pyctcdecode's.

    Attributes:
        beam_size: Hypotheses kept after each frame; a prefix counts twice where both
            its states (last frame a blank or not) are kept.
        beam_logp: Hypotheses this far (negative, nats) below the best are dropped.
        token_logp: Tokens with a smaller log-probability in a frame are skipped.
    """

    beam_size: int = 100
    beam_logp: float = -10.0
    token_logp: float = -5.0

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that leave nothing."""
        if self.beam_size < 1:
            raise ConfigError(f"beam_size: {self.beam_size}; give at least 1")
        if not self.beam_logp <= 0:
            raise ConfigError(f"beam_logp: {self.beam_logp}; give at most 0")
        if not self.token_logp <= 0:
            raise ConfigError(f"token_logp: {self.token_logp}; give at most 0")


def prefix_search(
    log_probs: np.ndarray,
    options: PrefixSearchOptions | None = None,
    *,
    space: int | None = None,
    forbidden: Collection[int] = (),
) -> HeadList:
    """Search one utterance.

    Args:
        log_probs: ``(T, V)`` float32 or float64 natural logarithms, normalised; blank
            is column 0; no padding.
        options: Beam and pruning.
        space: Id of the space, see above.
        forbidden: Ids that no hypothesis may hold.

    Returns:
        At most ``beam_size`` distinct sequences, best first.

    Raises:
        DataError: No frames, NaN, or values above 0.
    """
    options = options or PrefixSearchOptions()
    check_log_probs(log_probs, "prefix search")
    allowed = np.ones(log_probs.shape[1], dtype=np.bool_)
    allowed[list(forbidden)] = False
    offsets, tokens, probs = likely_tokens(
        np.ascontiguousarray(log_probs), allowed, options.token_logp, _CLIP_LOGP
    )
    trie, nodes, masses, log_scale = search(
        offsets,
        tokens,
        probs,
        BLANK_ID,
        -1 if space is None else space,
        options.beam_size,
        np.exp(options.beam_logp),
    )
    return _ranked(trie, nodes, masses, log_scale, options, space)


def _ranked(
    trie: np.ndarray,
    nodes: np.ndarray,
    masses: np.ndarray,
    log_scale: float,
    options: PrefixSearchOptions,
    space: int | None,
) -> HeadList:
    """Sequences of the last frame's nodes, a space at the end taken off."""
    sums: dict[int, float] = {}
    for node, mass in zip(nodes.tolist(), masses.tolist(), strict=True):
        if node and trie[node, 1] == space:
            node = int(trie[node, 0])
        sums[node] = sums.get(node, 0.0) + mass
    ranked = sorted(sums.items(), key=lambda item: -item[1])
    least = ranked[0][1] * np.exp(options.beam_logp)
    kept = [(node, mass) for node, mass in ranked if mass >= least]
    ids, offsets = paths(trie, np.array([node for node, _ in kept], np.int64))
    flat, ends = ids.tolist(), offsets.tolist()
    return [
        (tuple(flat[start:end]), math.log(mass) + log_scale)
        for (_, mass), start, end in zip(kept, ends[:-1], ends[1:], strict=True)
    ]
