import itertools
import math

import numpy as np
import pytest
import torch
from korean_posteriors import recorded_example, recorded_token_lists
from lattices import all_sequences, random_log_probs

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.ctc_forward import SequenceScorer, ctc_log_probabilities
from espnet2_dq.decode.encoded import Encoded
from espnet2_dq.decode.prefix_search import prefix_search


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_sums_over_all_paths(seed):
    log_probs = random_log_probs(5, 4, seed=seed)
    sums = all_sequences(log_probs)
    sequences = sorted(sums)
    found = ctc_log_probabilities(log_probs.numpy(), sequences)
    assert np.exp(found) == pytest.approx([sums[ids] for ids in sequences], rel=1e-8)


def every_sequence(vocab, longest):
    for length in range(longest + 1):
        yield from itertools.product(range(1, vocab), repeat=length)


def test_all_sequences_of_a_lattice_are_ctc_loss_in_any_order():
    log_probs = random_log_probs(4, 3, seed=5)
    sequences = list(every_sequence(3, 5))  # some are too long
    expected = ctc_log_probs(log_probs, sequences)
    assert -math.inf in expected
    shuffled = np.random.default_rng(0).permutation(len(sequences)).tolist()
    found = ctc_log_probabilities(log_probs.numpy(), [sequences[i] for i in shuffled])
    assert found == pytest.approx([expected[i] for i in shuffled], abs=1e-9)


def likely_and_hopeless(number, head):
    """Sequences like the searches' and damaged ones, which need lower thresholds."""
    log_probs = recorded_example(number).log_probs[head]
    rng = np.random.default_rng(number)
    likely = [ids for ids, _ in prefix_search(log_probs)]
    size = len(recorded_token_lists()[head])
    hopeless = [
        tuple(int(rng.integers(1, size)) if rng.random() < 0.5 else i for i in ids)
        for ids in likely[:10]
    ]
    return log_probs, sorted([*likely, *hopeless])


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("head", ["grapheme", "syllable"])
def test_likely_and_hopeless_sequences_are_ctc_loss(number, head):
    log_probs, sequences = likely_and_hopeless(number, head)
    expected = ctc_log_probs(torch.from_numpy(log_probs), sequences)
    assert min(expected) < max(expected) - 5
    found = ctc_log_probabilities(log_probs, sequences)
    assert found == pytest.approx(expected, abs=1e-7)


def test_long_utterances_do_not_underflow():
    log_probs = random_log_probs(1500, 30, seed=1, scale=0.3)
    sequences = [tuple(range(1, 30)) * 5, tuple(range(1, 30)) * 5 + (3,), (), (4,)]
    expected = ctc_log_probs(log_probs, sequences)
    assert max(expected) < -740  # exp of it is 0
    found = ctc_log_probabilities(log_probs.numpy(), sequences)
    assert found == pytest.approx(expected, rel=1e-10)


def test_columns_with_zero_probability():
    log_probs = np.log([[0.5, 0.5, 1e-300], [0.5, 0.5, 1e-300]])
    log_probs[:, 2] = -np.inf
    found = ctc_log_probabilities(log_probs, [(1,), (2,), (1, 2), ()])
    assert found.tolist()[1:3] == [-math.inf, -math.inf]
    assert np.exp(found[[0, 3]]) == pytest.approx([0.75, 0.25])
    assert ctc_log_probabilities(np.full((2, 3), -np.inf), [(1,)]) == [-math.inf]


def test_limits_change_only_what_is_below_them():
    log_probs, sequences = likely_and_hopeless(1, "grapheme")
    exact = ctc_log_probabilities(log_probs, sequences)
    limit = float(np.median(exact))
    lengths = np.array([len(ids) for ids in sequences])
    width = log_probs.shape[1]
    flat = np.concatenate([[*ids, width + 1] for ids in sequences])
    scorer = SequenceScorer(log_probs, Encoded(flat, lengths))
    found = scorer.scores(limits=np.full(len(sequences), limit))
    above = exact >= limit
    assert 0 < above.sum() < len(above)
    assert found[above] == pytest.approx(exact[above], abs=1e-7)
    assert all(found[~above] < limit)
    assert np.isneginf(found).any()  # it did save work


def test_no_sequences():
    assert len(ctc_log_probabilities(np.zeros((3, 2)), [])) == 0


def test_extra_token():
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    encoded = Encoded(np.array([2, 3]), np.array([1]))
    scorer = SequenceScorer(log_probs, encoded, np.log([0.1, 0.2]))
    expected = 0.1 * 0.6 + 0.6 * 0.2 + 0.1 * 0.2
    assert np.exp(scorer.scores()) == pytest.approx([expected])
