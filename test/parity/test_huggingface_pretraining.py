"""wav2vec 2.0 pretraining equals Wav2Vec2ForPreTraining, both ways through files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from training_factories import make_items
from wav2vec2_factories import collated, make_wav2vec2, wav2vec2_config

from espnet2_dq.interop.export_hf import export_hf
from espnet2_dq.interop.load import load_weights
from espnet2_dq.interop.rename import rename_keys
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.ssl.contrastive import draw_negatives
from espnet2_dq.ssl.init import initialise, settle_architecture

transformers = pytest.importorskip("transformers")
LENGTHS = (24000, 16000)


def exported(tmp_path: Path, model: Any, *, large: bool, **conf: Any) -> Any:
    """Hugging Face's model, loaded from the directory that we wrote."""
    folder = export_hf(model, wav2vec2_config(large=large, **conf), tmp_path / "hf")
    theirs, report = transformers.Wav2Vec2ForPreTraining.from_pretrained(
        folder, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], report
    return theirs.eval()


def no_noise(logits: torch.Tensor, tau: float, hard: bool, dim: int = -1) -> Any:
    """``F.gumbel_softmax`` without its noise: both sides then choose the same codes."""
    soft = torch.softmax(logits / tau, dim)
    best = torch.zeros_like(logits).scatter_(dim, logits.argmax(dim, keepdim=True), 1.0)
    return best - soft.detach() + soft if hard else soft


def their_negatives(span_mask: torch.Tensor, count: int) -> torch.Tensor:
    """The negatives that our loss draws at update 0, as indices into ``(B * T)``.

    What we leave out points at the positive itself, which Hugging Face then leaves out.
    """
    batch, frames = span_mask.shape
    width = int(span_mask.sum(1).max())
    order = torch.argsort((~span_mask).long(), dim=1, stable=True)[:, :width]
    held = span_mask.gather(1, order)
    drawn, used = draw_negatives(order, held, count, seed=0)
    indices = torch.arange(batch * frames).view(batch, frames, 1).repeat(1, 1, count)
    for row in range(batch):
        for place in range(int(held[row].sum())):
            for draw in torch.nonzero(used[row]).flatten().tolist():
                other = order[row, drawn[row, place, draw]]
                indices[row, order[row, place], draw] = row * frames + other
    return indices


def normalised(batch: dict[str, Any], *, large: bool) -> torch.Tensor:
    """Speech as Hugging Face's feature extractor hands it over (fairseq's epsilon)."""
    speech = batch["speech"].clone()
    for row, length in enumerate(batch["speech_lengths"].tolist() if large else []):
        speech[row, :length] = F.layer_norm(speech[row, :length], (length,))
    return speech


def attention_mask(batch: dict[str, Any]) -> torch.Tensor:
    samples = batch["speech"].shape[1]
    return (torch.arange(samples) < batch["speech_lengths"][:, None]).long()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("large", [False, True])
def test_losses(tmp_path, monkeypatch, seed: int, large: bool) -> None:
    """Contrastive, diversity and their sum, of the same weights, mask and negatives."""
    conf: dict[str, Any] = {"feature_penalty": 0.0, "negatives": 9 + seed}
    model = make_wav2vec2(seed, large=large, **conf).eval()
    theirs = exported(tmp_path, model, large=large, **conf)
    batch = collated(model, make_items(*LENGTHS, 4000))
    counts = batch.pop("counts")
    monkeypatch.setattr(F, "gumbel_softmax", no_noise)
    model.quantizer.train()
    theirs.quantizer.train()
    loss, stats, _ = model(**batch)
    out = theirs(
        normalised(batch, large=large),
        attention_mask=attention_mask(batch),
        mask_time_indices=batch["span_mask"],
        sampled_negative_indices=their_negatives(
            batch["span_mask"], model.conf.negatives
        ),
    )
    masked = counts[0].item()
    for ours, other in (
        (stats["loss_contrastive"], out.contrastive_loss / masked),
        (stats["loss_diversity"], out.diversity_loss / masked),
        (loss, out.loss / masked),
        (stats["prob_perplexity"], out.codevector_perplexity),
    ):
        assert ours.item() == pytest.approx(other.item(), rel=1e-4)


