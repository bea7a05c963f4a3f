"""What UniSpeech's phoneme head sees equals Hugging Face's UniSpeechForPreTraining."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from training_factories import make_items
from wav2vec2_factories import collated, labelled, make_unispeech, wav2vec2_config

from espnet2_dq.interop.hf_config import hf_config
from espnet2_dq.interop.rename import rename_keys

transformers = pytest.importorskip("transformers")
LENGTHS = (24000, 16000)
HEAD = "supervised.phoneme_head.linear."


def their_model(model: Any, replace_prob: float) -> Any:
    """Hugging Face's model with our weights; every key has to fit."""
    settings = hf_config(wav2vec2_config(large=True))
    del settings["architectures"], settings["model_type"]
    conf = transformers.UniSpeechConfig(
        **settings, num_ctc_classes=6, replace_prob=replace_prob
    )
    theirs = transformers.UniSpeechForPreTraining(conf)
    state = model.state_dict()
    kept = {k: v for k, v in state.items() if not k.startswith(("health", "num_upd"))}
    head = {k: kept.pop(f"{HEAD}{k}") for k in ("weight", "bias")}
    renamed = rename_keys(kept, "to_huggingface")
    weights = {k.replace("wav2vec2.", "unispeech."): v for k, v in renamed.items()}
    weights |= {f"ctc_proj.{k}": v for k, v in head.items()}
    theirs.load_state_dict(weights)
    return theirs.eval()


def head_sees(head: torch.nn.Linear) -> list[torch.Tensor]:
    """A list to which every later call of the head adds its input."""
    seen: list[torch.Tensor] = []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


@pytest.mark.parametrize("replaced", [False, True])
def test_states_and_codewords(replaced: bool) -> None:
    """Either all frames are states, or all of them codewords; no frame is masked."""
    model = make_unispeech(large=True).eval()
    theirs = their_model(model, float(replaced))
    batch = collated(model, make_items(*LENGTHS))
    batch.pop("counts")
    batch = labelled(batch, ([1, 2, 3], [4, 5]), replaced=replaced)
    batch["span_mask"] = torch.zeros_like(batch["span_mask"])
    speech = batch["speech"].clone()
    for row, length in enumerate(LENGTHS):
        speech[row, :length] = F.layer_norm(speech[row, :length], (length,))
    samples = torch.arange(speech.shape[1])
    ours, others = (
        head_sees(model.supervised.phoneme_head.linear),
        head_sees(theirs.ctc_proj),
    )
    with torch.no_grad():
        model(**batch)
        theirs(
            speech, attention_mask=(samples < batch["speech_lengths"][:, None]).long()
        )
    assert ours[0].shape == others[0].shape == (*batch["span_mask"].shape, 24)
    assert others[0].abs().max() > 0.1
    for row, length in enumerate(LENGTHS):
        frames = model.frame_grid.num_frames(length)
        assert (ours[0][row, :frames] - others[0][row, :frames]).abs().max() < 1e-5
