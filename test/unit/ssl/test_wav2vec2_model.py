"""wav2vec 2.0 pretraining model: loss, invariances, counters, gauges."""

import pytest
import torch
import yaml
from training_factories import make_config, make_items
from wav2vec2_factories import collated, make_wav2vec2, wav2vec2_config

from espnet2_dq.errors import CheckpointError, CollapseError, ConfigError, DataError
from espnet2_dq.ssl.build import build_ssl_model, load_ssl_model
from espnet2_dq.ssl.wav2vec2_loss import scale_gradient, scatter_rows


def make_batch(model, *lengths, first=0):
    batch = collated(model, make_items(*lengths)[first:])
    batch.pop("counts")
    return batch


def gradients(model, batches, totals=None):
    model.zero_grad()
    for batch in batches:
        model(**batch, totals=totals)[0].backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}


def test_loss_is_the_weighted_sum_of_the_terms_in_the_log():
    model = make_wav2vec2(large=True)
    loss, stats, weight = model(**make_batch(model, 16000, 24000, 20000))
    expected = stats["loss_contrastive"] + 0.1 * stats["loss_diversity"]
    expected = expected + 10.0 * stats["loss_penalty"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert stats["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert weight == 3


def test_every_parameter_gets_a_gradient():
    model = make_wav2vec2(large=True)
    model(**make_batch(model, 16000, 24000))[0].backward()
    grads = {n: p.grad for n, p in model.named_parameters()}
    assert [n for n, g in grads.items() if g is None] == []
    assert all(g.isfinite().all() for g in grads.values())
    for part in ("quantizer.weight_proj", "quantizer.codevectors", "frontend.layers.0"):
        total = sum(g.abs().sum() for n, g in grads.items() if n.startswith(part))
        assert total > 0, part


def test_statistics_have_the_same_keys_at_every_call():
    model = make_wav2vec2(gauge_interval=2)
    batch = make_batch(model, 16000, 24000)
    keys = [list(model(**batch)[1])]
    model.on_update()
    keys.append(list(model(**batch)[1]))
    model.eval()
    keys.append(list(model(**batch)[1]))
    assert keys[0] == keys[1] == keys[2]
    assert {"gumbel_perplexity_g1", "gumbel_codes_g2", "temperature"} <= set(keys[0])


def test_two_half_batches_make_the_gradient_of_the_whole_one():
    """Contrastive term and penalty are exact; codes are fixed (evaluation mode)."""
    model = make_wav2vec2(large=True, diversity_weight=0.0).eval()
    lengths = (16000, 24000, 20000, 30000)
    whole = collated(model, make_items(*lengths))
    halves = [
        collated(model, make_items(*lengths)[:2]),
        collated(model, make_items(*lengths)[2:]),
    ]
    totals = sum(half.pop("counts") for half in halves)
    assert torch.equal(totals, whole.pop("counts"))
    one = gradients(model, [whole])
    two = gradients(model, halves, totals)
    for name, gradient in one.items():
        # a bias of the keys changes nothing: its gradient is rounding only
        tolerance = 2e-4 * gradient.abs().max() + 1e-8
        assert (gradient - two[name]).abs().max() < tolerance, name


def test_diversity_of_micro_batches_counts_by_their_masked_frames():
    model = make_wav2vec2(large=True).eval()
    batches, diversity, counts = [], [], []
    for lengths in ((16000, 24000), (30000,)):
        batch = collated(model, make_items(*lengths))
        counts.append(batch.pop("counts"))
        batches.append(batch)
        diversity.append(model(**batch)[1]["loss_diversity"])
    totals = sum(counts)
    with_it = sum(model(**b, totals=totals)[0] for b in batches)
    without = make_wav2vec2(large=True, diversity_weight=0.0).eval()
    without.load_state_dict(model.state_dict())
    rest = sum(without(**b, totals=totals)[0] for b in batches)
    shares = [c[0] / totals[0] for c in counts]
    expected = 0.1 * sum(s * d for s, d in zip(shares, diversity, strict=True))
    assert (with_it - rest).item() == pytest.approx(expected.item(), abs=1e-4)


def test_batch_mates_do_not_change_an_utterances_loss():
    model = make_wav2vec2(large=True).eval()
    whole, single = make_batch(model, 16000, 30000), make_batch(model, 16000)
    with torch.no_grad():
        terms = []
        for batch in (whole, single):
            passes = model.encode_masked(**batch)
            terms.append(model._terms(passes)[0])
    count = len(terms[1].contrastive.loss)
    assert count > 10
    difference = terms[0].contrastive.loss[:count] - terms[1].contrastive.loss
    assert difference.abs().max() < 1e-4


def test_what_padding_holds_does_not_matter():
    model = make_wav2vec2(large=True).eval()
    batch = make_batch(model, 16000, 30000)
    dirty = {**batch, "speech": batch["speech"].clone()}
    dirty["speech"][0, 16000:] = 100.0
    assert model(**batch)[0].item() == pytest.approx(model(**dirty)[0].item(), rel=1e-6)


def test_penalty_is_the_mean_square_of_the_convolutions_before_their_last_norm():
    model = make_wav2vec2(large=True).eval()
    batch = make_batch(model, 16000)
    seen = []
    hook = model.frontend.final_norm.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    stats = model(**batch)[1]
    hook.remove()
    assert stats["loss_penalty"].item() == pytest.approx(
        seen[0].square().mean().item(), rel=1e-5
    )


def test_gradient_into_the_convolutions_is_scaled_also_the_penaltys():
    grads = {}
    for factor in (1.0, 0.1):
        model = make_wav2vec2(large=True, feature_grad_mult=factor).eval()
        grads[factor] = gradients(model, [make_batch(model, 16000)])
    for name, full in grads[1.0].items():
        expected = full * (0.1 if name.startswith("frontend.layers.") else 1.0)
        tolerance = 1e-4 * expected.abs().max() + 1e-7
        assert (grads[0.1][name] - expected).abs().max() < tolerance, name
    frozen = make_wav2vec2(feature_grad_mult=0.0)
    without = {n for n, p in frozen.named_parameters() if not p.requires_grad}
    assert without == {
        n for n, _ in frozen.named_parameters() if n.startswith("frontend.layers.")
    }


def test_autocast_stays_close():
    plain = make_wav2vec2(large=True).eval()
    mixed = make_wav2vec2(large=True, autocast="bfloat16").eval()
    batch = make_batch(plain, 16000, 24000)
    one, two = plain(**batch)[1], mixed(**batch)[1]
    # a code near a border may be another one, which the contrastive loss notices
    for name, share in (("loss_penalty", 0.02), ("loss_contrastive", 0.2)):
        assert one[name].item() == pytest.approx(two[name].item(), rel=share)
    assert mixed.quantize(mixed.encode_masked(**batch)).quantized.dtype == torch.float32


def test_on_update_counts_and_cools():
    model = make_wav2vec2(
        quantizer={
            "codes": 10,
            "dim": 12,
            "temperature_decay": 0.5,
            "temperature_end": 0.6,
        }
    )
    batch = make_batch(model, 16000)
    seen = []
    for _ in range(3):
        seen.append(model(**batch)[1]["temperature"].item())
        model.on_update()
    assert seen == pytest.approx([2.0, 1.0, 0.6])
    assert int(model.num_updates) == 3


def test_a_collapsed_quantizer_stops_the_run_by_name():
    health = {"warn_after": 0, "stop_after": 0, "patience": 2}
    model = make_wav2vec2(large=True, health=health, gauge_interval=1)
    with torch.no_grad():
        model.quantizer.weight_proj.weight.zero_()
        model.quantizer.weight_proj.bias.view(2, 10)[0, 3] = 100.0
    batch = make_batch(model, 16000, 24000)

    def run():
        for _ in range(3):
            model(**batch)
            model.on_update()

    with pytest.raises(CollapseError, match="Gumbel quantizer group 1: uses 1 code"):
        run()


def test_codes_and_layers_have_the_promised_shapes():
    model = make_wav2vec2(large=True).eval()
    batch = make_batch(model, 16000, 24000)
    codes = model.extract_codes(batch["speech"], batch["speech_lengths"])
    frames = model.frame_grid.num_frames(24000)
    assert codes.language is None
    assert codes.phoneme.shape == (2, frames, 2)
    assert (codes.phoneme[0, codes.lengths[0] :] == -1).all()
    assert (codes.phoneme[0, : codes.lengths[0]] >= 0).all()
    layers, lengths = model.layer_features(batch["speech"], batch["speech_lengths"])
    assert [tuple(x.shape) for x in layers] == [(2, frames, 24)] * 4
    assert torch.equal(lengths, codes.lengths)
    with pytest.raises(ConfigError, match="no teacher"):
        model.layer_features(batch["speech"], batch["speech_lengths"], teacher=True)


def test_state_is_complete_and_loads(tmp_path):
    model = make_wav2vec2(seed=1)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(wav2vec2_config()))
    model.on_update()
    torch.save(model.state_dict(), tmp_path / "latest.pth")
    loaded, _ = load_ssl_model(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(CheckpointError, match=r"9epoch\.pth: not found"):
        load_ssl_model(tmp_path, "9epoch.pth")


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="'negative'.*Did you mean 'negatives'"):
        make_wav2vec2(negative=3)
    with pytest.raises(ConfigError, match="'teacher'"):
        make_wav2vec2(teacher={})
    with pytest.raises(ConfigError, match=r"quantizer: unknown key 'vars'"):
        make_wav2vec2(quantizer={"vars": 3})
    with pytest.raises(ConfigError, match="objective: unknown key 'wav2vec'"):
        build_ssl_model({**wav2vec2_config(), "objective": "wav2vec"})
    log_mel = {**make_config(), "objective": "wav2vec2", "model_conf": {}}
    with pytest.raises(ConfigError, match="feature_penalty: 10.0"):
        build_ssl_model(log_mel)
    build_ssl_model({**log_mel, "model_conf": {"feature_penalty": 0.0}})
    model = make_wav2vec2()
    batch = make_batch(model, 16000)
    with pytest.raises(DataError, match="span_mask has shape"):
        model(batch["speech"], batch["speech_lengths"], batch["span_mask"][:, :-3])


def test_rows_come_back_to_their_places():
    mask = torch.tensor([[True, False, True], [False, True, False]])
    x = torch.randn(2, 3, 4, requires_grad=True)
    placed = scatter_rows(x[mask], mask)
    assert torch.equal(placed, x * mask[..., None])
    placed.sum().backward()
    assert torch.equal(x.grad, mask[..., None].expand(2, 3, 4).float())
    y = torch.ones(3, requires_grad=True)
    scale_gradient(y, 0.25).sum().backward()
    assert torch.equal(y.grad, torch.full((3,), 0.25))
