"""Tiny TransCoders and the pairs that they learn, for tests."""

import torch
import yaml

from espnet2_dq.asr.transcoder import Transcoder, TranscoderConfig

PHONES = ["<blank>", "<unk>", "<xx>", "<yy>", "a", "b", "c", "d", "<sos/eos>"]
CHARACTERS = ["<blank>", "<unk>", "<space>", "A", "B", "C", "D", "<sos/eos>"]
OFF = {"substitution": 0.0, "deletion": 0.0, "insertion": 0.0}
SMALL = {
    "width": 16,
    "attention_heads": 2,
    "feed_forward": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "label_smoothing": 0.0,
}


def tiny_model(seed=0, **conf):
    """A model with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    values = {**SMALL, **conf}
    return Transcoder(PHONES, CHARACTERS, TranscoderConfig(**values)).eval()


def make_batch(*pairs):
    """``(B, L)`` streams of pairs such as ``("<xx> a b", "A B")``."""
    streams = {}
    for name, tokens, side in (("src_text", PHONES, 0), ("text", CHARACTERS, 1)):
        rows = [torch.tensor([tokens.index(t) for t in p[side].split()]) for p in pairs]
        streams[name] = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=-1
        )
        streams[f"{name}_lengths"] = torch.tensor([len(row) for row in rows])
    return streams


def save_model(folder, model):
    """Write what training leaves: ``config.yaml`` and ``latest.pth``."""
    folder.mkdir(parents=True)
    config = {
        "src_token_list": list(model.src_token_list),
        "token_list": list(model.token_list),
        "model_conf": SMALL,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    torch.save(model.state_dict(), folder / "latest.pth")
