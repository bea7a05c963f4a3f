import math

import numpy as np
import pytest
import torch
from lattices import all_sequences, random_log_probs

from espnet2_dq.decode.alignment import ctc_log_probs, viterbi_spans


def test_scores_are_sums_over_all_paths():
    log_probs = random_log_probs(5, 4, seed=1)
    sequences = all_sequences(log_probs)
    chosen = [(), (1,), (2, 2), (3, 1, 2), (1, 2, 3, 1, 2)]
    expected = [math.log(sequences[ids]) for ids in chosen]
    assert ctc_log_probs(log_probs, chosen) == pytest.approx(expected, abs=1e-9)


def test_too_few_frames_are_impossible():
    log_probs = random_log_probs(2, 3)
    assert ctc_log_probs(log_probs, [(1, 1), (1, 2, 1)]) == [-math.inf, -math.inf]


def test_no_sequences_no_scores():
    assert ctc_log_probs(random_log_probs(2, 3), []) == []


def test_posteriors_are_not_changed():
    log_probs = random_log_probs(4, 3)
    before = log_probs.clone()
    ctc_log_probs(log_probs, [(1, 2)])
    assert torch.equal(before, log_probs)


def _path_score(log_probs, ids, spans):
    """Score of a path that emits the tokens in their spans and blanks elsewhere."""
    labels = np.zeros(len(log_probs), dtype=int)
    for token, span in zip(ids, spans, strict=True):
        labels[span.start : span.end] = token
    return log_probs[np.arange(len(labels)), labels].sum()


@pytest.mark.parametrize("ids", [(1,), (2, 2), (1, 3, 2), (3, 3, 1), (1, 2, 1, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_spans_are_the_best_path(ids, seed):
    import itertools

    log_probs = random_log_probs(6, 4, seed=seed).double().numpy()
    best = max(
        sum(log_probs[t, token] for t, token in enumerate(path))
        for path in itertools.product(range(4), repeat=6)
        if tuple(k for k, _ in itertools.groupby(path) if k) == ids
    )
    spans = viterbi_spans(log_probs, ids)
    assert _path_score(log_probs, ids, spans) == pytest.approx(best)
    assert all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))


def test_token_score_is_its_surest_frame():
    log_probs = np.log([[0.2, 0.8], [0.1, 0.9], [0.9, 0.1]])
    (span,) = viterbi_spans(log_probs, (1,))
    assert (span.start, span.end) == (0, 2)
    assert span.score == pytest.approx(np.log(0.9))


def test_nothing_to_align():
    assert viterbi_spans(np.zeros((3, 2)), ()) == ()


@pytest.mark.parametrize("ids", [(1, 1), (1, 2, 1)])
def test_too_few_frames_are_an_error(ids):
    with pytest.raises(ValueError, match="2 frames cannot emit"):
        viterbi_spans(np.zeros((2, 3)), ids)
