import math

import pytest
import torch
from lattices import all_sequences, prefix_probability, random_log_probs

from espnet2_dq.decode.prefix_lattice import PrefixLattice


def walk(lattice, prefix):
    """Scores of the extensions of one prefix."""
    extensions = lattice.score(lattice.start())
    for token in prefix:
        column = lattice.column[[token]]
        extensions = lattice.score(
            lattice.extend(extensions, torch.tensor([0]), column)
        )
    return extensions


@pytest.mark.parametrize("prefix", [(), (1,), (2, 2), (1, 3), (3, 1, 3), (2, 2, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_prefix_and_end_equal_brute_force(prefix, seed):
    log_probs = random_log_probs(5, 4, seed=seed)
    sequences = all_sequences(log_probs)
    extensions = walk(PrefixLattice(log_probs), prefix)
    assert float(extensions.ended) == pytest.approx(math.log(sequences[prefix]))
    assert float(extensions.prefixes.score) == pytest.approx(
        math.log(prefix_probability(sequences, prefix)), abs=1e-9
    )
    for column, token in enumerate((1, 2, 3)):
        expected = prefix_probability(sequences, (*prefix, token))
        got = math.exp(float(extensions.continued[0, column]))
        assert got == pytest.approx(expected, rel=1e-9)


def test_many_prefixes_at_once_equal_one_by_one():
    log_probs = random_log_probs(8, 5, seed=3)
    lattice = PrefixLattice(log_probs)
    first = lattice.score(lattice.start())
    second = lattice.score(
        lattice.extend(first, torch.zeros(3).long(), torch.arange(3))
    )
    rows, columns = torch.tensor([2, 0, 2]), torch.tensor([2, 3, 1])
    third = lattice.score(lattice.extend(second, rows, columns))
    for i, prefix in enumerate([(3, 3), (1, 4), (3, 2)]):
        alone = walk(lattice, prefix)
        torch.testing.assert_close(third.continued[i], alone.continued[0])
        torch.testing.assert_close(third.ended[i], alone.ended[0])


def test_pruned_tokens_do_not_change_the_scores_of_the_others():
    log_probs = random_log_probs(20, 30, seed=5, scale=4.0)
    full = PrefixLattice(log_probs)
    pruned = PrefixLattice(log_probs, top_k=1)
    assert 0 < len(pruned.tokens) < len(full.tokens) == 29
    prefix = pruned.tokens[[0, 2, 2, 1]].tolist()
    a, b = walk(full, prefix), walk(pruned, prefix)
    torch.testing.assert_close(a.ended, b.ended)
    kept = full.column[pruned.tokens]
    torch.testing.assert_close(a.continued[:, kept], b.continued)


def test_kept_tokens_are_the_best_of_some_frame_without_blank():
    probs = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.5, 0.1, 0.05, 0.35]])
    lattice = PrefixLattice(probs.log(), top_k=1)
    assert lattice.tokens.tolist() == [1, 3]
    assert lattice.column.tolist() == [-1, 0, -1, 1]
    assert PrefixLattice(probs.log(), top_k=1, never=(3,)).tokens.tolist() == [1]
    assert PrefixLattice(probs.log(), top_k=9).tokens.tolist() == [1, 2, 3]


def test_impossible_tokens_are_not_kept():
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]).log()
    lattice = PrefixLattice(log_probs)
    assert lattice.tokens.tolist() == [1]
    extensions = walk(lattice, (1,))
    assert math.exp(float(extensions.ended)) == pytest.approx(0.75)


def test_extremely_sharp_posteriors_stay_exact():
    """Products of probabilities underflow here, even in float64."""
    logits = torch.zeros(40, 4, dtype=torch.float64)
    logits[torch.arange(40), torch.arange(40) // 10] = 900.0
    log_probs = logits.log_softmax(-1)
    extensions = walk(PrefixLattice(log_probs), (3,))
    expected = torch.nn.functional.ctc_loss(
        log_probs[:, None], torch.tensor([[3]]), [40], [1], reduction="none"
    )
    torch.testing.assert_close(-extensions.ended, expected)
    # after token 3, which is sure in the last frames only, token 1 must come late
    two = walk(PrefixLattice(log_probs), (3, 1))
    expected = torch.nn.functional.ctc_loss(
        log_probs[:, None], torch.tensor([[3, 1]]), [40], [2], reduction="none"
    )
    torch.testing.assert_close(-two.ended, expected)
    assert float(two.ended) < -5000


def test_products_that_underflow_are_taken_again():
    """Token 1 has probability e**-900 in every frame, 0 in float64."""
    logits = torch.zeros(20, 3, dtype=torch.float64)
    logits[:10, 2] = logits[10:, 0] = 900.0
    extensions = walk(PrefixLattice(logits.log_softmax(-1)), (2,))
    # the path may turn to token 1 in frame 1 to 19
    expected = -900 + math.log(19)
    assert float(extensions.continued[0, 0]) == pytest.approx(expected)


def test_long_prefix_beyond_the_frames_is_impossible():
    lattice = PrefixLattice(random_log_probs(2, 3))
    extensions = walk(lattice, (1, 2, 1))
    assert float(extensions.ended) == -math.inf
    assert float(extensions.prefixes.score) == -math.inf


def test_bad_posteriors_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        PrefixLattice(torch.zeros(0, 3))
    bad = random_log_probs(3, 3)
    bad[1, 1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        PrefixLattice(bad)
