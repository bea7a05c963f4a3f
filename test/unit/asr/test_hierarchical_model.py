"""Losses, statistics, freezing and padding of the two-head model."""

import pytest
import torch
from hier_factories import TOKEN_LISTS, ids_of, one_of
from torch.nn import functional as F

from espnet2_dq.asr.ctc_head import split_words, word_errors
from espnet2_dq.errors import ConfigError

BOTH = ("grapheme", "syllable")


def expected_losses(model, batch):
    """Sum of torch's CTC losses per head, from the posteriors."""
    posteriors, lengths = model.posteriors(batch["speech"], batch["speech_lengths"])
    return {
        head: F.ctc_loss(
            log_probs.nan_to_num(neginf=-1e4).transpose(0, 1),
            batch[head].clamp(min=0),
            lengths,
            batch[f"{head}_lengths"],
            reduction="sum",
        ).item()
        for head, log_probs in posteriors.items()
    }


@pytest.mark.parametrize("subsample", [1, 2])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_weighted_loss(make_hier, hier_batch, weight, subsample) -> None:
    conf = {"syllable_weight": weight, "subsample": subsample}
    model = make_hier(model_conf=conf).eval()
    loss, stats, words = model(**hier_batch)
    sums = expected_losses(model, hier_batch)
    total = weight * sums["syllable"] + (1 - weight) * sums["grapheme"]
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)
    for head in BOTH:
        assert stats[f"loss_{head}"].item() == pytest.approx(sums[head] / 3, rel=1e-5)
    assert words.item() == 4  # reference words, so that wer is the set's rate


def test_unweighted_sum_is_twice_an_equal_weighting(make_hier, hier_batch) -> None:
    """K-wav2vec's code against the paper's formula (METHODS 7.2)."""
    grads = {}
    for name in ("weighted", "sum"):
        model = make_hier(model_conf={"loss": name}).train()
        loss = model(**hier_batch)[0]
        loss.backward()
        grads[name] = loss.item(), {n: p.grad for n, p in model.named_parameters()}
    assert grads["sum"][0] == pytest.approx(2 * grads["weighted"][0], rel=1e-6)
    for name, grad in grads["weighted"][1].items():
        if grad is not None:
            torch.testing.assert_close(grads["sum"][1][name], 2 * grad)


@pytest.mark.parametrize(
    ("heads", "layers", "blocks"),
    [
        (("grapheme",), 2, 0),
        (("syllable",), 0, 0),
        (("syllable",), 2, 2),
        (BOTH, 2, 2),
        (BOTH, 0, 0),
    ],
)
def test_variants(make_hier, hier_batch, heads, layers, blocks) -> None:
    model = make_hier(heads, model_conf={"additional_layers": layers}).eval()
    assert model.heads == heads
    assert model.main == heads[-1]
    assert list(model.token_lists) == list(heads)
    found = len(model.additional.blocks) if model.additional else 0
    assert found == blocks
    loss, _, _ = model(**hier_batch)
    sums = expected_losses(model, hier_batch)
    assert list(sums) == list(heads)
    share = 1 if len(heads) == 1 else 0.5
    assert loss.item() == pytest.approx(share * sum(sums.values()) / 3, rel=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_additional_layers_are_the_encoders_own_kind(make_hier, pre_norm) -> None:
    """The reference stacks plain blocks on the output (trained mode, no LayerDrop)."""
    changes = {
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 32,
            "num_blocks": 1,
            "normalize_before": pre_norm,
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "layer_drop_rate": 0.9,
            "positional": {"kernel": 7, "groups": 2},
        }
    }
    model = make_hier(**changes).train()
    frames = torch.randn(2, 9, 16)
    lengths = torch.tensor([9, 4])
    found = model.additional(frames, lengths)
    assert torch.equal(found, model.additional(frames, lengths))  # nothing drops
    block, ours = model.encoder.blocks[0], model.additional.blocks[0]
    assert type(block) is type(ours)
    shapes = {n: p.shape for n, p in block.named_parameters()}
    assert {n: p.shape for n, p in ours.named_parameters()} == shapes
    assert ours.normalize_before == pre_norm
    expected = frames[1:, :4]
    for layer in model.additional.blocks:
        expected = layer(expected)[0]
    if pre_norm:
        expected = model.additional.layer_norm(expected)
    torch.testing.assert_close(found[1:, :4], expected, rtol=1e-5, atol=1e-5)
    assert not found[1, 4:].any()


