"""K-wav2vec's joint decoding: a mixture of two n-best lists (METHODS 7.6).

A text scores ``log((1 - w) exp(s_graph) + w exp(s_syll))`` with the score that each
head's own search gave it; a text that is missing from a list lacks that term. Nothing
is scored anew, so that a text which one search pruned counts as impossible there: the
``rescore`` mode mends that. Texts are compared after NFC; duplicates within a list are
summed, or, in the variant ``max``, their best one counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.spelling import SYLLABLE
from espnet2_dq.errors import ConfigError

SUM, MAX = VARIANTS = ("sum", "max")


def log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``; of two impossible things: ``-inf``, not NaN."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def head_weights(weight: float, heads: Sequence[str]) -> dict[str, float]:
    """Weight of each head.

    Args:
        weight: Of the syllable head; the grapheme head has the rest. A head on its
            own has all.
        heads: Names of the heads.

    Raises:
        ConfigError: A weight outside 0 to 1.
    """
    if not 0.0 <= weight <= 1.0:
        raise ConfigError(
            f"weight: {weight}; the syllable head's share, 0 to 1, is allowed"
        )
    if len(heads) == 1:
        return {heads[0]: 1.0}
    return {head: weight if head == SYLLABLE else 1.0 - weight for head in heads}


def summed_texts(
    texts: Sequence[tuple[str, float]], variant: str = SUM
) -> dict[str, float]:
    """One score per distinct text of a list, in the order of the list."""
    add: Callable[[float, float], float] = log_add if variant == SUM else max
    scores: dict[str, float] = {}
    for text, score in texts:
        scores[text] = add(scores[text], score) if text in scores else score
    return scores


def merge(
    lists: Mapping[str, Sequence[tuple[str, float]]],
    weight: float = 0.5,
    *,
    variant: str = SUM,
) -> list[JointHypothesis]:
    """Merge the lists of the heads.

    Args:
        lists: Head -> normalised texts and their log-probabilities.
        weight: Of the syllable head, 0 to 1; the grapheme head has the rest.
        variant: ``sum`` of probabilities, or the ``max`` of them.

    Returns:
        All distinct texts, best first; equal scores in the order of the lists. Where
        a weight is 0, the texts of that list alone have ``-inf``.

    Raises:
        ConfigError: A weight outside 0 to 1, or another variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"variant: {variant!r}; {SUM} or {MAX} is allowed")
    add: Callable[[float, float], float] = log_add if variant == SUM else max
    weights = head_weights(weight, list(lists))
    totals: dict[str, float] = {}
    known: dict[str, dict[str, float]] = {}
    for head, texts in lists.items():
        prior = math.log(weights[head]) if weights[head] > 0 else -math.inf
        for text, score in summed_texts(texts, variant).items():
            totals[text] = add(totals.get(text, -math.inf), prior + score)
            known.setdefault(text, {})[head] = score
    ranked = sorted(totals, key=lambda text: -totals[text])
    return [JointHypothesis(text, totals[text], known[text]) for text in ranked]
