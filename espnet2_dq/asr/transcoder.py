"""The TransCoder: phonemes to words, a Transformer trained on text alone.

METHODS section 4 knows of TranUSR's TransCoder only that it translates phonemes to
words and learns from text; its architecture is not published. This one has the usual
parts of a translation model: our Transformer encoder over phonemes (padding cannot
change it; ESPnet's, with convolutions in it, it can) and ESPnet's Transformer decoder
over characters: words with a space between them, so that no word is out of vocabulary.
A CTC head on the encoder, with several frames for each phoneme, shares training and
search with the decoder, as in ESPnet's recognisers: spelling keeps the order of the
phonemes, which attention alone has to find out first and loses in long sentences.

ESPnet's own translation model around these cuts batches to their longest sentence.
Noise makes that a new length nearly every time, and on a CPU each shape of a batch
costs a kernel to compile and megabytes to keep. Here lengths are rounded up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
from espnet2.mt.frontend.embedding import Embedding
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import nn
from torch.nn import functional as F

from espnet2_dq.asr.build import find_checkpoint, load_all, read_config
from espnet2_dq.asr.ctc_head import Targets, impossible_ratio, references
from espnet2_dq.asr.phone_noise import PhoneNoise, add_phone_noise
from espnet2_dq.config import from_mapping
from espnet2_dq.encoder.transformer import DQTransformerEncoder
from espnet2_dq.errors import ConfigError
from espnet2_dq.interop.load import read_weights
from espnet2_dq.score.tokens import greedy_tokens, token_errors

# Padded lengths in training are multiples of this.
LENGTH_MULTIPLE = 8


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
        label_smoothing: Probability that is not the reference's, for the decoder.
        upsampling: Frames of the CTC head for each phoneme; a sentence cannot have
            more characters than that.
        ctc_weight: Share of CTC in the loss.
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
    upsampling: int = 3
    ctc_weight: float = 0.5
    noise: PhoneNoise = PhoneNoise()
    autocast: Literal["none", "bfloat16"] = "none"

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        sizes = ("width", "attention_heads", "feed_forward")
        layers = ("encoder_layers", "decoder_layers", "convolutions", "kernel")
        for name in (*sizes, *layers, "upsampling"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; at least 1"
                )
        if self.width % self.attention_heads or self.width % 2:
            raise ConfigError(
                f"model_conf.width: {self.width}; an even multiple of"
                f" attention_heads ({self.attention_heads})"
            )
        if not 0.0 < self.ctc_weight < 1.0:
            raise ConfigError(
                f"model_conf.ctc_weight: {self.ctc_weight}; between 0 and 1, since"
                " both parts are trained (which is used, decoding decides)"
            )
        for name in ("dropout", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(
                    f"model_conf.{name}: {getattr(self, name)}; a value in [0, 1)"
                )


class CTCSpelling(nn.Linear):
    """Several CTC frames for each phoneme, ``(B, L, D)`` -> ``(B, L * N, V)``."""

    def __init__(self, width: int, upsampling: int, vocab_size: int) -> None:
        super().__init__(width, upsampling * vocab_size)
        self.vocab_size = vocab_size

    def log_softmax(self, frames: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, in fp32; the name is what prefix scorers call."""
        logits = self(frames).float()  # (B, L, N * V) -> (B, L * N, V)
        return logits.reshape(len(frames), -1, self.vocab_size).log_softmax(-1)


