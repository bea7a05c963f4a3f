"""Record pyctcdecode's n-best lists, which the tests compare our search with.

pyctcdecode pins numpy<2, so that it does not fit into our environments:

    uv venv /tmp/peer && . /tmp/peer/bin/activate
    uv pip install numpy pygtrie hypothesis && uv pip install --no-deps pyctcdecode
    PYTHONPATH=.:test python tools/record_pyctcdecode.py test/data/pyctcdecode.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyctcdecode
from korean_posteriors import RECORDED, recorded_example, recorded_token_lists

#: Stands for token i: one character each, whatever the token is.
FIRST_LABEL = 0xE000
BEAMS = (3, 20, 100)


def labels(tokens: list[str]) -> list[str]:
    """What pyctcdecode is told: the blank is empty, the space is a space."""
    special = {"<blank>": "", "<space>": " "}
    return [special.get(t, chr(FIRST_LABEL + i)) for i, t in enumerate(tokens)]


def token_ids(text: str, space: int) -> list[int]:
    """Ids of a decoded text."""
    return [space if c == " " else ord(c) - FIRST_LABEL for c in text]


def record(head: str, tokens: list[str], log_probs: np.ndarray) -> list[dict]:
    """Lists of one head at all beams."""
    decoder = pyctcdecode.build_ctcdecoder(labels(tokens))
    space = tokens.index("<space>")
    rows = []
    for beam in BEAMS:
        # float64: with numpy 2 it would sum in float32
        found = decoder.decode_beams(log_probs.astype(np.float64), beam_width=beam)
        rows.append(
            {
                "head": head,
                "beam": beam,
                "ids": [token_ids(hypothesis[0], space) for hypothesis in found],
                "logit_score": [round(float(hypothesis[3]), 7) for hypothesis in found],
            }
        )
    return rows


def main() -> None:
    """Write the lists of all recorded examples."""
    lists = recorded_token_lists()
    rows = []
    for number in range(RECORDED):
        example = recorded_example(number)
        for head, log_probs in example.log_probs.items():
            for row in record(head, lists[head], log_probs):
                rows.append({"example": number, **row})
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
