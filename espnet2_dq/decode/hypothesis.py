"""What every decoder returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenSpan:
    """Where a token was emitted.

    Attributes:
        start: First frame of the run of frames that emit the token.
        end: One past the last.
        score: Log-probability of the token in its most certain frame of the run.
    """

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class CTCHypothesis:
    """A token sequence for one utterance.

    Attributes:
        ids: Token ids, without blanks and without ``<sos/eos>``.
        score: Natural logarithm of a probability; which one, the decoder says.
        spans: One per token, or empty where nobody asked for times.
    """

    ids: tuple[int, ...]
    score: float
    spans: tuple[TokenSpan, ...] = ()
