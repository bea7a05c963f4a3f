"""Greedy CTC output and its token errors, for the gauges of a training log."""

import torch
from rapidfuzz.distance import Levenshtein

BLANK_ID = 0


def greedy_tokens(best: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    """Merge repeats of ``best (B, T)`` and drop blanks, per utterance."""
    outputs = []
    for path, frames in zip(best.cpu(), lengths.tolist(), strict=True):
        merged = torch.unique_consecutive(path[:frames])
        outputs.append(merged[merged != BLANK_ID].tolist())
    return outputs


def token_errors(found: list[list[int]], expected: list[list[int]]) -> int:
    """Edit operations between outputs and references, summed."""
    pairs = zip(found, expected, strict=True)
    return sum(Levenshtein.distance(output, target) for output, target in pairs)
