"""Span masks drawn per utterance, so that batch mates never matter (METHODS 1.4)."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from espnet2_dq.errors import ConfigError


def utterance_rng(seed: int, epoch: int, utt_id: str) -> np.random.Generator:
    """Random generator that depends on seed, epoch and utterance only.

    The name is hashed by BLAKE2 because Python's ``hash`` differs between
    processes; the draw is the same in every process, batch and resumed run.
    """
    digest = hashlib.blake2b(utt_id.encode("utf-8"), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    entropy = [seed % 2**32, epoch % 2**32, *words]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def span_length(num_frames: int, mask_length: int) -> int:
    """Span used for an utterance: half of it where ``mask_length`` does not fit.

    Starts lie in ``[0, num_frames - span)``, so the last frame is never masked
    and at least one frame of context remains in every utterance.
    """
    if num_frames > mask_length:
        return mask_length
    return max(1, num_frames // 2)


def draw_span_mask(
    num_frames: int,
    rng: np.random.Generator,
    *,
    mask_prob: float = 0.65,
    mask_length: int = 10,
    min_masks: int = 1,
) -> NDArray[np.bool_]:
    """Draw one utterance's span mask by fairseq's rule.

    ``int(mask_prob * T / mask_length + U[0, 1))`` span starts, at least
    ``min_masks``, without replacement; spans may overlap. With the defaults
    about 49 % of the frames are masked. Utterances of at most ``mask_length``
    frames get shorter spans (`span_length`); one frame alone is never masked.

    Args:
        num_frames: Valid frames ``T`` of the utterance, 0 or more.
        rng: Its generator, see `utterance_rng`.
        mask_prob: Share of frames that would be masked without overlaps; 0 masks
            nothing.
        mask_length: Frames per span.
        min_masks: Least number of spans.

    Returns:
        ``(T,)`` bool, True = masked.

    Raises:
        ConfigError: A setting is out of range.
    """
    _check_settings(num_frames, mask_prob, mask_length, min_masks)
    mask = np.zeros(num_frames, dtype=bool)
    if num_frames < 2 or mask_prob == 0.0:
        return mask
    span = span_length(num_frames, mask_length)
    wanted = int(mask_prob * num_frames / span + rng.random())
    places = num_frames - span
    starts = rng.choice(places, min(max(wanted, min_masks), places), replace=False)
    mask[(starts[:, None] + np.arange(span)).ravel()] = True
    return mask


def batch_span_mask(
    lengths: Sequence[int],
    rngs: Sequence[np.random.Generator],
    *,
    mask_prob: float = 0.65,
    mask_length: int = 10,
    min_masks: int = 1,
) -> NDArray[np.bool_]:
    """Stack the masks of a batch; ragged on purpose (METHODS T4).

    Args:
        lengths: Valid frames of each utterance.
        rngs: One generator per utterance.
        mask_prob: See `draw_span_mask`.
        mask_length: See `draw_span_mask`.
        min_masks: See `draw_span_mask`.

    Returns:
        ``(B, max(lengths))`` bool, padding False.
    """
    if len(lengths) != len(rngs):
        raise ValueError(f"{len(lengths)} lengths but {len(rngs)} generators")
    out = np.zeros((len(lengths), max(lengths, default=0)), dtype=bool)
    for row, (length, rng) in enumerate(zip(lengths, rngs, strict=True)):
        out[row, :length] = draw_span_mask(
            int(length),
            rng,
            mask_prob=mask_prob,
            mask_length=mask_length,
            min_masks=min_masks,
        )
    return out


def _check_settings(
    num_frames: int, mask_prob: float, mask_length: int, min_masks: int
) -> None:
    """Refuse values for which the rule has no meaning."""
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}; it must be 0 or more")
    if not 0.0 <= mask_prob <= 1.0:
        raise ConfigError(f"mask_prob is {mask_prob}; choose a value from 0 to 1")
    if mask_length < 1:
        raise ConfigError(f"mask_length is {mask_length}; choose at least 1 frame")
    if min_masks < 0:
        raise ConfigError(f"min_masks is {min_masks}; choose 0 or more")
