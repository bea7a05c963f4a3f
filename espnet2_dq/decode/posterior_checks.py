"""What the posteriors of an utterance must be before anything searches them."""

import numpy as np

from espnet2_dq.errors import DataError

#: Log-probabilities above this are none: a logit or a probability (trap T15).
MAX_LOG_PROB = 1e-3


def check_log_probs(log_probs: np.ndarray, head: str) -> None:
    """Check posteriors of one head.

    Args:
        log_probs: ``(T, V)`` natural logarithms.
        head: Its name, for the message.

    Raises:
        DataError: No frames, no token beside the blank, NaN, or values above 0.
    """
    if log_probs.ndim != 2 or log_probs.shape[0] == 0 or log_probs.shape[1] < 2:
        raise DataError(
            f"{head}: posteriors of shape {log_probs.shape}; (T, V) with at least one "
            "frame, a blank and a token is needed; is the sound too short?"
        )
    largest = log_probs.max()  # NaN if there is any
    if np.isnan(largest):
        frames = np.flatnonzero(np.isnan(log_probs).any(axis=1))
        raise DataError(
            f"{head}: posteriors are NaN in {len(frames)} of {len(log_probs)} frames, "
            f"the first is {frames[0]}; check the sound and the model"
        )
    if largest > MAX_LOG_PROB:
        raise DataError(
            f"{head}: posteriors of up to {largest:.4g}; log-probabilities, at most 0, "
            "are expected, neither probabilities nor logits"
        )
