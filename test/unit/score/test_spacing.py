"""Spacing by hand (METHODS 7.7)."""

import pytest

from espnet2_dq.score.spacing import (
    align_backwards,
    ksponspeech_spacing,
    kwav2vec_spacing,
)

# reference, hypothesis, K-wav2vec's spacing, KsponSpeech's spacing
CASES = [
    ("그건", "그 거 는", "그거는", "그 거 는"),  # METHODS: 1/1 and 3/1
    ("가다나", "가 나", "가 나", "가나"),  # METHODS: 2/1 and 1/1
    ("가 나 다", "가나다", "가 나 다", "가 나 다"),
    ("가나다", "가 나 다", "가나다", "가나다"),
    ("가 나", "가 나", "가 나", "가 나"),
    ("가 나", "", "", ""),
    ("", "가 나", "가나", "가 나"),
    # a space against a letter is a substitution for K-wav2vec: it stays
    ("가 나 다", "가 라다", "가 라다", "가 라 다"),
    ("가나 다라", "가나다 라", "가나다 라", "가나 다라"),
    ("가 나", "가라", "가 라", "가라"),  # a wrong letter keeps its spacing
    ("가", "가나", "가나", "가나"),
    ("가 나", "나", "나", "나"),
]


@pytest.mark.parametrize(("reference", "hypothesis", "kw", "ks"), CASES)
def test_by_hand(reference, hypothesis, kw, ks):
    assert kwav2vec_spacing(reference, hypothesis) == kw
    assert ksponspeech_spacing(reference, hypothesis) == ks


def test_order_of_preference():
    # substitution before two gaps
    assert align_backwards("a", "b") == [(0, 0)]
    # as good from the end: the last of equals is matched
    assert align_backwards("a", "aa") == [(None, 0), (0, 1)]
    assert align_backwards("aa", "a") == [(0, None), (1, 0)]
    # deletion before insertion where both are as good: 'xab' against 'abx'
    assert align_backwards("abx", "xab") == [
        (None, 0), (0, 1), (1, 2), (2, None)
    ]  # fmt: skip
    assert align_backwards("", "") == []
