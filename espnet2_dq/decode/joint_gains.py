"""How likely a grapheme head holds each Hangul syllable possible, somewhere."""

import numpy as np

from espnet2_dq.decode.compiled import compiled


@compiled
def syllable_gains(
    initials: np.ndarray,
    medials: np.ndarray,
    finals: np.ndarray,
    blank: np.ndarray,
    hopeless: float,
) -> np.ndarray:
    """Best path through each syllable, in log-probability against the best path.

    Only the frames from its first jamo to the first frame of its last one count.

    Args:
        initials: ``(T, 19)`` log-probabilities against the best of each frame, <= 0.
        medials: ``(T, 21)`` likewise.
        finals: ``(T, 27)`` likewise.
        blank: ``(T,)`` likewise.
        hopeless: Paths below this are not followed.

    Returns:
        ``(19, 21, 28)``, at most 0; final 0 is none.
    """
    frames = len(blank)
    shape = (initials.shape[1], medials.shape[1], finals.shape[1] + 1)
    gains = np.full(shape, -np.inf)
    before = np.empty(frames)  # best path through the initial, that ends before frame t
    for initial in range(shape[0]):
        token = empty = -np.inf
        for t in range(frames):
            before[t] = max(token, empty)
            empty = max(token, empty) + blank[t]
            token = initials[t, initial]  # starting anew is never worse
        for medial in range(shape[1]):
            best = gains[initial, medial]
            token = empty = -np.inf
            for t in range(frames):
                reached = max(token, empty)
                empty = reached + blank[t]
                token = max(token, before[t]) + medials[t, medial]
                best[0] = max(best[0], token)
                if reached >= hopeless:
                    for final in range(shape[2] - 1):
                        gain = reached + finals[t, final]
                        best[final + 1] = max(best[final + 1], gain)
    return gains
