"""The TransCoder: phonemes to words, a Transformer trained on text alone.

METHODS section 4 knows of TranUSR's TransCoder only that it translates phonemes to
words and learns from text; its architecture is not published. This one is ESPnet's
translation model: Transformer encoder over phonemes, attention decoder over
characters (words with a space between them, so that no word is out of vocabulary).
The encoder is ours, which padding cannot change; with convolutions in it ESPnet's can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
from espnet2.mt.espnet_model import ESPnetMTModel
from espnet2.mt.frontend.embedding import Embedding

from espnet2_dq.asr.build import find_checkpoint, load_all, read_config
from espnet2_dq.asr.phone_noise import PhoneNoise, add_phone_noise
from espnet2_dq.config import from_mapping
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError
from espnet2_dq.interop.load import read_weights

# ESPnet's link to the epoch that was best on the validation sentences.
BEST = "valid.acc.best.pth"


@dataclass(frozen=True)
class TranscoderConfig:
    """``model_conf`` of the task; defaults are the base size.

    Attributes:
        width: Of all layers.
        attention_heads: In each attention; a divisor of ``width``.
        feed_forward: Width inside the layers.
        encoder_layers: Over the phonemes.
        decoder_layers: Over the characters.
        convolutions: Before the encoder's layers: spelling follows from neighbours.
        kernel: Phonemes that each of them sees.
        dropout: Everywhere.
        label_smoothing: Probability that is not the reference's.
        noise: Errors in the phonemes while training.
        autocast: ``bfloat16`` trains in mixed precision on any device; the loss stays
            fp32, and so does decoding.
    """

    width: int = 256
    attention_heads: int = 4
    feed_forward: int = 1024
    encoder_layers: int = 6
    decoder_layers: int = 4
    convolutions: int = 3
    kernel: int = 5
    dropout: float = 0.1
    label_smoothing: float = 0.1
    noise: PhoneNoise = PhoneNoise()
    autocast: Literal["none", "bfloat16"] = "none"

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        sizes = ("width", "attention_heads", "feed_forward")
        layers = ("encoder_layers", "decoder_layers", "convolutions", "kernel")
        for name in (*sizes, *layers):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; at least 1"
                )
        if self.width % self.attention_heads or self.width % 2:
            raise ConfigError(
                f"model_conf.width: {self.width}; an even multiple of"
                f" attention_heads ({self.attention_heads})"
            )
        for name in ("dropout", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; a value in [0, 1)"
                )


class _Fp32Decoder(TransformerDecoder):
    """Its logits are fp32 in mixed precision too: the loss takes their softmax."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits, lengths = super().forward(*args, **kwargs)
        return logits.float(), lengths


class Transcoder(ESPnetMTModel):
    """ESPnet's translation model from phonemes to characters, with noisy input.

    Streams are ESPnet's: ``src_text`` phonemes, ``text`` characters. ``encode`` takes
    ``(B, L)`` phonemes and gives ``(B, L + 1, D)`` and ``(B,)``; ``decoder`` is a
    scorer for BeamSearch, whose start and end is ``eos``.

    Args:
        phones: Tokens of the input by id; the last is the start.
        characters: Tokens of the output by id; the last is start and end.
        conf: Sizes and noise.
    """

    def __init__(
        self, phones: Sequence[str], characters: Sequence[str], conf: TranscoderConfig
    ) -> None:
        encoder = DQTransformerEncoder(
            conf.width,
            conf.width,
            conf.attention_heads,
            conf.feed_forward,
            conf.encoder_layers,
            dropout_rate=conf.dropout,
            attention_dropout_rate=conf.dropout,
            layer_drop_rate=0.0,
            normalize_before=True,
            positional={
                "style": "data2vec",
                "depth": conf.convolutions,
                "kernel": conf.kernel,
                "groups": 1,
            },
            mask_embedding=False,
        )
        decoder = _Fp32Decoder(
            len(characters),
            conf.width,
            attention_heads=conf.attention_heads,
            linear_units=conf.feed_forward,
            num_blocks=conf.decoder_layers,
            dropout_rate=conf.dropout,
            positional_dropout_rate=conf.dropout,
            self_attention_dropout_rate=conf.dropout,
            src_attention_dropout_rate=conf.dropout,
        )
        super().__init__(
            vocab_size=len(characters),
            token_list=list(characters),
            src_vocab_size=len(phones),
            src_token_list=list(phones),
            frontend=Embedding(
                len(phones), conf.width, positional_dropout_rate=conf.dropout
            ),
            preencoder=None,
            encoder=encoder,
            postencoder=None,
            decoder=decoder,
            lsm_weight=conf.label_smoothing,
            report_bleu=False,
        )
        self.conf = conf
        self.src_token_list = list(phones)

    def forward(
        self,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        src_text: torch.Tensor,
        src_text_lengths: torch.Tensor,
        **unused: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Smoothed cross-entropy, summed over characters, per sentence.

        Args:
            text: ``(B, M)`` character ids, padded with -1.
            text_lengths: ``(B,)``.
            src_text: ``(B, L)`` phoneme ids after a language tag, padded with -1.
            src_text_lengths: ``(B,)``.
            unused: ``utt_id``.

        Returns:
            Loss; statistics ``loss`` and ``acc`` (share of characters that are the
            most probable ones after the reference's); and the weight, sentences.
        """
        if self.training and not self.conf.noise.off:
            src_text, src_text_lengths = add_phone_noise(
                src_text, src_text_lengths, self.conf.noise
            )
        with torch.autocast(
            text.device.type, torch.bfloat16, self.conf.autocast == "bfloat16"
        ):
            loss, stats, weight = super().forward(
                text, text_lengths, src_text, src_text_lengths
            )
        stats.pop("bleu", None)
        return loss, stats, weight


def build_transcoder(config: Mapping[str, Any]) -> Transcoder:
    """Build the model that ``config`` describes, with fresh weights.

    Args:
        config: ``src_token_list`` and ``token_list``, as tokens, and ``model_conf``
            (:class:`TranscoderConfig`); other keys are ignored.

    Raises:
        ConfigError: A list is missing, an unknown key or a value that does not fit.
    """
    for name in ("src_token_list", "token_list"):
        if not isinstance(config.get(name), list | tuple) or not config[name]:
            raise ConfigError(f"{name}: no tokens; is this a TransCoder's config.yaml?")
    values = config.get("model_conf") or {}
    conf = from_mapping(TranscoderConfig, values, "model_conf")
    return Transcoder(config["src_token_list"], config["token_list"], conf)


def full_model_conf(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """``model_conf`` with every default written out, for ``config.yaml``."""
    return asdict(from_mapping(TranscoderConfig, values, "model_conf"))


def load_transcoder(
    model_dir: Path | str, checkpoint: Path | str | None = None, device: str = "cpu"
) -> Transcoder:
    """Load a trained model for decoding.

    Args:
        model_dir: Directory with ``config.yaml`` and checkpoints.
        checkpoint: A file, or a name inside ``model_dir``; by default the best epoch,
            else the latest.
        device: Where to put it.

    Raises:
        CheckpointError: A file is missing or broken, or does not fit.
    """
    directory = Path(model_dir)
    config = read_config(directory / "config.yaml")
    if checkpoint is None and (directory / BEST).is_file():
        checkpoint = BEST
    path = find_checkpoint(directory, checkpoint)
    model = build_transcoder(config)
    load_all(model, read_weights(path), path, directory / "config.yaml")
    return model.to(device).eval()
