import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.error_rates import (
    ErrorCounts,
    characters_to_words,
    count_corpus,
    count_errors,
    group_by_language,
    pool,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", (0, 0, 0, 3)),
        ("a b c", "a x c", (1, 0, 0, 3)),
        ("a b c", "a c", (0, 1, 0, 3)),
        ("a b c", "a b c d", (0, 0, 1, 3)),
        ("a b c", "", (0, 3, 0, 3)),
        ("", "a b", (0, 0, 2, 0)),
        ("", "", (0, 0, 0, 0)),
        ("k i t t e n", "s i t t i n g", (2, 0, 1, 6)),
        ("tʃ a", "t ʃ a", (1, 0, 1, 2)),
        ("97", "a", (1, 0, 0, 1)),
    ],
)
def test_hand_counted(reference, hypothesis, expected):
    got = count_errors(reference.split(), hypothesis.split())
    assert got == ErrorCounts(*expected)


def test_rate_is_over_the_corpus_and_not_a_mean_of_rates():
    counts = count_corpus(
        {"u1": ["a"], "u2": ["a"] * 9}, {"u1": ["b"], "u2": ["a"] * 9}
    )
    assert pool(counts).rate == pytest.approx(0.1)


def test_rate_may_exceed_one():
    assert count_errors(["a"], ["b", "c", "d"]).rate == 3.0


def test_empty_reference_counts_its_insertions_but_has_no_rate_of_its_own():
    counts = count_corpus({"u1": [], "u2": ["a", "b"]}, {"u1": ["x"], "u2": ["a", "b"]})
    assert pool(counts).rate == pytest.approx(0.5)
    with pytest.raises(DataError, match="no reference tokens"):
        _ = counts["u1"].rate


def test_missing_and_extra_hypotheses_are_named():
    with pytest.raises(DataError) as error:
        count_corpus({"u1": [], "u2": [], "u3": []}, {"u2": [], "u9": []})
    assert "2 of 3 utterances have no hypothesis: u1 u3" in str(error.value)
    assert "1 of 2 utterances have no reference: u9" in str(error.value)


def test_long_lists_of_missing_utterances_are_cut():
    references = {f"u{i:03d}": ["a"] for i in range(50)}
    with pytest.raises(DataError, match="u009 and 40 more"):
        count_corpus(references, {})


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="no references"):
        count_corpus({}, {})


def test_groups_are_sorted_and_complete():
    counts = count_corpus({u: ["a"] for u in "cab"}, {u: [] for u in "abc"})
    groups = group_by_language(counts, {"a": "fr", "b": "es", "c": "fr", "z": "it"})
    assert {lang: list(utts) for lang, utts in groups.items()} == {
        "es": ["b"],
        "fr": ["a", "c"],
    }
    with pytest.raises(DataError, match="no language for b"):
        group_by_language(counts, {"a": "fr", "c": "fr"})


def test_words_are_joined_at_spaces():
    tokens = ["<space>", "h", "i", "<space>", "<space>", "<unk>", "u", "<space>"]
    assert characters_to_words(tokens) == ["hi", "<unk>u"]
    assert characters_to_words([]) == []
    assert characters_to_words(["<space>"]) == []
