"""Faults that decoding once had."""

import numpy as np

from espnet2_dq.decode.alignment import viterbi_spans


def test_alignment_of_more_tokens_than_a_byte_counts():
    ids = [1 + index % 5 for index in range(150)]
    log_probs = np.log(np.full((400, 6), 1 / 6))
    spans = viterbi_spans(log_probs, ids)
    assert len(spans) == 150
