import itertools
import math

import numpy as np
import pytest
import torch
from joint_lattices import (
    LISTS,
    STARTERS,
    grapheme_prefix,
    random_heads,
    sequences_of,
    spelled,
)
from lattices import prefix_probability, random_log_probs

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.joint_lattice import HeadLattice, JointLattice, Spellings
from espnet2_dq.errors import DataError
from espnet2_dq.text.hangul import spell

SYLLABLES = ["가", "나", "각", "낙"]
OPEN = np.array([True, True, False, False])


def grapheme_lattice(log_probs):
    index = {token: i for i, token in enumerate(LISTS["grapheme"])}
    tokens = [tuple(index[j] for j in spell(s)) for s in SYLLABLES]
    return HeadLattice(log_probs, Spellings(tokens, OPEN, STARTERS))


def single_lattice(log_probs, tokens):
    spellings = Spellings([(t,) for t in tokens], np.zeros(len(tokens), np.bool_))
    return HeadLattice(log_probs, spellings)


def walk(lattice, prefix):
    """Scores of what may follow a prefix of candidates."""
    forward = lattice.start()
    for candidate in prefix:
        scores = lattice.continued(forward)[:, candidate]
        forward = lattice.extend(forward, np.zeros(1, np.int64), [[candidate]], scores)
    return forward


def prefixes(longest, count):
    for length in range(longest + 1):
        yield from itertools.product(range(count), repeat=length)


def log(p):
    return math.log(p) if p > 0 else -math.inf


@pytest.mark.parametrize(("frames", "seed"), [(1, 0), (2, 1), (4, 2), (5, 3), (6, 4)])
def test_grapheme_prefixes_are_sums_over_all_paths(frames, seed):
    log_probs = random_heads(frames, seed=seed)["grapheme"]
    sequences = sequences_of(log_probs, LISTS["grapheme"])
    lattice = grapheme_lattice(log_probs)
    for prefix in prefixes(2, len(SYLLABLES)):
        syllables = [SYLLABLES[i] for i in prefix]
        forward = walk(lattice, prefix)
        ended = log(sequences.get(spelled(syllables), 0.0))
        assert lattice.ended(forward)[0] == pytest.approx(ended, abs=1e-9)
        expected = [log(grapheme_prefix(sequences, [*syllables, s])) for s in SYLLABLES]
        assert lattice.continued(forward)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_single_tokens_are_plain_ctc_prefixes(seed):
    from lattices import all_sequences

    log_probs = random_log_probs(5, 4, seed=seed)
    sequences = all_sequences(log_probs)
    lattice = single_lattice(log_probs.numpy(), [1, 2, 3])
    for prefix in prefixes(3, 3):
        forward = walk(lattice, prefix)
        ids = tuple(i + 1 for i in prefix)
        assert lattice.ended(forward)[0] == pytest.approx(log(sequences.get(ids, 0)))
        expected = [log(prefix_probability(sequences, (*ids, k))) for k in (1, 2, 3)]
        assert lattice.continued(forward)[0] == pytest.approx(expected)


def test_continuations_and_the_end_are_disjoint_parts_of_the_prefix():
    log_probs = random_heads(5, seed=5)["grapheme"]
    lattice = grapheme_lattice(log_probs)
    for prefix in [(0,), (2,), (1, 0), (3, 3)]:
        forward = walk(lattice, prefix)
        parts = np.append(lattice.continued(forward)[0], lattice.ended(forward)[0])
        assert np.logaddexp.reduce(parts) <= forward.score[0] + 1e-12


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_end_is_minus_ctc_loss_even_where_nothing_fits(scale):
    """Log-probabilities down to -10,000: far below the range of a float64."""
    frames, vocab = 300, 12
    log_probs = random_log_probs(frames, vocab, seed=1, scale=scale, blank_bonus=8.0)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 11, n).tolist() for n in (0, 1, 2, 40, 120, 200)]
    sequences.append([3] * 100)
    lattice = single_lattice(log_probs.numpy(), range(1, vocab))
    got = lattice.log_probs(sequences)
    expected = ctc_log_probs(log_probs, [[i + 1 for i in ids] for ids in sequences])
    assert got == pytest.approx(np.array(expected), rel=1e-9)
    assert min(expected) < -1000


def test_every_prefix_of_a_long_utterance_equals_the_log_domain_lattice():
    from espnet2_dq.decode.prefix_lattice import PrefixLattice

    log_probs = random_log_probs(200, 9, seed=3, scale=8.0, blank_bonus=6.0)
    slow, fast = (
        PrefixLattice(log_probs),
        single_lattice(log_probs.numpy(), range(1, 9)),
    )
    rng = np.random.default_rng(1)
    a, b = slow.start(), fast.start()
    for candidate in rng.integers(0, 8, 60).tolist():
        extensions = slow.score(a)
        continued = fast.continued(b)
        assert continued == pytest.approx(extensions.continued.numpy(), rel=1e-9)
        assert fast.ended(b) == pytest.approx(extensions.ended.numpy(), rel=1e-9)
        one = torch.zeros(1, dtype=torch.long)
        a = slow.extend(extensions, one, one + candidate)
        b = fast.extend(b, one.numpy(), [[candidate]], continued[:, candidate])


def test_too_few_frames_are_impossible():
    lattice = grapheme_lattice(random_heads(5)["grapheme"])
    assert lattice.log_probs([[2, 2], [0, 0]])[0] == -math.inf
    lattice = single_lattice(random_log_probs(2, 3).numpy(), [1, 2])
    got = lattice.log_probs([[0, 0], [0, 1], [0, 1, 0]])
    assert np.isfinite(got).tolist() == [False, True, False]


def test_heads_of_weight_zero_do_not_count():
    heads = random_heads(4)
    lattices = {
        "grapheme": grapheme_lattice(heads["grapheme"]),
        "syllable": single_lattice(heads["syllable"], [2, 3, 4, 1]),  # 낙 is <unk>
    }
    for head in lattices:
        weights = {h: float(h == head) for h in lattices}
        joint = JointLattice(lattices, weights)
        alone = lattices[head]
        scores = joint.score(joint.start())
        assert scores.continued == pytest.approx(alone.continued(alone.start()))
        assert list(scores.heads) == [head]


@pytest.mark.parametrize("weight", [0.3, 0.5])
def test_mixture_of_an_impossible_head(weight):
    heads = random_heads(4)
    lattices = {
        "grapheme": grapheme_lattice(heads["grapheme"]),
        "syllable": single_lattice(heads["syllable"], [2, 3, 4, 1]),
    }
    weights = {"grapheme": 1 - weight, "syllable": weight}
    joint = JointLattice(lattices, weights, "mixture")
    found = joint.score(joint.start())
    expected = math.log(1 - weight) + found.heads["grapheme"][0, 3]
    assert found.heads["syllable"][0, 3] == -math.inf
    assert found.continued[0, 3] == pytest.approx(expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_posteriors_that_are_none(bad):
    log_probs = random_log_probs(3, 3).numpy()
    log_probs[1, 1] = bad
    with pytest.raises(DataError, match="NaN or infinity"):
        single_lattice(log_probs, [1, 2])
    with pytest.raises(DataError, match="no frames"):
        single_lattice(log_probs[:0], [1, 2])
