import math

import pytest
import torch
from lattices import all_sequences, random_log_probs

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.beam import BeamDecoder, BeamOptions, build_search
from espnet2_dq.errors import ConfigError

BOTH = pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])


def padded_vocabulary(log_probs, size):
    """Add impossible tokens, so that the beam may be as large as all sequences."""
    more = torch.full((len(log_probs), size - log_probs.size(1)), -math.inf)
    return torch.cat([log_probs, more], dim=1)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_wide_beam_finds_the_n_best_of_all_sequences(batched, seed):
    log_probs = random_log_probs(3, 4, seed=seed, scale=1.0)
    best = sorted(all_sequences(log_probs).items(), key=lambda item: -item[1])[:10]
    options = BeamOptions(beam_size=40, nbest=10, top_k=None, batched=batched)
    got = BeamDecoder(40, options).decode(padded_vocabulary(log_probs, 40))
    assert [h.ids for h in got] == [ids for ids, _ in best]
    expected = [math.log(p) for _, p in best]
    assert [h.score for h in got] == pytest.approx(expected, abs=1e-6)


@BOTH
def test_eos_token_of_the_vocabulary_is_never_spoken(batched):
    log_probs = random_log_probs(5, 6, seed=1)
    log_probs[:, 5] = 0.0
    log_probs = log_probs.log_softmax(-1)
    options = BeamOptions(beam_size=6, nbest=6, top_k=None, batched=batched)
    got = BeamDecoder(6, options, eos=5).decode(log_probs)
    assert got
    assert all(5 not in h.ids for h in got)
    scores = ctc_log_probs(log_probs, [h.ids for h in got])
    assert [h.score for h in got] == pytest.approx(scores)


@BOTH
def test_sure_answers_are_not_cut_short(batched):
    """ESPnet's own end detection stops here after four of twenty tokens."""
    logits = torch.zeros(40, 2)
    logits[0::2, 1] = 40.0
    logits[1::2, 0] = 40.0
    options = BeamOptions(beam_size=2, batched=batched)
    (best,) = BeamDecoder(2, options).decode(logits.log_softmax(-1))
    assert best.ids == (1,) * 20
    assert best.score == pytest.approx(0.0, abs=1e-6)


@BOTH
def test_search_goes_on_for_the_second_best(batched):
    """The best and a poor hypothesis end before the second best is complete."""
    sure = [[0.998, 0.001, 0.001]] * 3
    probs = torch.tensor([[0.01, 0.98, 0.01], [0.7, 0.1, 0.2], *sure])
    options = BeamOptions(beam_size=3, nbest=2, batched=batched)
    found = BeamDecoder(3, options).decode(probs.log())
    assert [h.ids for h in found] == [(1,), (1, 2)]


@BOTH
@pytest.mark.parametrize(("blank", "ids"), [(0.6, ()), (0.2, (2,))])
def test_one_frame(batched, blank, ids):
    log_probs = torch.tensor([[blank, 0.1, 0.9 - blank]]).log()
    options = BeamOptions(beam_size=3, batched=batched)
    (best,) = BeamDecoder(3, options).decode(log_probs)
    assert best.ids == ids
    assert best.score == pytest.approx(math.log(max(blank, 0.9 - blank)))


@BOTH
@pytest.mark.parametrize("frames", [1, 2, 30])
def test_all_blank_is_empty(batched, frames):
    log_probs = random_log_probs(frames, 5, blank_bonus=30.0)
    options = BeamOptions(beam_size=5, batched=batched)
    (best,) = BeamDecoder(5, options).decode(log_probs)
    assert best.ids == ()
    assert best.score == pytest.approx(float(log_probs[:, 0].sum()), abs=1e-5)


@BOTH
def test_as_many_tokens_as_frames(batched):
    log_probs = torch.full((4, 4), -20.0)
    log_probs[torch.arange(4), torch.tensor([1, 2, 1, 3])] = 0.0
    options = BeamOptions(beam_size=4, batched=batched)
    (best,) = BeamDecoder(4, options).decode(log_probs.log_softmax(-1))
    assert best.ids == (1, 2, 1, 3)


@pytest.mark.parametrize("seed", range(3))
def test_single_and_batch_search_agree(seed):
    log_probs = random_log_probs(40, 12, seed=seed, blank_bonus=2.0)
    lists = [
        BeamDecoder(12, BeamOptions(8, 5, None, batched)).decode(log_probs)
        for batched in (True, False)
    ]
    assert [h.ids for h in lists[0]] == [h.ids for h in lists[1]]
    assert [h.score for h in lists[0]] == pytest.approx([h.score for h in lists[1]])


def test_pruning_to_the_likely_tokens_keeps_the_result():
    log_probs = random_log_probs(30, 50, seed=2, scale=4.0)
    full = BeamDecoder(50, BeamOptions(10, 3, None)).decode(log_probs)
    pruned = BeamDecoder(50, BeamOptions(10, 3, 5)).decode(log_probs)
    assert [h.ids for h in pruned] == [h.ids for h in full]


def test_one_decoder_serves_many_utterances():
    decoder = BeamDecoder(6, BeamOptions(6, 2, None))
    inputs = [random_log_probs(n, 6, seed=n) for n in (9, 3, 12)]
    first = [decoder.decode(x) for x in inputs]
    assert [decoder.decode(x) for x in reversed(inputs)] == first[::-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BeamOptions(beam_size=5), r"beam_size: 5.*1 to 4"),
        (BeamOptions(beam_size=0), "beam_size: 0"),
        (BeamOptions(beam_size=3, nbest=4), "nbest: 4"),
        (BeamOptions(beam_size=3, top_k=0), "top_k: 0"),
    ],
)
def test_sizes_that_do_not_fit(options, message):
    with pytest.raises(ConfigError, match=message):
        BeamDecoder(4, options)


def test_build_search_takes_several_scorers():
    from espnet2_dq.decode.beam import Posteriors
    from espnet2_dq.decode.prefix_scorer import PrunedCTCPrefixScorer

    log_probs = random_log_probs(10, 5, seed=4)
    scorers = {n: PrunedCTCPrefixScorer(Posteriors(), 0) for n in ("a", "b")}
    search = build_search(
        scorers,
        {"a": 0.3, "b": 0.7},
        options=BeamOptions(beam_size=5),
        vocab_size=5,
        eos=0,
    )
    best = search(x=log_probs.double(), maxlenratio=1.0)[0]
    (alone,) = BeamDecoder(5, BeamOptions(5)).decode(log_probs)
    assert tuple(i for i in best.yseq.tolist() if i) == alone.ids
    assert float(best.score) == pytest.approx(alone.score, abs=1e-5)
