"""Frozen features to probe or to cluster: any of our models, others', or log-mel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from espnet2_dq.analysis.frame_probe import Encode
from espnet2_dq.asr.build import read_config
from espnet2_dq.asr.init import initialise
from espnet2_dq.encoder.build import build_front
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import ConfigError
from espnet2_dq.interop.architecture import merge_architecture
from espnet2_dq.interop.pretrained import OUR_CONFIG, read_architecture
from espnet2_dq.ssl.build import build_ssl_model, load_ssl_model

NETWORKS = ("student", "teacher", "untrained", "log_mel")
# Least share of a foreign model's weights that has to fit.
MIN_FRACTION = 0.95


@dataclass(frozen=True)
class FeatureSource:
    """An encoder with frozen weights.

    Attributes:
        name: For people: ``student of exp/tag/pretrain``.
        encode: Samples ``(B, S)`` and lengths ``(B,)`` to layers ``(B, T, D)`` float32,
            layer 0 being the encoder's input; padded frames may hold anything. In eval
            mode; the caller switches gradients off.
        grid: Which samples a frame sees.
        num_layers: Layers of the encoder, without layer 0.
    """

    name: str
    encode: Encode
    grid: FrameGrid
    num_layers: int

    def check_layer(self, option: str, layer: int) -> None:
        """Refuse a layer that is not there.

        Raises:
            ConfigError: Naming the option, the value and the range.
        """
        if not 0 <= layer <= self.num_layers:
            raise ConfigError(
                f"{option} {layer}: {self.name} has layers 0 (the encoder's input)"
                f" to {self.num_layers}"
            )


def open_features(
    source: Path | str | None,
    network: str = "student",
    *,
    checkpoint: str = "latest.pth",
    device: str = "cpu",
    seed: int = 0,
) -> FeatureSource:
    """Open a source of features.

    Args:
        source: Pretraining directory of ours; or a fine-tuning directory, a directory
            of Hugging Face or a fairseq ``.pt``, which have a student only. Not used
            for ``log_mel``.
        network: ``student``; ``teacher`` of our pretraining; ``untrained``: random
            weights in the same architecture; ``log_mel``: 80 log-mel channels,
            normalised per utterance, as layer 0.
        checkpoint: Weights in a pretraining directory.
        device: Torch device.
        seed: Of ``untrained``.

    Raises:
        ConfigError: A network that the source does not have.
        CheckpointError: No model there, or weights that do not fit.
    """
    if network not in NETWORKS:
        raise ConfigError(f"--network {network}: expected one of {', '.join(NETWORKS)}")
    if network == "log_mel":
        return _log_mel()
    if source is None:
        raise ConfigError(f"--exp: missing; --network {network} needs a model")
    path = Path(source)
    if (path / OUR_CONFIG).is_file():
        config = read_config(path / OUR_CONFIG)
        if not config.get("token_list"):
            return _pretraining(path, config, network, checkpoint, device, seed)
    if network == "teacher":
        raise ConfigError(
            f"--network teacher: {source} is no pretraining directory of ours; use"
            " student"
        )
    return _foreign(path, network, device, seed)


def _pretraining(
    path: Path,
    config: dict[str, Any],
    network: str,
    checkpoint: str,
    device: str,
    seed: int,
) -> FeatureSource:
    if network == "untrained":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build_ssl_model(config).to(device).eval()
    else:
        model, _ = load_ssl_model(path, checkpoint, device)

    def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        layers, _ = model.layer_features(
            speech.to(device), lengths.to(device), teacher=network == "teacher"
        )
        return list(layers)

    return _source(f"{network} of {path}", encode, model)


def _foreign(path: Path, network: str, device: str, seed: int) -> FeatureSource:
    """Frontend, projection and encoder of any other model that we can read."""
    found = read_architecture(path)
    if found is None:
        raise ConfigError(
            f"{path}: nothing beside these weights says what their architecture is;"
            " give a directory with config.yaml or config.json"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        frontend, preencoder, encoder = build_front(merge_architecture({}, *found))
    model = nn.Module()
    parts = {"frontend": frontend, "preencoder": preencoder, "encoder": encoder}
    for name, part in parts.items():
        model.register_module(name, part)
    if network != "untrained":
        initialise(model, str(path), MIN_FRACTION)
    model.to(device).eval()

    def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        features, sizes = frontend(speech.to(device), lengths.to(device))
        if preencoder is not None:
            features, sizes = preencoder(features, sizes)
        layers = encoder.extract(features, sizes).layers
        return [features.float(), *(layer.float() for layer in layers)]

    return _source(f"{network} of {path}", encode, model)


def _source(name: str, encode: Encode, model: Any) -> FeatureSource:
    grid: FrameGrid = model.frontend.frame_grid
    return FeatureSource(name, encode, grid, len(model.encoder.blocks))


def _log_mel() -> FeatureSource:
    from espnet2_dq.encoder.log_mel import LogMelFrontend

    frontend = LogMelFrontend().eval()

    def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        return [frontend(speech, lengths)[0]]

    return FeatureSource("log-mel features", encode, frontend.frame_grid, 0)


def encode_sounds(
    source: FeatureSource, sounds: Sequence[np.ndarray], layers: Iterable[int] | None
) -> list[list[torch.Tensor]]:
    """Features of a batch of sounds, without padding.

    Args:
        source: The encoder.
        sounds: ``(S,)`` float32 samples at 16 kHz.
        layers: Which to keep, in this order; ``None``: all.

    Returns:
        For each sound its layers ``(T, D)`` float32 on the CPU.
    """
    speech = [torch.from_numpy(sound) for sound in sounds]
    sizes = torch.tensor([len(sound) for sound in sounds])
    with torch.no_grad():
        outputs = source.encode(
            torch.nn.utils.rnn.pad_sequence(speech, batch_first=True), sizes
        )
    kept = outputs if layers is None else [outputs[layer] for layer in layers]
    frames = source.grid.num_frames(sizes).tolist()
    return [
        [layer[row, :count].float().cpu() for layer in kept]
        for row, count in enumerate(frames)
    ]
