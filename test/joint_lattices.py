"""Two small heads over the same Korean text, and what brute force says about them."""

import math

import numpy as np
import torch
from lattices import all_sequences, random_log_probs

from espnet2_dq.text.hangul import spell

G, N, A, FINAL_G = "\u1100", "\u1102", "\u1161", "\u11a8"
# 낙 can be spelled, but is not in the list
LISTS = {
    "grapheme": ["<blank>", "<unk>", G, N, A, FINAL_G, "<sos/eos>"],
    "syllable": ["<blank>", "<unk>", "가", "나", "각", "<sos/eos>"],
}
STARTERS = (2, 3)


def padded(lists, size=30):
    """A syllable list with letters that no grapheme list spells: room for the beam."""
    letters = [chr(ord("Ā") + i) for i in range(size - len(lists["syllable"]))]
    return {**lists, "syllable": [*lists["syllable"][:-1], *letters, "<sos/eos>"]}


def random_heads(frames, lists=LISTS, *, seed=0, scale=1.5):
    """Posteriors ``(T, V)`` of both heads; the specials and letters never occur."""
    heads = {}
    for offset, (head, tokens) in enumerate(lists.items()):
        logits = random_log_probs(
            frames, len(tokens), seed=2 * seed + offset, scale=scale
        )
        never = [
            i
            for i, t in enumerate(tokens)
            if t[0] == "<" and i or t[0] >= "Ā" and t[0] < "ɐ"
        ]
        logits[:, never] = -math.inf
        heads[head] = logits.log_softmax(-1).numpy()
    return heads


def sequences_of(log_probs, tokens):
    """Token sequences (as tokens) and their probabilities, by brute force."""
    possible = np.flatnonzero(np.isfinite(log_probs).any(0))
    sums = all_sequences(torch.from_numpy(log_probs[:, possible]))
    return {tuple(tokens[possible[i]] for i in ids): p for ids, p in sums.items()}


def spelled(syllables):
    return tuple(jamo for syllable in syllables for jamo in spell(syllable))


def grapheme_prefix(sequences, syllables):
    """Probability of all grapheme sequences that begin with exactly these syllables."""
    prefix = spelled(syllables)
    is_open = bool(syllables) and len(spell(syllables[-1])) == 2
    total = 0.0
    for jamo, p in sequences.items():
        if jamo[: len(prefix)] == prefix:
            rest = jamo[len(prefix) :]
            if not is_open or not rest or rest[0] in (G, N):
                total += p
    return total


def combined(p_grapheme, p_syllable, weight, combination="log_linear"):
    """Score of two probabilities."""
    if combination == "mixture":
        return _log((1 - weight) * p_grapheme + weight * p_syllable)
    parts = [(1 - weight, p_grapheme), (weight, p_syllable)]
    return sum(w * _log(p) for w, p in parts if w)


def _log(p):
    return math.log(p) if p > 0 else -math.inf
