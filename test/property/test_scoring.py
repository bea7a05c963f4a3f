"""What must hold for any transcripts."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.score.alignment import align
from espnet2_dq.score.error_rates import count_errors
from espnet2_dq.score.sclite import sclite_cost
from espnet2_dq.score.trn import escape, read_trn, unescape, write_trn

TOKENS = st.lists(st.sampled_from(["a", "b", "tʃ", "ɑ̃", "한"]), max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def edit_distance(reference, hypothesis, sub=1, deletion=1, insertion=1):
    """The textbook table."""
    row = [j * insertion for j in range(len(hypothesis) + 1)]
    for i, ref in enumerate(reference, 1):
        previous, row = row, [i * deletion]
        for j, hyp in enumerate(hypothesis, 1):
            row.append(
                min(
                    previous[j] + deletion,
                    row[j - 1] + insertion,
                    previous[j - 1] + (0 if ref == hyp else sub),
                )
            )
    return row[-1]


@given(TOKENS, TOKENS)
def test_counts_are_minimal_and_consistent(reference, hypothesis):
    counts = count_errors(reference, hypothesis)
    assert counts.errors == edit_distance(reference, hypothesis)
    assert counts.reference == len(reference)
    assert counts.insertions - counts.deletions == len(hypothesis) - len(reference)


@given(TOKENS, TOKENS)
def test_swapping_the_sides_swaps_deletions_and_insertions(reference, hypothesis):
    there, back = (
        count_errors(reference, hypothesis),
        count_errors(hypothesis, reference),
    )
    assert there.errors == back.errors
    assert there.insertions - there.deletions == back.deletions - back.insertions


@given(TOKENS, TOKENS, TOKENS)
def test_triangle(a, b, c):
    direct = count_errors(a, c).errors
    assert direct <= count_errors(a, b).errors + count_errors(b, c).errors
    assert (count_errors(a, b).errors == 0) == (a == b)


@given(TOKENS, TOKENS)
def test_alignment_holds_both_sides_and_the_counted_errors(reference, hypothesis):
    pairs = align(reference, hypothesis)
    assert [p.reference for p in pairs if p.reference is not None] == reference
    assert [p.hypothesis for p in pairs if p.hypothesis is not None] == hypothesis
    counts = count_errors(reference, hypothesis)
    operations = [p.operation for p in pairs]
    assert operations.count("replace") == counts.substitutions
    assert operations.count("delete") == counts.deletions
    assert operations.count("insert") == counts.insertions
    assert all((p.reference == p.hypothesis) == (p.operation == "equal") for p in pairs)


@given(TOKENS, TOKENS)
def test_weighted_cost_is_sclites(reference, hypothesis):
    expected = edit_distance(reference, hypothesis, 4, 3, 3)
    assert sclite_cost({"u": reference}, {"u": hypothesis}) == expected


@given(TEXT)
def test_escaped_text_holds_nothing_that_sclite_interprets(text):
    escaped = escape(text)
    assert unescape(escaped) == text
    assert not set(escaped) & set("@{}()/;" + string.whitespace)


@settings(max_examples=50)
@given(st.dictionaries(TEXT, st.tuples(NAME, st.lists(TEXT, max_size=4)), max_size=4))
def test_trn_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("trn") / "x.trn"
    write_trn(
        path,
        {utt: tokens for utt, (_, tokens) in rows.items()},
        {utt: speaker for utt, (speaker, _) in rows.items()},
    )
    got = {utt: (t.speaker, list(t.tokens)) for utt, t in read_trn(path).items()}
    assert got == rows
