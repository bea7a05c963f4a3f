import math

import numpy as np
import pytest
import torch
from korean_posteriors import recorded_example, recorded_token_lists

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.decode.rescore import RescoreOptions, rescore
from espnet2_dq.decode.spelling import spellings, wildcard_column
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import graphemes, syllables

LISTS = recorded_token_lists()
SPELLINGS = spellings(LISTS)


def brute_force(text, log_probs, weight, combination, penalty=5.0):
    """Both heads by torch's ctc_loss."""
    scores = {}
    for head, split in (("grapheme", graphemes), ("syllable", syllables)):
        index = {token: i for i, token in enumerate(LISTS[head])}
        ids = [index.get(token, len(index)) for token in split(text)]
        extra = np.full(len(log_probs[head]), -np.inf)
        if head == "syllable":
            extra = wildcard_column(log_probs[head], 1, penalty)
        wide = np.column_stack([log_probs[head], extra])
        scores[head] = ctc_log_probs(torch.from_numpy(wide), [ids])[0]
    w = {"grapheme": 1 - weight, "syllable": weight}
    if combination == "log_linear":
        return sum(w[h] * s for h, s in scores.items() if w[h] > 0)
    total = sum(w[h] * math.exp(s) for h, s in scores.items())
    return math.log(total) if total > 0 else -math.inf


def text_lists(number, beam=20):
    decoder = KoreanDecoder(LISTS, KoreanDecodeOptions("merge", beam_size=beam))
    log_probs = recorded_example(number).log_probs
    return decoder.lists(log_probs), log_probs


@pytest.mark.parametrize("combination", ["log_linear", "mixture"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("number", [0, 2])
def test_scores_are_exact(number, weight, combination):
    lists, log_probs = text_lists(number)
    found = rescore(lists, log_probs, SPELLINGS, RescoreOptions(weight, combination))
    texts = {text for texts in lists.values() for text, _ in texts}
    assert {h.text for h in found} == texts
    for h in found:
        expected = brute_force(h.text, log_probs, weight, combination)
        assert h.score == pytest.approx(expected, abs=1e-6)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("combination", ["log_linear", "mixture"])
@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("nbest", [1, 5])
@pytest.mark.parametrize("penalty", [0.0, 5.0])
@pytest.mark.parametrize("number", range(5))
def test_the_best_are_the_best_of_all(number, penalty, nbest, weight, combination):
    lists, log_probs = text_lists(number)
    options = RescoreOptions(weight, combination, penalty)
    every = rescore(lists, log_probs, SPELLINGS, options)
    assert len(every) > nbest
    best = rescore(lists, log_probs, SPELLINGS, options, nbest=nbest)
    assert [h.score for h in best] == pytest.approx([h.score for h in every[:nbest]])
    for h in best:
        same = next(other for other in every if other.text == h.text)
        assert dict(h.scores) == pytest.approx(dict(same.scores))


def posteriors(frames, tokens):
    """``(T, V)``: per frame, probabilities of some tokens; the rest is spread."""
    probs = np.full((len(frames), len(tokens)), 1e-6)
    for row, frame in zip(probs, frames, strict=True):
        for token, p in frame.items():
            row[tokens.index(token)] = p
    return np.log(probs / probs.sum(axis=1, keepdims=True))


OOV_LISTS = {
    "grapheme": [
        "<blank>",
        "<unk>",
        "<pad>",
        "<space>",
        *graphemes("뷁북ㅜ"),
        "<sos/eos>",
    ],
    "syllable": ["<blank>", "<unk>", "<pad>", "<space>", "북", "벽", "<sos/eos>"],
}
OOV_LISTS["grapheme"] = list(dict.fromkeys(OOV_LISTS["grapheme"]))


def oov_utterance(doubt=0.4):
    """The graphemes say "뷁"; the syllable head has nothing better than "북"."""
    blank = {"<blank>": 1.0}
    heard = [{jamo: 0.95} for jamo in graphemes("뷁")]
    syllable = [blank, {"북": 1 - doubt, "<blank>": doubt}, blank, blank, blank]
    return {
        "grapheme": posteriors([blank, *heard, blank], OOV_LISTS["grapheme"]),
        "syllable": posteriors(syllable, OOV_LISTS["syllable"]),
    }


@pytest.mark.parametrize("combination", ["log_linear", "mixture"])
def test_a_syllable_outside_the_list_wins_through_the_graphemes(combination):
    options = KoreanDecodeOptions("rescore", beam_size=5, combination=combination)
    best = KoreanDecoder(OOV_LISTS, options).decode(oov_utterance())[0]
    assert best.text == "뷁"
    assert best.scores["grapheme"] > -1
    assert -8 < best.scores["syllable"] < -4  # any token, at the penalty


def test_the_penalty_counts():
    scores = []
    for penalty in (1.0, 6.0):
        options = KoreanDecodeOptions("rescore", beam_size=5, unk_penalty=penalty)
        best = KoreanDecoder(OOV_LISTS, options).decode(oov_utterance())[0]
        scores.append(best.scores["syllable"])
    assert scores[0] - scores[1] == pytest.approx(5.0)


def test_what_the_grapheme_head_cannot_spell_is_impossible_there():
    spelled = spellings({**OOV_LISTS, "syllable": [*OOV_LISTS["syllable"], "강"]})
    log_probs = oov_utterance()
    log_probs["syllable"] = np.column_stack(
        [log_probs["syllable"], log_probs["syllable"][:, 1]]
    )
    (found,) = rescore({"syllable": [("강", 0.0)]}, log_probs, spelled)[1:]
    assert (found.text, found.score) == ("강", -math.inf)
    assert found.scores["grapheme"] == -math.inf
    mixed = rescore(
        {"syllable": [("강", 0.0)]}, log_probs, spelled, RescoreOptions(0.5, "mixture")
    )
    assert math.isfinite(mixed[0].score)  # it counts through the syllable head


def test_one_frame_has_an_answer():
    log_probs = {
        head: posteriors([{tokens[4]: 0.9}], tokens)
        for head, tokens in OOV_LISTS.items()
    }
    decoder = KoreanDecoder(OOV_LISTS, KoreanDecodeOptions("rescore", beam_size=5))
    best = decoder.decode(log_probs)[0]
    assert math.isfinite(best.score)


def test_nothing_possible_gives_the_empty_text():
    log_probs = {
        head: posteriors([{"<blank>": 0.9}], tokens)
        for head, tokens in OOV_LISTS.items()
    }
    lists = {"syllable": [("북벽", -1.0)], "grapheme": []}  # two syllables, one frame
    found = rescore(lists, log_probs, spellings(OOV_LISTS))
    assert [h.text for h in found] == ["", "북벽"]
    assert math.isfinite(found[0].score)


def test_one_head_alone():
    lists, log_probs = text_lists(0)
    spelled = {"syllable": SPELLINGS["syllable"]}
    found = rescore({"syllable": lists["syllable"]}, log_probs, spelled)
    assert found[0].score == found[0].scores["syllable"]


@pytest.mark.parametrize("values", [{"weight": 1.2}, {"combination": "sum"}])
def test_bad_options_are_told(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        RescoreOptions(**values)
