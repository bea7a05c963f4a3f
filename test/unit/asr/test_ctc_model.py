"""Loss, statistics, masks, freezing and learning rates of the CTC model."""

import pytest
import torch
from torch.nn import functional as F

from espnet2_dq.errors import ConfigError


def one(batch, index):
    """Utterance ``index`` of the batch, unpadded."""
    samples, tokens = batch["speech_lengths"][index], batch["text_lengths"][index]
    return {
        "speech": batch["speech"][index : index + 1, :samples],
        "speech_lengths": samples[None],
        "text": batch["text"][index : index + 1, :tokens],
        "text_lengths": tokens[None],
    }


@pytest.mark.parametrize("subsample", [1, 2])
def test_loss_is_torch_ctc_per_utterance(make_model, batch, subsample) -> None:
    model = make_model(model_conf={"subsample": subsample}).eval()
    loss, stats, weight = model(**batch)
    frames, lengths = model.encode(batch["speech"], batch["speech_lengths"])
    assert lengths.tolist() == [-(-n // subsample) for n in (49, 30, 12)]
    log_probs = model.ctc.log_softmax(frames).transpose(0, 1)
    expected = F.ctc_loss(
        log_probs,
        batch["text"].clamp(min=0),
        lengths,
        batch["text_lengths"],
        reduction="none",
    )
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert stats["loss"].item() == loss.item()
    assert weight.item() == 7  # reference tokens, so that ter is the set's rate


def test_padding_and_batch_mates_do_not_matter(make_model, batch) -> None:
    model = make_model(model_conf={"subsample": 2}).train()
    alone = [model(**one(batch, i))[0].item() for i in range(3)]
    assert model(**batch)[0].item() == pytest.approx(sum(alone) / 3, rel=1e-5)
    noisy = {k: v.clone() for k, v in batch.items()}
    noisy["speech"][2, 5000:] = 3.0
    noisy["text"][2, 1:] = 5
    assert model(**noisy)[0].item() == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_loss_of_an_update_does_not_depend_on_its_batches(make_model, batch) -> None:
    """What tasks.trainer hands in makes gradients of parts add up to the whole's."""
    model = make_model().train()
    whole, parts = {}, {}
    totals = torch.tensor([0.0, 0.0, 3.0])
    for grads, batches, scale in (
        (whole, [batch], 1.0),
        (parts, [one(batch, i) for i in range(3)], 3.0),
    ):
        model.zero_grad()
        for part in batches:
            loss, _, _ = model(**part, totals=totals, loss_scale=torch.tensor(scale))
            (loss / len(batches)).backward()  # ESPnet divides by accum_grad
        grads.update({n: p.grad for n, p in model.named_parameters()})
    for name, grad in whole.items():
        if grad is not None:
            torch.testing.assert_close(parts[name], grad, rtol=1e-3, atol=1e-4)


def test_statistics_have_the_same_keys_in_both_modes(make_model, batch) -> None:
    model = make_model()
    _, training, weight = model.train()(**batch)
    _, evaluation, _ = model.eval()(**batch)
    assert list(training) == list(evaluation)
    assert list(training) == ["loss", "blank_ratio", "impossible", "ter", "frozen"]
    assert training["ter"].item() == evaluation["ter"].item()  # no dropout here
    assert weight.item() == 3


def test_token_error_rate_of_known_output(make_model, batch) -> None:
    """A head that always says 'a': one token out per utterance."""
    model = make_model().eval()
    with torch.no_grad():
        model.ctc.ctc_lo.weight.zero_()
        model.ctc.ctc_lo.bias[2] = 9.0
    _, stats, _ = model(**batch)
    # references abbc da c against a: 3 + 1 + 1 errors of 7 tokens
    assert stats["ter"].item() == pytest.approx(5 / 7)
    assert stats["blank_ratio"].item() == 0.0
    with torch.no_grad():
        model.ctc.ctc_lo.bias[0] = 99.0
    _, stats, _ = model(**batch)
    assert stats["ter"].item() == 1.0
    assert stats["blank_ratio"].item() == 1.0


def test_impossible_targets_are_counted_and_cost_nothing(make_model, batch) -> None:
    model = make_model().train()
    batch["text"] = torch.full((3, 20), 2)
    batch["text_lengths"] = torch.tensor([4, 2, 20])  # 39 frames needed, 12 there
    loss, stats, _ = model(**batch)
    assert stats["impossible"].item() == pytest.approx(1 / 3)
    assert torch.isfinite(loss).all()


def test_masks_act_in_training_only(make_model, batch) -> None:
    model = make_model()
    span = torch.zeros(3, 49, dtype=torch.bool)
    span[0, 10:20] = True
    channel = torch.zeros(3, 16, dtype=torch.bool)
    channel[0, :4] = True
    masks = {"span_mask": span, "channel_mask": channel}
    model.eval()
    assert model(**batch, **masks)[0].item() == model(**batch)[0].item()
    model.train()
    assert model(**batch, **masks)[0].item() != model(**batch)[0].item()
    alone = model(**one(batch, 1))[0].item()
    second = {"span_mask": span[1:2, :30], "channel_mask": channel[1:2]}
    assert model(**one(batch, 1), **second)[0].item() == alone


def test_backbone_is_frozen_until_its_update(make_model, batch) -> None:
    model = make_model(model_conf={"freeze_updates": 2}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    optimizer.register_step_post_hook(lambda *_: model.on_update())
    backbone = [n for n, _ in model.named_parameters() if not n.startswith("ctc.")]
    span = torch.zeros(3, 49, dtype=torch.bool)
    span[:, :5] = True
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for update in range(3):
        for _ in range(2):  # forward passes do not count, updates do
            loss, stats, _ = model(**batch, span_mask=span)
            assert stats["frozen"].item() == (update < 2)
            loss.backward()
        got = {n: p.grad for n, p in model.named_parameters()}
        assert got["ctc.ctc_lo.weight"].abs().sum() > 0
        for name in backbone:
            if update < 2:
                assert got[name] is None, name
            else:
                assert got[name].abs().sum() > 0, name
        optimizer.step()
        optimizer.zero_grad()
        if update < 2:  # weight decay must not touch what is frozen either
            now = dict(model.named_parameters())
            assert all(torch.equal(now[n], before[n]) for n in backbone)
    assert model.num_updates.item() == 3.0
    assert model.num_updates.is_floating_point()


def test_frozen_waveform_frontend_never_trains(make_model, batch) -> None:
    parts = {"frontend": "waveform", "frontend_conf": {"channels": 8}}
    model = make_model(**parts).train()
    model(**batch)[0].backward()
    for name, parameter in model.frontend.named_parameters():
        assert (parameter.grad is None) == name.startswith("layers."), name
    free = make_model(**parts, model_conf={"freeze_frontend": False}).train()
    free(**batch)[0].backward()
    assert all(p.grad is not None for p in free.frontend.parameters())


def test_without_time_mask_its_vector_is_no_parameter_to_train(
    make_model, batch
) -> None:
    """Every trainable parameter gets a gradient: what multi-GPU training needs."""
    model = make_model(time_mask=None).train()
    model(**batch)[0].backward()
    missing = [
        n for n, p in model.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert missing == []


def test_head_has_its_own_learning_rate(make_model) -> None:
    model = make_model(model_conf={"head_lr_scale": 10.0})
    assert model.lr_scales() == {"ctc.": 10.0}
    assert [n for n, _ in model.named_parameters() if n.startswith("ctc.")] == [
        "ctc.ctc_lo.weight",
        "ctc.ctc_lo.bias",
    ]


def test_bfloat16_backbone_stays_close(make_model, batch) -> None:
    plain = make_model().train()(**batch)[0].item()
    mixed = make_model(model_conf={"autocast": "bfloat16"}).train()(**batch)[0]
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(plain, rel=2e-2)


def test_configuration_errors_name_the_key(make_model) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'subsample'"):
        make_model(model_conf={"subsampel": 2})
    with pytest.raises(ConfigError, match="final_dropout"):
        make_model(model_conf={"final_dropout": 1.0})
    with pytest.raises(ConfigError, match="model_conf.final_dropout"):
        make_model(ctc_conf={"dropout_rate": 0.1})
    with pytest.raises(ConfigError, match="<blank>"):
        make_model(token_list=["a", "<blank>"])
