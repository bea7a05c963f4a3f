"""Our CTC prefix scorer against ESPnet's own, in ESPnet's own searches."""

import pytest
import torch
from lattices import random_log_probs

from espnet2_dq.decode.beam import Posteriors
from espnet2_dq.decode.lattice_scorer import LOG_ZERO
from espnet2_dq.decode.prefix_scorer import PrunedCTCPrefixScorer
from espnet2_dq.espnet_compat import BatchBeamSearch, BeamSearch, CTCPrefixScorer

SEARCHES = pytest.mark.parametrize(
    "search_class", [BeamSearch, BatchBeamSearch], ids=["single", "batch"]
)
EOS = pytest.mark.parametrize("eos", [0, 11], ids=["blank", "token"])


class WithoutEos(Posteriors):
    """A CTC head has a column for <sos/eos>, which no path may use."""

    def log_softmax(self, log_probs):
        return log_probs.clone()  # ESPnet 202511 writes into what it gets


def search(cls, scorer, eos, beam=6, **more):
    return cls(
        scorers={"ctc": scorer, **more},
        weights={"ctc": 1.0, **dict.fromkeys(more, 0.5)},
        beam_size=beam,
        vocab_size=12,
        sos=eos,
        eos=eos,
        pre_beam_score_key="full" if more else None,
    )


def run(cls, scorer, eos, log_probs, **more):
    found = search(cls, scorer, eos, **more)(x=log_probs, maxlenratio=0.0)
    return [h.yseq.tolist() for h in found], [float(h.score) for h in found]


@SEARCHES
@EOS
@pytest.mark.parametrize("seed", range(3))
def test_same_n_best_and_scores(search_class, eos, seed):
    log_probs = random_log_probs(30, 12, seed=seed, scale=2.0, blank_bonus=2.0).float()
    theirs = run(search_class, CTCPrefixScorer(WithoutEos(), eos), eos, log_probs)
    ours = run(search_class, PrunedCTCPrefixScorer(WithoutEos(), eos), eos, log_probs)
    assert ours[0][:6] == theirs[0][:6]
    assert ours[1][:6] == pytest.approx(theirs[1][:6], rel=1e-4)
    assert len(ours[0]) >= 6


@SEARCHES
def test_best_score_is_the_negative_ctc_loss(search_class):
    log_probs = random_log_probs(25, 12, seed=7, blank_bonus=2.0).float()
    sequences, scores = run(
        search_class, PrunedCTCPrefixScorer(WithoutEos(), 0), 0, log_probs
    )
    for sequence, score in zip(sequences[:4], scores[:4], strict=True):
        ids = [i for i in sequence if i]
        loss = torch.nn.functional.ctc_loss(
            log_probs[:, None], torch.tensor([ids]), [25], [len(ids)], reduction="sum"
        )
        assert score == pytest.approx(-float(loss), rel=1e-4)


def test_every_score_equals_espnets_along_random_prefixes():
    log_probs = random_log_probs(20, 12, seed=9, blank_bonus=1.0).float()
    ours = PrunedCTCPrefixScorer(WithoutEos(), 11)
    theirs = CTCPrefixScorer(WithoutEos(), 11)
    a, b = ours.init_state(log_probs), theirs.init_state(log_probs)
    ids, prefix = torch.arange(12), [11]
    for token in (3, 3, 7, 1, 10, 3):
        y = torch.tensor(prefix)
        mine, next_a = ours.score_partial(y, ids, a, log_probs)
        stock, next_b = theirs.score_partial(y, ids, b, log_probs)
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine[1:], stock[1:], rtol=1e-4, atol=1e-4)
        assert mine[0] == LOG_ZERO
        a, b = ours.select_state(next_a, token), theirs.select_state(next_b, token)
        prefix.append(token)


class Uniform(torch.nn.Module):
    """A "decoder" that likes even tokens."""

    def __new__(cls):
        from espnet2_dq.espnet_compat import BatchScorerInterface

        class Likes(BatchScorerInterface, torch.nn.Module):
            def batch_score(self, ys, states, xs):
                scores = torch.zeros(len(ys), 12)
                scores[:, ::2] = 0.1
                return scores.log_softmax(-1), [None] * len(ys)

            def score(self, y, state, x):
                return self.batch_score(y[None], [state], x)[0][0], None

        return Likes()


@SEARCHES
def test_same_results_beside_a_decoder_with_a_pre_beam(search_class):
    log_probs = random_log_probs(20, 12, seed=11, blank_bonus=2.0).float()
    results = [
        run(search_class, scorer(WithoutEos(), 11), 11, log_probs, decoder=Uniform())
        for scorer in (PrunedCTCPrefixScorer, CTCPrefixScorer)
    ]
    assert results[0][0][:3] == results[1][0][:3]
    assert results[0][1][:3] == pytest.approx(results[1][1][:3], rel=1e-4)


def test_pruned_tokens_score_log_zero():
    log_probs = random_log_probs(6, 12, seed=1, scale=4.0).float()
    scorer = PrunedCTCPrefixScorer(WithoutEos(), 0, top_k=1)
    state = scorer.batch_init_state(log_probs)
    scores, _ = scorer.batch_score_partial(
        torch.zeros(1, 1).long(), None, [state], log_probs
    )
    kept = set(scorer.lattice.tokens.tolist()) | {0}
    assert 1 < len(kept) < 12
    for token in range(12):
        assert (float(scores[0, token]) > LOG_ZERO / 2) == (token in kept)


def test_several_utterances_at_once_are_refused():
    with pytest.raises(ValueError, match="2 utterances at once"):
        PrunedCTCPrefixScorer(WithoutEos(), 0).batch_init_state(torch.zeros(2, 3, 4))


def test_scoring_before_the_start_is_refused():
    with pytest.raises(RuntimeError, match="comes first"):
        PrunedCTCPrefixScorer(WithoutEos(), 0).lattice  # noqa: B018
