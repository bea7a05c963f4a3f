"""Scores of any Korean texts, against slow and obvious versions."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from espnet2_dq.score.korean import METRICS, count_metric
from espnet2_dq.score.spacing import (
    align_backwards,
    ksponspeech_spacing,
    kwav2vec_spacing,
)
from espnet2_dq.score.unseen_syllables import count_unseen
from espnet2_dq.text.hangul import normalise

texts = st.text(st.sampled_from("가나다  "), max_size=10).map(normalise)


def slow_alignment(reference, hypothesis, same):
    """From the end: the diagonal if as good, then deletion, then insertion."""

    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(ways(i, j))

    def ways(i, j):
        changed = not same(reference[i - 1], hypothesis[j - 1])
        return (
            distance(i - 1, j - 1) + changed,
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
        )

    def walk(i, j):
        if i == 0 or j == 0:
            return [(k, None) for k in range(i)] + [(None, k) for k in range(j)]
        best = ways(i, j).index(min(ways(i, j)))
        if best == 0:
            return [*walk(i - 1, j - 1), (i - 1, j - 1)]
        if best == 1:
            return [*walk(i - 1, j), (i - 1, None)]
        return [*walk(i, j - 1), (None, j - 1)]

    return distance(len(reference), len(hypothesis)), walk(
        len(reference), len(hypothesis)
    )


def equal(a, b):
    return a == b


def marked(text):
    """Characters, the first of each word with a mark."""
    return ["_" * (i == 0) + c for word in text.split() for i, c in enumerate(word)]


def respace_as_ksponspeech(reference, hypothesis):
    theirs, ours = marked(reference), marked(hypothesis)

    def bare(token):
        return token.replace("_", "")

    _, pairs = slow_alignment(theirs, ours, lambda a, b: bare(a) == bare(b))
    written = [
        theirs[i] if i is not None and bare(theirs[i]) == bare(ours[j]) else ours[j]
        for i, j in pairs
        if j is not None
    ]
    return "".join(written).replace("_", " ").split()


def respace_as_kwav2vec(reference, hypothesis):
    """Spaces compare as nothing, so an unpaired one takes the reference's nothing."""
    _, pairs = slow_alignment(reference, hypothesis, equal)
    written = ""
    for i, j in pairs:
        expected = "" if i is None else reference[i]
        found = "" if j is None else hypothesis[j]
        if expected.replace(" ", "") == found.replace(" ", ""):
            found = expected
        written += found
    return written.split()


@given(texts, texts)
def test_alignment_is_the_slow_one(reference, hypothesis):
    _, pairs = slow_alignment(reference, hypothesis, equal)
    assert align_backwards(reference, hypothesis) == pairs


@given(texts, texts)
def test_spacings_are_the_slow_ones(reference, hypothesis):
    ours = kwav2vec_spacing(reference, hypothesis).split()
    assert ours == respace_as_kwav2vec(reference, hypothesis)
    ours = ksponspeech_spacing(reference, hypothesis).split()
    assert ours == respace_as_ksponspeech(reference, hypothesis)


@given(texts, texts)
def test_spacing_changes_spaces_only(reference, hypothesis):
    letters = hypothesis.replace(" ", "")
    for respace in (kwav2vec_spacing, ksponspeech_spacing):
        text = respace(reference, hypothesis)
        assert text.replace(" ", "") == letters
        assert normalise(text) == text


@given(texts)
def test_right_letters_with_any_spacing_are_right_words(reference):
    for hypothesis in (
        reference.replace(" ", ""),
        " ".join(reference.replace(" ", "")),
    ):
        for respace in (kwav2vec_spacing, ksponspeech_spacing):
            assert respace(reference, hypothesis) == reference


@given(texts, texts)
def test_counts_are_slow_distances(reference, hypothesis):
    splits = {
        "cer": list,
        "cer_no_space": lambda text: list(text.replace(" ", "")),
        "wer": str.split,
    }
    for metric, split in splits.items():
        distance, _ = slow_alignment(split(reference), split(hypothesis), equal)
        counts = count_metric(metric, {"u": reference}, {"u": hypothesis})["u"]
        assert (counts.errors, counts.reference) == (distance, len(split(reference)))
    slow = {
        "swer_kwav2vec": respace_as_kwav2vec,
        "swer_ksponspeech": respace_as_ksponspeech,
    }
    assert {*splits, *slow} == set(METRICS)
    for metric, respace in slow.items():
        words = respace(reference, hypothesis)
        distance, _ = slow_alignment(reference.split(), words, equal)
        counts = count_metric(metric, {"u": reference}, {"u": hypothesis})["u"]
        assert (counts.errors, counts.reference) == (distance, len(reference.split()))


@given(texts, texts)
def test_unseen_counts_are_bounded(reference, hypothesis):
    counts = count_unseen(reference, hypothesis, frozenset("가"))
    assert counts.recovered <= counts.reference
    assert counts.recovered <= counts.hypothesis
    assert set(counts.reference) <= set("나다")
    whole = count_unseen(reference, reference, frozenset("가"))
    assert whole.recovered == whole.reference
