"""A tiny two-head model and batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from asr_factories import tiny_config

from espnet2_dq.asr.hierarchical_build import build_hierarchical_model
from espnet2_dq.asr.hierarchical_model import HierarchicalCTCModel
from espnet2_dq.text.hangul import graphemes, syllables

TEXTS = ("가나 다", "값", "나")
SPECIALS = ["<blank>", "<unk>", "<pad>"]
END = "<sos/eos>"


def units_of(split: Callable[[str], list[str]], texts=TEXTS) -> list[str]:
    """Token list of the texts, as the units stage makes it."""
    return [*SPECIALS, *sorted({t for text in texts for t in split(text)}), END]


TOKEN_LISTS = {"grapheme": units_of(graphemes), "syllable": units_of(syllables)}
SPLIT = {"grapheme": graphemes, "syllable": syllables}


def ids_of(head: str, text: str) -> list[int]:
    return [TOKEN_LISTS[head].index(token) for token in SPLIT[head](text)]


def hier_config(heads=("grapheme", "syllable"), **changes: Any) -> dict[str, Any]:
    """Configuration without dropout; ``model_conf`` changes are merged."""
    conf = {
        "heads": list(heads),
        "additional_dropouts": {"activation": 0.0},
        **changes.pop("model_conf", {}),
    }
    config = tiny_config(model_conf=conf, **changes)
    del config["token_list"]
    return {"token_lists": {h: TOKEN_LISTS[h] for h in heads}, **config}


@pytest.fixture
def make_hier() -> Callable[..., HierarchicalCTCModel]:
    def make(*args: Any, **changes: Any) -> HierarchicalCTCModel:
        torch.manual_seed(0)
        return build_hierarchical_model(hier_config(*args, **changes))

    return make


@pytest.fixture
def hier_batch() -> dict[str, torch.Tensor]:
    """Three utterances of 49, 30 and 12 frames with both targets."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([16000, 9680, 3920])
    speech = torch.randn(3, 16000, generator=generator)
    speech[torch.arange(16000) >= lengths[:, None]] = 0.0
    batch = {"speech": speech, "speech_lengths": lengths}
    for head in SPLIT:
        rows = [torch.tensor(ids_of(head, text)) for text in TEXTS]
        batch[head] = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=-1
        )
        batch[f"{head}_lengths"] = torch.tensor([len(row) for row in rows])
    return batch


def one_of(batch: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """Utterance ``index`` of the batch, unpadded."""
    found = {}
    for name in ("speech", *SPLIT):
        length = batch[f"{name}_lengths"][index]
        found[name] = batch[name][index : index + 1, :length]
        found[f"{name}_lengths"] = length[None]
    return found
