"""Small posteriors and what brute force over all paths says about them."""

import itertools
import math
from collections import defaultdict

import torch


def random_log_probs(frames, vocab, *, seed=0, scale=2.0, blank_bonus=0.0):
    """``(T, V)`` float64 natural logarithms."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(frames, vocab, generator=generator).double()
    logits[:, 0] += blank_bonus
    return logits.log_softmax(-1)


def all_sequences(log_probs, *, never=()):
    """Probability of every token sequence: the sum over all of its paths."""
    frames, vocab = log_probs.shape
    rows = log_probs.double().tolist()
    sums = defaultdict(float)
    for path in itertools.product(range(vocab), repeat=frames):
        if any(token in never for token in path):
            continue
        ids = tuple(k for k, _ in itertools.groupby(path) if k != 0)
        sums[ids] += math.exp(sum(rows[t][token] for t, token in enumerate(path)))
    return dict(sums)


def prefix_probability(sequences, prefix):
    """Probability of all sequences that start with ``prefix``."""
    return sum(p for ids, p in sequences.items() if ids[: len(prefix)] == prefix)
