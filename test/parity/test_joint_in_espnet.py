"""The joint scorer in ESPnet's own searches, as any other partial scorer."""

import numpy as np
import pytest
import torch
from joint_lattices import LISTS
from korean_posteriors import example, token_lists

from espnet2_dq.decode.joint_scorer import JointPrefixScorer
from espnet2_dq.decode.joint_search import JointOptions, JointSearch
from espnet2_dq.decode.joint_vocabulary import CandidateOptions, JointVocabulary
from espnet2_dq.decode.lattice_scorer import LOG_ZERO
from espnet2_dq.errors import ConfigError
from espnet2_dq.espnet_compat import (
    BatchBeamSearch,
    BatchScorerInterface,
    BeamSearch,
    CTCPrefixScorer,
)

SEARCHES = pytest.mark.parametrize(
    "search_class", [BeamSearch, BatchBeamSearch], ids=["single", "batch"]
)


@pytest.fixture(scope="module")
def lists():
    return token_lists(syllable_size=120)


@pytest.fixture(scope="module")
def case(lists):
    return example(lists, 5, frames=90, count=7, doubtful=0.6)


def scorer_of(lists, case, **options):
    """The encoder output does not matter: posteriors are those of the case."""
    vocabulary = JointVocabulary(lists, CandidateOptions(**options))
    heads = {h: torch.from_numpy(x).double()[None] for h, x in case.log_probs.items()}
    return JointPrefixScorer(lambda x: heads, vocabulary)


def search_of(search_class, scorer, **more):
    vocabulary = scorer.vocabulary
    return search_class(
        scorers={"joint": scorer, **more},
        weights={"joint": 1.0, **dict.fromkeys(more, 0.3)},
        beam_size=10,
        vocab_size=vocabulary.size,
        sos=vocabulary.eos,
        eos=vocabulary.eos,
        pre_beam_score_key="full" if "full" in more else None,
    )


ENCODED = torch.zeros(90, 4, dtype=torch.float64)


@SEARCHES
@pytest.mark.parametrize("opened", [True, False])
def test_plain_espnet_search_finds_what_joint_search_finds(
    search_class, opened, lists, case
):
    scorer = scorer_of(lists, case, open_vocabulary=opened)
    best = search_of(search_class, scorer)(x=ENCODED, maxlenratio=0.0)[0]
    (ours,) = JointSearch(lists, JointOptions(open_vocabulary=opened)).decode(
        case.log_probs
    )
    candidates = scorer.candidates_of(best.yseq.tolist())
    tokens = [scorer.candidates.tokens[i] for i in candidates]
    assert "".join(tokens).replace("<space>", " ") == ours.text
    assert float(best.score) == pytest.approx(ours.score, abs=1e-4)


class Flat(BatchScorerInterface):
    """A full scorer, such as a language model, that prefers small ids."""

    def __init__(self, size):
        self.scores = -0.01 * torch.arange(size, dtype=torch.float64)

    def score(self, y, state, x):
        return self.scores.to(x), None

    def batch_score(self, ys, states, xs):
        return self.scores.expand(len(ys), -1).to(xs), [None] * len(ys)


@SEARCHES
def test_beside_a_full_scorer_and_behind_a_pre_beam(search_class, lists, case):
    scorer = scorer_of(lists, case, open_vocabulary=False)
    search = search_of(search_class, scorer, full=Flat(120))
    assert search.do_pre_beam
    best = search(x=ENCODED, maxlenratio=0.0)[0]
    allowed = {*range(15), scorer.eos}  # what a pre-beam of 1.5 x 10 lets through
    assert set(best.yseq.tolist()) <= allowed