def test_gradients_are_those_of_hugging_face(tmp_path, monkeypatch) -> None:
    conf: dict[str, Any] = {"feature_penalty": 0.0, "feature_grad_mult": 1.0}
    model = make_wav2vec2(3, large=True, **conf).eval()
    theirs = exported(tmp_path, model, large=True, **conf)
    batch = collated(model, make_items(*LENGTHS))
    counts = batch.pop("counts")
    monkeypatch.setattr(F, "gumbel_softmax", no_noise)
    model.quantizer.train()
    theirs.quantizer.train()
    model(**batch)[0].backward()
    out = theirs(
        normalised(batch, large=True),
        attention_mask=attention_mask(batch),
        mask_time_indices=batch["span_mask"],
        sampled_negative_indices=their_negatives(batch["span_mask"], 7),
    )
    (out.loss / counts[0]).backward()
    other = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    other = rename_keys(other, "huggingface")
    for name, parameter in model.named_parameters():
        tolerance = 1e-3 * other[name].abs().max() + 1e-7
        assert (parameter.grad - other[name]).abs().max() < tolerance, name


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_hidden_states_and_quantizer(tmp_path, large: bool, padded: bool) -> None:
    model = make_wav2vec2(4, large=large).eval()
    theirs = exported(tmp_path, model, large=large)
    batch = collated(model, make_items(24000, 16000 if padded else 24000))
    batch.pop("counts")
    mask = batch["span_mask"]
    with torch.no_grad():
        out = theirs(
            normalised(batch, large=large),
            attention_mask=attention_mask(batch) if padded else None,
            mask_time_indices=mask,
            output_hidden_states=True,
        )
        passes = model.encode_masked(**batch)
        states = [passes.encoded.encoder_input, *passes.encoded.layers[:-1]]
        quantized = model.quantize(passes).quantized
        projected = model.project_q(quantized)
        predicted = model.final_proj(passes.encoded.output[mask])
        book = theirs.quantizer(
            theirs.wav2vec2(
                normalised(batch, large=large),
                attention_mask=attention_mask(batch) if padded else None,
            ).extract_features
        )[0]
    for ours, other in zip(states, out.hidden_states[:-1], strict=True):
        for row, count in enumerate(passes.encoded.lengths.tolist()):
            assert (ours[row, :count] - other[row, :count]).abs().max() < 1e-5
    assert (quantized - book[mask]).abs().max() < 1e-5
    assert (projected - out.projected_quantized_states[mask]).abs().max() < 1e-5
    assert (predicted - out.projected_states[mask]).abs().max() < 1e-5


@pytest.mark.parametrize("large", [False, True])
def test_export_and_further_pretraining_are_inverse(tmp_path, large: bool) -> None:
    model = make_wav2vec2(5, large=large)
    model.on_update()
    folder = export_hf(model, wav2vec2_config(large=large), tmp_path / "hf")
    given = {"objective": "wav2vec2", "model_conf": {"negatives": 7}}
    settled = {**given, **settle_architecture(given, folder)}
    norm = settled["frontend_conf"]["normalize_audio"]
    assert norm is large
    again = build_ssl_model(settled)
    reports = initialise(again, folder, min_fraction=1.0)
    assert [r.missing for r in reports] == [[], []]
    ours, loaded = model.state_dict(), again.state_dict()
    assert ours.keys() == loaded.keys()
    for name, value in ours.items():
        if name.startswith(("num_updates", "health")):
            assert loaded[name].abs().sum() == 0
        else:
            assert torch.equal(value, loaded[name]), name


@pytest.mark.parametrize("kind", ["base", "large"])
def test_a_directory_that_transformers_wrote(tmp_path, kind: str) -> None:
    torch.manual_seed(6)
    extra = {}
    if kind == "large":
        extra = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
        extra["conv_bias"] = True
    config = transformers.Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(12,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        num_codevectors_per_group=10,
        codevector_dim=12,
        proj_codevector_dim=8,
        **extra,
    )
    theirs = transformers.Wav2Vec2ForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": kind == "large"})
    )
    given: dict[str, Any] = {"objective": "wav2vec2", "model_conf": {}}
    settled = {**given, **settle_architecture(given, tmp_path)}
    assert settled["model_conf"]["quantizer"] == {"groups": 2, "codes": 10, "dim": 12}
    assert settled["model_conf"]["final_dim"] == 8
    model = build_ssl_model(settled).eval()
    reports = initialise(model, tmp_path, min_fraction=1.0)
    assert [r.unexpected for r in reports] == [[], []]
    batch = collated(model, make_items(24000, 16000))
    with torch.no_grad():
        out = theirs(
            normalised(batch, large=kind == "large"),
            attention_mask=attention_mask(batch),
            mask_time_indices=batch["span_mask"],
        )
        passes = model.encode_masked(
            batch["speech"], batch["speech_lengths"], batch["span_mask"]
        )
        predicted = model.final_proj(passes.encoded.output[batch["span_mask"]])
    other = out.projected_states[batch["span_mask"]]
    assert (predicted - other).abs().max() < 1e-5
    again = make_wav2vec2(7)
    names = rename_keys(again.state_dict(), "to_huggingface")
    assert load_weights(again, names, min_fraction=1.0).fraction == 1.0
