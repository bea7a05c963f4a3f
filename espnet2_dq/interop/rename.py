"""Parameter names of other toolkits -> ours, as tables of regular expressions.

Ours: ``frontend.*`` (ESPnet's CNNFrontend), ``preencoder.*`` (ESPnet's
LinearProjection), ``encoder.*`` (DQTransformerEncoder); of wav2vec 2.0 pretraining also
``quantizer.*``, ``project_q.*`` and ``final_proj.*``. Every pair of a table is tried on
every name, in order.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from espnet2_dq.errors import ConfigError

T = TypeVar("T")
Table = Sequence[tuple[str, str]]

# weight_norm before torch 2.0 wrote weight_g and weight_v
WEIGHT_NORM: Table = (
    (r"\.weight_g$", r".parametrizations.weight.original0"),
    (r"\.weight_v$", r".parametrizations.weight.original1"),
)

# Hugging Face Wav2Vec2Model and Data2VecAudioModel, alone or below a task head;
# quantizer.* and project_q.* of Wav2Vec2ForPreTraining are called as ours
HUGGINGFACE: Table = (
    (r"^(wav2vec2|data2vec_audio)\.", r""),
    (r"^masked_spec_embed$", r"encoder.mask_embedding"),
    (r"^feature_extractor\.conv_layers\.", r"frontend.layers."),
    (r"^feature_projection\.layer_norm\.", r"frontend.final_norm."),
    (r"^feature_projection\.projection\.", r"preencoder.linear_out."),
    (r"^encoder\.pos_conv_embed\.layers\.(\d+)\.conv\.", r"encoder.pos_conv.convs.\1."),
    (r"^encoder\.pos_conv_embed\.conv\.", r"encoder.pos_conv.conv."),
    (r"^encoder\.layers\.", r"encoder.blocks."),
    (r"^(encoder\.blocks\.\d+)\.attention\.", r"\1.self_attn."),
    (r"^(encoder\.blocks\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"^(encoder\.blocks\.\d+)\.feed_forward\.intermediate_dense\.", r"\1.fc1."),
    (r"^(encoder\.blocks\.\d+)\.feed_forward\.output_dense\.", r"\1.fc2."),
    (r"^project_hid\.", r"final_proj."),
    *WEIGHT_NORM,
)

# fairseq Wav2Vec2Model and Data2VecAudioModel, alone or below a CTC head
FAIRSEQ: Table = (
    (r"^w2v_encoder\.w2v_model\.", r""),
    (r"^mask_emb$", r"encoder.mask_embedding"),
    # conv_layers.N is a Sequential: 0 convolution; 2 GroupNorm, or 2.1 LayerNorm
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"frontend.layers.\1.conv."),
    (
        r"^feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?",
        r"frontend.layers.\1.layer_norm.",
    ),
    (r"^layer_norm\.", r"frontend.final_norm."),
    (r"^post_extract_proj\.", r"preencoder.linear_out."),
    (r"^encoder\.pos_conv\.(\d+)\.0\.", r"encoder.pos_conv.convs.\1."),
    (r"^encoder\.pos_conv\.0\.", r"encoder.pos_conv.conv."),
    (r"^encoder\.layers\.", r"encoder.blocks."),
    (r"^quantizer\.vars$", r"quantizer.codevectors"),
    *WEIGHT_NORM,
)

# ours -> Wav2Vec2ForPreTraining
TO_HUGGINGFACE: Table = (
    (r"^final_proj\.", r"project_hid."),
    (r"^encoder\.mask_embedding$", r"wav2vec2.masked_spec_embed"),
    (r"^frontend\.layers\.", r"wav2vec2.feature_extractor.conv_layers."),
    (r"^frontend\.final_norm\.", r"wav2vec2.feature_projection.layer_norm."),
    (r"^preencoder\.linear_out\.", r"wav2vec2.feature_projection.projection."),
    (r"^encoder\.pos_conv\.conv\.", r"encoder.pos_conv_embed.conv."),
    (
        r"^(encoder)\.blocks\.(\d+)\.fc1\.",
        r"\1.layers.\2.feed_forward.intermediate_dense.",
    ),
    (r"^(encoder)\.blocks\.(\d+)\.fc2\.", r"\1.layers.\2.feed_forward.output_dense."),
    (r"^(encoder)\.blocks\.(\d+)\.self_attn\.", r"\1.layers.\2.attention."),
    (r"^(encoder)\.blocks\.(\d+)\.self_attn_layer_norm\.", r"\1.layers.\2.layer_norm."),
    (r"^(encoder)\.blocks\.", r"\1.layers."),
    (r"^encoder\.", r"wav2vec2.encoder."),
)

# our own files: only the old spelling of weight norm and wrappers need care
OURS: Table = ((r"^module\.", r""), *WEIGHT_NORM)

TABLES: dict[str, Table] = {
    "huggingface": HUGGINGFACE,
    "fairseq": FAIRSEQ,
    "ours": OURS,
    "to_huggingface": TO_HUGGINGFACE,
}

_HUGGINGFACE_MARK = re.compile(r"(^|\.)(feature_projection|pos_conv_embed)\.")
_FAIRSEQ_MARK = re.compile(r"(^|\.)post_extract_proj\.|(^|\.)encoder\.layers\.\d+\.fc1")


def detect_source(names: Iterable[str]) -> str:
    """``huggingface``, ``fairseq`` or ``ours``, from names only one of them uses."""
    for name in names:
        if _HUGGINGFACE_MARK.search(name):
            return "huggingface"
        if _FAIRSEQ_MARK.search(name):
            return "fairseq"
    return "ours"


def rename_key(name: str, table: Table) -> str:
    """Apply every pair of ``table`` to one name."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def rename_keys(weights: Mapping[str, T], source: str) -> dict[str, T]:
    """Rename all keys with the table of ``source``.

    Raises:
        ConfigError: Unknown source, or two names that become one.
    """
    if source not in TABLES:
        raise ConfigError(f"rename: '{source}' is not one of {list(TABLES)}")
    renamed: dict[str, T] = {}
    for name, value in weights.items():
        new = rename_key(name, TABLES[source])
        if new in renamed:
            raise ConfigError(
                f"rename: two weights of the checkpoint become '{new}' with the "
                f"table '{source}' (second: '{name}'); choose another table"
            )
        renamed[new] = value
    return renamed
