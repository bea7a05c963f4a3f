import numpy as np
import pytest

from espnet2_dq.decode.spelling import HeadSpelling, spellings, wildcard_column
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import graphemes

SYLLABLES = ["<blank>", "<unk>", "<pad>", "<space>", "가", "값", "ㅋ", "<sos/eos>"]
GRAPHEMES = ["<blank>", "<unk>", "<pad>", "<space>", *graphemes("값ㅋ"), "<sos/eos>"]


@pytest.fixture
def heads():
    return spellings({"grapheme": GRAPHEMES, "syllable": SYLLABLES})


def test_texts_and_ids(heads):
    text = "가 값ㅋㅋ"
    assert heads["syllable"].ids(text) == [4, 3, 5, 6, 6]
    assert heads["grapheme"].ids(text) == [4, 5, 3, 4, 5, 6, 7, 7]
    for spelling in heads.values():
        assert spelling.text(spelling.ids(text)) == text
        assert spelling.can_spell(text)


def test_what_a_list_lacks_is_a_wildcard(heads):
    assert heads["syllable"].ids("갑") == [len(SYLLABLES)]
    assert heads["grapheme"].ids("갑") == [4, 5, len(GRAPHEMES)]
    assert not heads["syllable"].can_spell("갑")
    assert heads["syllable"].ids("𠀀") == [len(SYLLABLES)]  # beyond 16 bits


def test_many_texts_at_once(heads):
    texts = ["", "값", "가 가", ""]
    for spelling in heads.values():
        encoded = spelling.encode(texts)
        assert encoded.lengths.tolist() == [len(spelling.ids(text)) for text in texts]
        end = len(spelling.tokens) + 1
        expected = [i for text in texts for i in [*spelling.ids(text), end]]
        assert encoded.flat.tolist() == expected
    assert heads["grapheme"].encode([]).lengths.tolist() == []


def test_specials_are_no_text(heads):
    assert heads["syllable"].forbidden == [1, 2, 7]
    assert heads["syllable"].space == 3


def test_wildcard_is_any_token_at_a_penalty():
    log_probs = np.log([[0.9, 0.02, 0.08], [0.5, 0.1, 0.4]])
    found = np.exp(wildcard_column(log_probs, 1, 2.0))
    assert found == pytest.approx([0.1 * np.exp(-2), 0.5 * np.exp(-2)])
    assert np.exp(wildcard_column(log_probs, 1, None)) == pytest.approx([0.02, 0.1])


def test_wildcard_needs_a_penalty_or_unk():
    with pytest.raises(ConfigError, match="unk_penalty"):
        wildcard_column(np.zeros((1, 2)), None, None)


@pytest.mark.parametrize(
    ("token_lists", "message"),
    [
        ({}, "no token lists"),
        ({"syllable": ["<unk>", "가"]}, "does not start with <blank>"),
        ({"word": ["<blank>", "가"]}, "'word'"),
    ],
)
def test_bad_lists_are_told(token_lists, message):
    with pytest.raises(ConfigError, match=message):
        spellings(token_lists)


def test_a_head_without_space():
    assert HeadSpelling("syllable", ["<blank>", "가"]).space is None
