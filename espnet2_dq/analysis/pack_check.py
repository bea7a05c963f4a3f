"""Loads a packed model as a stranger would, and compares it with its original.

Runs in a process of its own (``bin.pack --check``), so that nothing of the packing
process can help.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from espnet2_dq.analysis.packing import RECOGNISERS
from espnet2_dq.asr.build import find_checkpoint, load_ctc_model, read_config
from espnet2_dq.asr.hierarchical_build import load_hierarchical_model
from espnet2_dq.asr.init import PARTS
from espnet2_dq.encoder.build import build_front
from espnet2_dq.errors import CheckpointError
from espnet2_dq.interop.load import load_weights, read_weights


class PackedEncoder(nn.Module):
    """Frontend, projection and encoder of a pretrained model."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.frontend, self.preencoder, self.encoder = build_front(config)

    def encode(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples ``(B, S)`` to the last layer ``(B, T, D)``, zero on padding."""
        features, lengths = self.frontend(speech, speech_lengths)
        if self.preencoder is not None:
            features, lengths = self.preencoder(features, lengths)
        output, lengths, _ = self.encoder(features, lengths)
        return output, lengths


def load_packed(kind: str, config_file: str, model_file: str) -> Any:
    """Load what was unpacked, in evaluation mode.

    Args:
        kind: ``ssl``, ``ssl_full``, ``ctc`` or ``hierarchical``.
        config_file: ``config.yaml``.
        model_file: ``model.pth``.

    Returns:
        A module with ``encode(speech, lengths)``.
    """
    if kind in RECOGNISERS:
        return _recogniser_model(kind, Path(model_file).parent, Path(model_file).name)
    with Path(config_file).open(encoding="utf-8") as stream:
        encoder = PackedEncoder(yaml.safe_load(stream))
    weights = read_weights(model_file)
    if kind == "ssl_full":
        from espnet2_dq.ssl.build import load_ssl_model

        # every weight has to fit, not only those of the encoder
        load_ssl_model(Path(model_file).parent, Path(model_file).name)
    prefixes = tuple(f"{part}." for part in PARTS)
    load_weights(encoder, weights, prefixes=prefixes, min_fraction=1.0)
    return encoder.eval()


def check(archive: Path, kind: str, original: Path, speech: torch.Tensor) -> str:
    """Unpack, load, encode ``speech`` and compare with the original's output.

    Args:
        archive: Zip file.
        kind: ``ssl``, ``ssl_full``, ``ctc`` or ``hierarchical``.
        original: Training directory that it was made from.
        speech: ``(S,)`` float32 samples at 16 kHz.

    Returns:
        What was checked, in one line.

    Raises:
        CheckpointError: The outputs differ, or are not finite.
    """
    from espnet2.main_funcs.pack_funcs import unpack

    task = "asr" if kind in RECOGNISERS else "ssl"
    with tempfile.TemporaryDirectory() as folder:
        found = unpack(archive, folder)
        config_file = found[f"{task}_train_config"]
        model = load_packed(kind, config_file, found[f"{task}_model_file"])
        theirs = _encode(model, speech)
    ours = _encode(_original(kind, original), speech)
    if not torch.isfinite(theirs).all() or not torch.equal(ours, theirs):
        raise CheckpointError(
            f"{archive}: its output is not that of {original}; pack it again"
        )
    frames, width = theirs.shape[1:]
    line = f"{archive.name}: unpacked, loaded, encoded {len(speech) / 16000:.1f} s"
    line += f" to {frames} frames of {width}, equal to {original.name}"
    if kind == "ctc":
        from espnet2_dq.decode.recogniser import Recogniser

        recogniser = Recogniser(model)
        best = recogniser.decode(recogniser.posteriors([speech.numpy()])[0])[0]
        line += f"; {len(best.ids)} tokens recognised"
    return line


def _recogniser_model(kind: str, folder: Path, checkpoint: str | None = None) -> Any:
    load = load_ctc_model if kind == "ctc" else load_hierarchical_model
    return load(folder, checkpoint)[0]


def _original(kind: str, folder: Path) -> Any:
    if kind in RECOGNISERS:
        return _recogniser_model(kind, folder)
    encoder = PackedEncoder(read_config(folder / "config.yaml"))
    prefixes = tuple(f"{part}." for part in PARTS)
    checkpoint = find_checkpoint(folder, "latest.pth")
    load_weights(encoder, checkpoint, prefixes=prefixes, min_fraction=1.0)
    return encoder.eval()


@torch.no_grad()
def _encode(model: Any, speech: torch.Tensor) -> torch.Tensor:
    output: torch.Tensor = model.encode(speech[None], torch.tensor([len(speech)]))[0]
    return output