@SEARCHES
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:.*ctc_prefix_score")
def test_beside_espnets_own_ctc_scorer(search_class, lists, case):
    """The syllable head twice: a heavier weight of it, exactly."""
    syllable = torch.from_numpy(case.log_probs["syllable"]).double()

    class Head:
        def log_softmax(self, x):
            return syllable[None].expand(len(x), -1, -1).clone().to(x)

    scorer = scorer_of(lists, case, open_vocabulary=False)
    theirs = CTCPrefixScorer(Head(), scorer.eos)
    best = search_of(search_class, scorer, ctc=theirs)(x=ENCODED, maxlenratio=0.0)[0]
    candidates = scorer.candidates_of(best.yseq.tolist())
    heads = {h: x.log_probs([candidates])[0] for h, x in scorer.lattice.heads.items()}
    expected = 0.5 * heads["grapheme"] + (0.5 + 0.3) * heads["syllable"]
    assert float(best.score) == pytest.approx(expected, rel=1e-4)


def test_increments_sum_to_the_score_of_the_finished_hypothesis(lists, case):
    scorer = scorer_of(lists, case)
    rng = np.random.default_rng(0)
    state, total, y = scorer.init_state(ENCODED), 0.0, [scorer.eos]
    everything = torch.arange(scorer.vocabulary.size)
    for _ in range(6):
        scores, scored = scorer.score_partial(
            torch.tensor(y), everything, state, ENCODED
        )
        batch, batch_scored = scorer.batch_score_partial(None, None, [state], ENCODED)
        torch.testing.assert_close(batch[0], scores)
        assert bool((scores <= 0).all())
        possible = np.flatnonzero((scores > LOG_ZERO).numpy())
        likely = [i for i in possible if i != scorer.eos and scores[i] > -20]
        token = int(rng.choice(likely))
        some = torch.tensor([scorer.eos, token])
        few, few_scored = scorer.score_partial(torch.tensor(y), some, state, ENCODED)
        torch.testing.assert_close(few, scores[some])
        total += float(scores[token])
        y.append(token)
        state = scorer.select_state(few_scored, 1)
        same = scorer.select_state(batch_scored, 0, torch.tensor(token))
        assert (state.row, state.column) == (same.row, same.column)
    end = scorer.score_partial(torch.tensor(y), everything, state, ENCODED)[0][
        scorer.eos
    ]
    candidates = scorer.candidates_of(y)
    heads = [x.log_probs([candidates])[0] for x in scorer.lattice.heads.values()]
    assert total + float(end) == pytest.approx(0.5 * sum(heads), rel=1e-9)


def test_what_is_no_candidate_is_impossible_and_stays_so(lists, case):
    scorer = scorer_of(lists, case)
    scorer.init_state(ENCODED)
    scores, scored = scorer.batch_score_partial(None, None, [None], ENCODED)
    assert scores[0, 0] == LOG_ZERO  # the blank
    state = scorer.select_state(scored, 0, 0)
    after, _ = scorer.batch_score_partial(None, None, [state], ENCODED)
    assert bool((after == LOG_ZERO).all())
    assert scorer.candidates_of([scorer.eos, 0, scorer.eos]) is None


def test_batches_of_one_utterance_only(lists, case):
    scorer = scorer_of(lists, case)
    scorer.batch_init_state(ENCODED[None])
    with pytest.raises(ValueError, match="2 utterances at once"):
        scorer.batch_init_state(ENCODED.expand(2, -1, -1))


def test_misuse():
    vocabulary = JointVocabulary(LISTS, CandidateOptions())
    scorer = JointPrefixScorer(lambda x: {}, vocabulary)
    with pytest.raises(RuntimeError, match="init_state"):
        scorer.batch_score_partial(None, None, [None], ENCODED)
    with pytest.raises(ConfigError, match="weight: 2"):
        JointPrefixScorer(lambda x: {}, vocabulary, weight=2)


def test_states_of_different_steps_are_refused(lists, case):
    scorer = scorer_of(lists, case)
    scorer.init_state(ENCODED)
    token = int(scorer.candidates.ids[0])
    steps = [scorer.batch_score_partial(None, None, [None], ENCODED)[1] for _ in "ab"]
    states = [scorer.select_state(step, 0, token) for step in steps]
    with pytest.raises(ValueError, match="different steps"):
        scorer.batch_score_partial(None, None, states, ENCODED)
