"""Results of decoding with two heads (METHODS 7.6).

Plain data: nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: N-best list of one head: token ids without blanks, and natural log-probability,
#: best first. The log-probability is what the search summed: a lower bound of the
#: exact one where hypotheses were pruned (trap T16).
HeadList = list[tuple[tuple[int, ...], float]]


@dataclass(frozen=True)
class JointHypothesis:
    """A text found with one or both heads.

    Attributes:
        text: NFC, single spaces.
        score: Natural logarithm, of the decoding mode: comparable between the
            hypotheses of one utterance, not between modes.
        scores: Head -> log-probability of the text under that head, for the heads
            where it is known; ``-inf``: the head cannot emit it.
    """

    text: str
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
