import numpy as np
import pytest

from espnet2_dq.decode.greedy import greedy_decode, greedy_path


def frames(*best, vocab=5, certainty=0.8):
    """Log-probabilities whose best tokens are given."""
    probs = np.full((len(best), vocab), (1 - certainty) / (vocab - 1))
    probs[np.arange(len(best)), list(best)] = certainty
    return np.log(probs)


def test_repeats_merge_and_a_blank_between_keeps_both():
    hypothesis = greedy_path(frames(0, 3, 3, 0, 3, 2, 0))
    assert hypothesis.ids == (3, 3, 2)
    assert [(s.start, s.end) for s in hypothesis.spans] == [(1, 3), (4, 5), (5, 6)]


def test_score_is_the_best_path_and_token_score_its_surest_frame():
    log_probs = np.log(np.array([[0.1, 0.9], [0.4, 0.6], [0.7, 0.3]]))
    hypothesis = greedy_path(log_probs)
    assert hypothesis.score == pytest.approx(np.log(0.9 * 0.6 * 0.7))
    assert hypothesis.spans[0].score == pytest.approx(np.log(0.9))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_all_blank_is_empty(count):
    hypothesis = greedy_path(frames(*[0] * count))
    assert hypothesis.ids == ()
    assert hypothesis.spans == ()


def test_token_in_the_first_and_last_frame():
    hypothesis = greedy_path(frames(1, 0, 4))
    assert [(s.start, s.end) for s in hypothesis.spans] == [(0, 1), (2, 3)]


def test_what_padding_holds_does_not_matter():
    batch = np.stack([frames(1, 0, 2, 2), frames(3, 3, 4, 4)])
    batch[1, 2:] = np.nan
    batch[0, 3:] = 5.0
    got = greedy_decode(batch, [3, 2])
    assert got == [greedy_path(frames(1, 0, 2)), greedy_path(frames(3, 3))]
    assert got[1].ids == (3,)


def test_number_of_lengths_must_fit():
    with pytest.raises(ValueError, match="zip"):
        greedy_decode(np.zeros((2, 3, 4)), [3])