class Transcoder(AbsESPnetModel):
    """Phonemes to characters; noise is put into the phonemes while training.

    For ESPnet's BeamSearch ``decoder`` is a scorer that starts and ends with ``eos``,
    and ``ctc`` has the ``log_softmax`` of a prefix scorer's.

    Args:
        phones: Tokens of the input by id.
        characters: Tokens of the output by id; the last is start and end.
        conf: Sizes and noise.
    """

    def __init__(
        self, phones: Sequence[str], characters: Sequence[str], conf: TranscoderConfig
    ) -> None:
        super().__init__()
        self.conf = conf
        self.src_token_list = list(phones)
        self.token_list = list(characters)
        self.vocab_size = len(characters)
        self.eos = self.vocab_size - 1
        self.embedding = Embedding(
            len(phones), conf.width, positional_dropout_rate=conf.dropout
        )
        self.encoder = DQTransformerEncoder(
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
        self.decoder = TransformerDecoder(
            self.vocab_size,
            conf.width,
            attention_heads=conf.attention_heads,
            linear_units=conf.feed_forward,
            num_blocks=conf.decoder_layers,
            dropout_rate=conf.dropout,
            positional_dropout_rate=conf.dropout,
            self_attention_dropout_rate=conf.dropout,
            src_attention_dropout_rate=conf.dropout,
        )

        self.ctc = CTCSpelling(conf.width, conf.upsampling, self.vocab_size)

    def encode(
        self, src_text: torch.Tensor, src_text_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder attends to.

        Args:
            src_text: ``(B, L)`` phoneme ids after a language tag, padded with -1.
            src_text_lengths: ``(B,)``.

        Returns:
            ``(B, L, D)`` with zero padding, and ``(B,)``.
        """
        embedded, _ = self.embedding(src_text.clamp(min=0), src_text_lengths)
        frames, lengths, _ = self.encoder(embedded, src_text_lengths)
        return frames, lengths

    def forward(
        self,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        src_text: torch.Tensor,
        src_text_lengths: torch.Tensor,
        **unused: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """CTC and cross-entropy of the decoder, per character, weighted.

        Args:
            text: ``(B, M)`` character ids, padded with -1.
            text_lengths: ``(B,)``.
            src_text: ``(B, L)`` phoneme ids after a language tag, padded with -1.
            src_text_lengths: ``(B,)``.
            unused: ``utt_id``.

        Returns:
            Loss; statistics ``loss``, ``loss_ctc``, ``loss_att``, ``acc`` (share of
            characters that the decoder finds after the reference's), ``impossible``
            (share of sentences with too few CTC frames; their CTC adds 0) and, in
            evaluation, ``ter`` (greedy error rate of CTC); and the weight, characters.
        """
        if self.training and not self.conf.noise.off:
            src_text, src_text_lengths = add_phone_noise(
                src_text, src_text_lengths, self.conf.noise
            )
        given, wanted = self._shifted(text, text_lengths)
        with torch.autocast(
            text.device.type, torch.bfloat16, self.conf.autocast == "bfloat16"
        ):
            frames, lengths = self.encode(_rounded(src_text), src_text_lengths)
            log_probs = self.ctc.log_softmax(frames)
            # The decoder is causal: after the end nothing reaches what is scored.
            full = torch.full_like(text_lengths, given.size(1))
            logits, _ = self.decoder(frames, lengths, given, full)
        targets = Targets(text, text_lengths)
        lengths = lengths * self.conf.upsampling
        loss_ctc = ctc_loss(log_probs, lengths, targets) / targets.tokens
        scored = wanted >= 0
        logits, wanted = logits[scored].float(), wanted[scored]  # (N, V), (N,)
        loss_att = F.cross_entropy(
            logits, wanted, label_smoothing=self.conf.label_smoothing
        )
        weight = self.conf.ctc_weight
        loss = weight * loss_ctc + (1.0 - weight) * loss_att
        stats = {
            "loss": loss.detach(),
            "loss_ctc": loss_ctc.detach(),
            "loss_att": loss_att.detach(),
            "acc": (logits.argmax(-1) == wanted).float().mean(),
            "impossible": impossible_ratio(lengths, targets),
        }
        if not self.training:
            found = greedy_tokens(log_probs.argmax(-1), lengths)
            errors = token_errors(found, references(targets))
            stats["ter"] = torch.tensor(errors / max(1, targets.tokens))
        gathered: tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor] = (
            force_gatherable((loss, stats, targets.tokens), loss.device)
        )
        return gathered

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """There are no features whose statistics would be needed."""
        return {}

    def _shifted(
        self, text: torch.Tensor, text_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder is given and what it should answer, ``(B, M')`` each.

        The first begins with ``eos`` and is padded with it, the second ends with it
        and is padded with -1.
        """
        wanted = F.pad(text, (0, 1), value=-1)
        wanted = wanted.scatter(1, text_lengths.unsqueeze(1), self.eos)
        wanted = _rounded(wanted)
        given = F.pad(wanted[:, :-1], (1, 0), value=self.eos)
        return given.masked_fill(given < 0, self.eos), wanted


def ctc_loss(
    log_probs: torch.Tensor, lengths: torch.Tensor, targets: Targets
) -> torch.Tensor:
    """Sum over the sentences; those with more characters than frames add 0.

    Args:
        log_probs: ``(B, T, V)`` fp32.
        lengths: ``(B,)`` valid frames.
        targets: What to emit.
    """
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        targets.ids.clamp(min=0),
        lengths,
        targets.lengths,
        reduction="sum",
        zero_infinity=True,
    )


def _rounded(ids: torch.Tensor) -> torch.Tensor:
    """``(B, L)`` padded with -1 to a multiple of ``LENGTH_MULTIPLE``."""
    return F.pad(ids, (0, -ids.size(1) % LENGTH_MULTIPLE), value=-1)


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
        checkpoint: A file, or a name inside ``model_dir``; by default the best by
            validation ``ter``, else the latest.
        device: Where to put it.

    Raises:
        CheckpointError: A file is missing or broken, or does not fit.
    """
    directory = Path(model_dir)
    config = read_config(directory / "config.yaml")
    path = find_checkpoint(directory, checkpoint)
    model = build_transcoder(config)
    load_all(model, read_weights(path), path, directory / "config.yaml")
    return model.to(device).eval()
