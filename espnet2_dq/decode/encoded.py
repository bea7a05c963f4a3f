"""Token sequences in one array, for compiled code."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoded:
    """Several token sequences over a vocabulary of V tokens.

    Attributes:
        flat: int64 ids, one sequence after another, with V + 1 behind each; V is a
            token outside the vocabulary.
        lengths: ``(N,)`` of the sequences, without that.
    """

    flat: np.ndarray
    lengths: np.ndarray
