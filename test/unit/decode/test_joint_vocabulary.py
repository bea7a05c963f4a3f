import itertools
import math

import numpy as np
import pytest
from joint_lattices import LISTS, random_heads
from korean_posteriors import example, token_lists

from espnet2_dq.decode.joint_gains import syllable_gains
from espnet2_dq.decode.joint_vocabulary import CandidateOptions, JointVocabulary
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import spell, syllables

HALF = {"grapheme": 0.5, "syllable": 0.5}
ALL = CandidateOptions(count=None, margin=math.inf)


def select(lists, heads, options, weights=HALF):
    vocabulary = JointVocabulary(lists, options)
    return vocabulary.select(vocabulary.prepare(heads), weights)


def test_all_candidates_have_their_spellings_and_ids():
    found = select(LISTS, random_heads(6), ALL)
    assert found.tokens == ["가", "나", "각", "낙"]
    assert found.ids.tolist() == [2, 3, 4, 6]  # the first id after the list
    graphemes = found.spellings["grapheme"]
    index = {token: i for i, token in enumerate(LISTS["grapheme"])}
    assert graphemes.tokens == [tuple(index[j] for j in spell(s)) for s in "가나각낙"]
    assert graphemes.open.tolist() == [True, True, False, False]
    assert list(graphemes.starters) == [2, 3]
    assert found.spellings["syllable"].tokens == [(2,), (3,), (4,), (6,)]


def test_closed_vocabulary_is_the_list():
    vocabulary = JointVocabulary(LISTS, CandidateOptions(open_vocabulary=False))
    assert vocabulary.size == len(LISTS["syllable"])
    options = CandidateOptions(None, math.inf, open_vocabulary=False)
    assert select(LISTS, random_heads(6), options).tokens == ["가", "나", "각"]


def test_without_graphemes_nothing_is_open():
    weights = {"grapheme": 0.0, "syllable": 1.0}
    assert select(LISTS, random_heads(6), ALL, weights).tokens == ["가", "나", "각"]


def test_jamo_of_their_own_and_specials_are_no_candidates():
    extra = ["\u1100", "\u11a8", "ㅋ", "<space>", "<pad>", "<sos/eos>"]
    lists = {
        head: [*t[:-1], *extra[head == "grapheme" and 2 :]] for head, t in LISTS.items()
    }
    lists = {head: list(dict.fromkeys(t)) for head, t in lists.items()}
    heads = {h: np.full((6, len(t)), -1.0) for h, t in lists.items()}
    assert select(lists, heads, ALL).tokens == ["가", "나", "각", "ㅋ", "<space>", "낙"]


@pytest.mark.parametrize("seed", range(4))
def test_everything_said_is_a_candidate(seed):
    lists = token_lists()
    case = example(lists, seed, frames=300, count=30)
    found = select(lists, case.log_probs, CandidateOptions(count=150))
    assert len(found.tokens) <= 300  # one per frame
    assert set(syllables(case.text)) <= set(found.tokens)
    assert len(set(found.ids.tolist())) == len(found.ids)
    assert found.ids.max() < JointVocabulary(lists, CandidateOptions(count=150)).size


def test_sure_posteriors_leave_one_candidate():
    heads = {head: np.full((3, len(t)), -np.inf) for head, t in LISTS.items()}
    for values in heads.values():
        values[:, 0] = 0.0
    assert len(select(LISTS, heads, CandidateOptions()).tokens) == 1


@pytest.mark.parametrize("seed", range(3))
def test_gains_are_the_best_of_all_paths(seed):
    rng = np.random.default_rng(seed)
    frames, sizes = 5, (2, 2, 1)
    parts = [-rng.exponential(3.0, (frames, size)) for size in sizes]
    blank = -rng.exponential(1.0, frames)
    got = syllable_gains(*parts, blank, -np.inf)
    for initial, medial, final in itertools.product(range(2), range(2), range(2)):
        columns = [parts[0][:, initial], parts[1][:, medial]]
        if final:
            columns.append(parts[2][:, 0])
        expected = best_path(columns, blank)
        assert got[initial, medial, final] == pytest.approx(expected)


def best_path(columns, blank):
    """Over all spans and label sequences that emit the tokens once, in order."""
    frames, best = len(blank), -math.inf
    for start in range(frames):
        for end in range(start + 1, frames + 1):
            for path in itertools.product(range(len(columns) + 1), repeat=end - start):
                emitted = [k for k, _ in itertools.groupby(path) if k]
                if path[0] and path[-1] and emitted == list(range(1, len(columns) + 1)):
                    score = sum(
                        columns[k - 1][start + t] if k else blank[start + t]
                        for t, k in enumerate(path)
                    )
                    best = max(best, score)
    return best


@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        ({"syllable": LISTS["syllable"]}, {}, "no token list of the grapheme head"),
        ({**LISTS, "syllable": ["가"]}, {}, "first token is '가'"),
        (
            {**LISTS, "syllable": ["<blank>", "가"]},
            {"unk_penalty": None},
            "has no <unk>",
        ),
        (
            {**LISTS, "syllable": ["<blank>", "a"]},
            {"open_vocabulary": False},
            "spells no token",
        ),
    ],
)
def test_lists_that_do_not_fit(lists, options, message):
    with pytest.raises(ConfigError, match=message):
        JointVocabulary(lists, CandidateOptions(**options))