def test_padding_and_batch_mates_do_not_matter(make_hier, hier_batch) -> None:
    model = make_hier(model_conf={"subsample": 2}).train()
    alone = [model(**one_of(hier_batch, i))[0].item() for i in range(3)]
    expected = pytest.approx(sum(alone) / 3, rel=1e-5)
    assert model(**hier_batch)[0].item() == expected
    noisy = {k: v.clone() for k, v in hier_batch.items()}
    noisy["speech"][2, 5000:] = 3.0
    noisy["grapheme"][2, 2:] = 5
    noisy["syllable"][2, 1:] = 5
    assert model(**noisy)[0].item() == expected


@pytest.mark.parametrize("subsample", [1, 2])
def test_posteriors_of_a_batch_are_those_of_single_sounds(
    make_hier, hier_batch, subsample
) -> None:
    """Also when padding holds noise; padded frames can only be blank (trap T13)."""
    model = make_hier(model_conf={"subsample": subsample}).eval()
    speech = hier_batch["speech"].clone()
    speech[2, 3920:] = 1.0
    lengths = hier_batch["speech_lengths"]
    batched, frames = model.posteriors(speech, lengths)
    assert frames.tolist() == [-(-n // subsample) for n in (49, 30, 12)]
    for i, (samples, count) in enumerate(zip(lengths, frames)):
        single, one_length = model.posteriors(
            speech[i : i + 1, :samples], samples[None]
        )
        assert one_length.tolist() == [count]
        for head in BOTH:
            found = batched[head][i]
            torch.testing.assert_close(
                found[:count], single[head][0], rtol=1e-4, atol=1e-5
            )
            sums = found.exp().sum(-1)
            torch.testing.assert_close(sums, torch.ones_like(sums))
            assert (found[count:].argmax(-1) == 0).all()
            assert (found[count:, 1:] == -torch.inf).all()


def test_loss_of_an_update_does_not_depend_on_its_batches(
    make_hier, hier_batch
) -> None:
    model = make_hier().train()
    whole, parts = {}, {}
    totals = torch.tensor([0.0, 0.0, 3.0])
    for grads, batches, scale in (
        (whole, [hier_batch], 1.0),
        (parts, [one_of(hier_batch, i) for i in range(3)], 3.0),
    ):
        model.zero_grad()
        for part in batches:
            loss, _, _ = model(**part, totals=totals, loss_scale=torch.tensor(scale))
            (loss / len(batches)).backward()  # ESPnet divides by accum_grad
        grads.update({n: p.grad for n, p in model.named_parameters()})
    assert whole["additional.blocks.1.fc1.weight"].abs().sum() > 0
    for name, grad in whole.items():
        if grad is not None:
            torch.testing.assert_close(parts[name], grad, rtol=1e-3, atol=1e-4)


def test_statistics_have_the_same_keys_in_both_modes(make_hier, hier_batch) -> None:
    model = make_hier()
    _, training, weight = model.train()(**hier_batch)
    _, evaluation, _ = model.eval()(**hier_batch)
    assert list(training) == list(evaluation)
    gauges = [
        f"{name}_{head}" for head in BOTH for name in ("blank_ratio", "impossible")
    ]
    assert set(gauges) <= set(training)
    assert {"loss", "ter_grapheme", "ter_syllable", "wer", "delayed"} <= set(training)
    assert weight.item() == 3


def say(model, head, token: str) -> None:
    """Make a head answer ``token`` in every frame."""
    with torch.no_grad():
        layer = model.ctc_heads[head].ctc_lo
        layer.weight.zero_()
        layer.bias.zero_()
        layer.bias[TOKEN_LISTS[head].index(token)] = 9.0


def test_error_rates_of_known_output(make_hier, hier_batch) -> None:
    """References are 가나 다, 값 and 나; four words, six syllables with the space."""
    model = make_hier().eval()
    say(model, "syllable", "나")
    say(model, "grapheme", "<blank>")
    _, stats, weight = model(**hier_batch)
    assert weight.item() == 4
    assert stats["wer"].item() == pytest.approx(3 / 4)  # one utterance is right
    assert stats["ter_syllable"].item() == pytest.approx((3 + 1 + 0) / 6)
    assert stats["ter_grapheme"].item() == 1.0
    assert stats["blank_ratio_grapheme"].item() == 1.0
    assert stats["blank_ratio_syllable"].item() == 0.0


def test_wer_of_a_set_does_not_depend_on_its_batches(make_hier, hier_batch) -> None:
    """The weight is what makes the average of batches the rate of the set."""
    model = make_hier().eval()
    say(model, "syllable", "나")
    _, whole, _ = model(**hier_batch)
    parts = [model(**one_of(hier_batch, i)) for i in range(3)]
    errors = sum(stats["wer"].item() * weight.item() for _, stats, weight in parts)
    assert errors / sum(w.item() for _, _, w in parts) == pytest.approx(
        whole["wer"].item()
    )
    plain = sum(stats["wer"].item() for _, stats, _ in parts) / 3
    assert plain != pytest.approx(whole["wer"].item())


def test_grapheme_model_is_selected_by_its_own_words(make_hier, hier_batch) -> None:
    model = make_hier(("grapheme",)).eval()
    say(model, "grapheme", "<blank>")
    _, stats, weight = model(**hier_batch)
    assert (stats["wer"].item(), weight.item()) == (1.0, 4)


def test_words_split_at_spaces() -> None:
    space = 7
    assert split_words([7, 1, 7, 7, 2, 3, 7], space) == [(1,), (2, 3)]
    assert split_words([], space) == []
    found, expected = [[1, 7, 2], [1]], [[1, 2], [1, 7, 1]]
    assert word_errors(found, expected, space) == (2 + 1, 3)
    assert word_errors(found, expected, None) == (2, 2)


def test_impossible_targets_are_counted_per_head(make_hier, hier_batch) -> None:
    model = make_hier().train()
    hier_batch["syllable"] = torch.full((3, 20), 4)
    hier_batch["syllable_lengths"] = torch.tensor([4, 2, 20])  # 39 frames, 12 there
    loss, stats, _ = model(**hier_batch)
    assert stats["impossible_syllable"].item() == pytest.approx(1 / 3)
    assert stats["impossible_grapheme"].item() == 0.0
    assert torch.isfinite(loss).all()


def test_encoder_rests_until_its_update(make_hier, hier_batch) -> None:
    """METHODS 7.1: both heads and the additional layers train meanwhile."""
    model = make_hier(model_conf={"freeze_updates": 2}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    optimizer.register_step_post_hook(lambda *_: model.on_update())
    fresh = ("ctc_heads.", "additional.")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    span = torch.zeros(3, 49, dtype=torch.bool)
    span[:, :5] = True
    for update in range(3):
        loss, stats, _ = model(**hier_batch, span_mask=span)
        assert stats["frozen"].item() == (update < 2)
        loss.backward()
        for name, parameter in model.named_parameters():
            if update < 2 and not name.startswith(fresh):
                assert parameter.grad is None, name
            else:
                assert parameter.grad.abs().sum() > 0, name
        optimizer.step()
        optimizer.zero_grad()
        if update < 2:
            now = dict(model.named_parameters())
            for name in before:
                same = torch.equal(now[name], before[name])
                assert same != name.startswith(fresh), name


def test_syllables_join_after_their_delay(make_hier, hier_batch) -> None:
    conf = {"syllable_delay_updates": 1, "syllable_weight": 0.25}
    model = make_hier(model_conf=conf, time_mask=None).train()
    loss, stats, _ = model(**hier_batch)
    loss.backward()
    assert stats["delayed"].item() == 1
    assert loss.item() == pytest.approx(0.75 * stats["loss_grapheme"].item())
    for name, parameter in model.named_parameters():
        rests = name.startswith(("additional.", "ctc_heads.syllable."))
        rests |= not parameter.requires_grad
        assert (parameter.grad is None) == rests, name
    model.on_update()
    model.zero_grad()
    loss, stats, _ = model(**hier_batch)
    loss.backward()
    assert stats["delayed"].item() == 0
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.num_updates.zero_()
    full = model.eval()(**hier_batch)[0].item()  # validation never leaves it out
    assert full == pytest.approx(loss.item(), rel=1e-5)


def test_espnet_sees_a_ctc_model_of_the_main_head(make_hier, hier_batch) -> None:
    model = make_hier().eval()
    speech = hier_batch["speech"], hier_batch["speech_lengths"]
    frames, lengths = model.encode(*speech)
    posteriors, _ = model.posteriors(*speech)
    found = model.ctc.log_softmax(frames)
    for i, count in enumerate(lengths):
        torch.testing.assert_close(
            found[i, :count], posteriors["syllable"][i, :count], rtol=1e-5, atol=1e-5
        )
    assert model.token_list == TOKEN_LISTS["syllable"]
    names = [n for n in model.state_dict() if "ctc_lo.weight" in n]
    assert names == [f"ctc_heads.{head}.ctc_lo.weight" for head in BOTH]


def test_learning_rates(make_hier) -> None:
    model = make_hier(model_conf={"head_lr_scale": 10.0, "additional_lr_scale": 2.0})
    scales = model.lr_scales()
    for name, _ in model.named_parameters():
        found = [scale for prefix, scale in scales.items() if name.startswith(prefix)]
        expected = {"ctc_heads": [10.0], "additional": [2.0]}
        assert found == expected.get(name.split(".")[0], [])


def test_bfloat16_stays_close(make_hier, hier_batch) -> None:
    plain = make_hier().train()(**hier_batch)[0].item()
    mixed = make_hier(model_conf={"autocast": "bfloat16"}).train()(**hier_batch)[0]
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(plain, rel=2e-2)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"heads": []}, r"heads: \[\]"),
        ({"heads": ["syllable", "grapheme"]}, r"\[grapheme, syllable\]"),
        ({"heads": ["jamo"]}, "jamo"),
        ({"syllable_weight": 1.5}, "syllable_weight: 1.5"),
        ({"loss": "mean"}, "mean"),
        ({"additional_layer": 3}, "Did you mean 'additional_layers'"),
        ({"additional_layers": -1}, "additional_layers: -1"),
        ({"additional_dropouts": {"activation": 1.0}}, "activation: 1.0"),
        ({"heads": ["syllable"], "syllable_delay_updates": 3}, "nothing would train"),
        ({"additional_lr_scale": 0.0}, "additional_lr_scale: 0.0"),
    ],
)
def test_configuration_errors_name_the_key(make_hier, conf, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_hier(model_conf=conf)


def test_missing_targets_are_named(make_hier, hier_batch) -> None:
    del hier_batch["grapheme"]
    with pytest.raises(ConfigError, match="no targets 'grapheme'"):
        make_hier()(**hier_batch)


def test_no_word_in_a_batch_is_no_division_by_zero(make_hier, hier_batch) -> None:
    model = make_hier().eval()
    batch = one_of(hier_batch, 2)
    batch["syllable"] = torch.tensor([ids_of("syllable", "가 나")[1:2]])
    _, stats, weight = model(**batch)
    assert weight.item() == 1
    assert torch.isfinite(stats["wer"])
