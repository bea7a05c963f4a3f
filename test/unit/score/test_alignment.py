import pytest

from espnet2_dq.score.alignment import alignment_lines, format_alignment, text_width


def test_columns_stand_below_each_other():
    lines = format_alignment(
        "u1", "es", ["a", "tʃ", "ɑ̃", "e"], ["a", "t", "ɑ̃", "e", "x"]
    )
    assert lines == [
        "id: u1  language: es",
        "Scores: (#C #S #D #I) 3 1 0 1",
        "REF:  a tʃ ɑ̃ e *",
        "HYP:  a t  ɑ̃ e x",
        "Eval:   S      I",
        "",
    ]


def test_deletion_and_nothing_at_all():
    assert format_alignment("u", "es", ["a", "bb"], ["bb"])[2:5] == [
        "REF:  a bb",
        "HYP:  * bb",
        "Eval: D",
    ]
    assert format_alignment("u", "es", [], [])[1:5] == [
        "Scores: (#C #S #D #I) 0 0 0 0",
        "REF:",
        "HYP:",
        "Eval:",
    ]


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("ɑ̃ː", 2), ("한글", 4), ("t\u200dʃ", 2)]
)
def test_width_in_a_terminal(text, width):
    assert text_width(text) == width


def test_utterances_are_sorted():
    ids = [
        line
        for line in alignment_lines(
            {"b": ["x"], "a": ["y"]}, {"a": [], "b": []}, {"a": "es", "b": "fr"}
        )
        if line.startswith("id:")
    ]
    assert ids == ["id: a  language: es", "id: b  language: fr"]
