"""The pretraining model: losses, routing, invariances, counters."""

import pytest
import torch
import yaml
from training_factories import make_config, make_items

from espnet2_dq.errors import CheckpointError, ConfigError, DataError
from espnet2_dq.ssl.build import build_ssl_model, load_ssl_model
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig


def make_model(seed=0, **model_conf):
    torch.manual_seed(seed)
    return build_ssl_model(make_config(**model_conf), updates_total=100)


OFF = {"language": {"enable": False}, "phoneme": {"enable": False}}


def make_batch(model, *lengths, first=0):
    items = make_items(*lengths)[first:]
    collate = Collate(model.frame_grid.num_frames, 0, SpanMaskConfig())
    _, batch = collate(items)
    return batch


def total_gradient(model, batches, totals=None):
    model.zero_grad()
    for batch in batches:
        inputs = {k: v for k, v in batch.items() if k != "counts"}
        loss, _, _ = model(**inputs, totals=totals)
        loss.backward()
    return torch.cat(
        [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    )


def test_loss_and_gradients_reach_what_they_should():
    model = make_model()
    batch = make_batch(model, 16000, 24000, 20000)
    batch.pop("counts")
    loss, stats, weight = model(**batch)
    loss.backward()
    assert weight == 3
    assert loss.isfinite()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    assert without == {
        n for n, _ in model.named_parameters() if n.startswith("teacher")
    }
    # Eq. 10 on the terms of the log
    expected = 0.7 * stats["loss_regression"]
    expected += 0.1 * (stats["loss_language"] + stats["loss_language_kmeans"])
    expected += 0.2 * (stats["loss_phoneme"] + stats["loss_phoneme_kmeans"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("off", "share"), [("phoneme", 0.9), ("language", 0.8), ("both", 1.0)]
)
def test_a_branch_switched_off_gives_its_weight_back(off, share):
    names = ("language", "phoneme") if off == "both" else (off,)
    model = make_model(
        **{n: {**make_config()["model_conf"][n], "enable": False} for n in names}
    )
    batch = make_batch(model, 16000, 24000)
    batch.pop("counts")
    loss, stats, _ = model(**batch)
    rest = loss.item() - share * stats["loss_regression"].item()
    terms = [
        stats[k].item()
        for k in stats
        if k.startswith(("loss_language", "loss_phoneme"))
    ]
    assert rest == pytest.approx((1 - share) * sum(terms), abs=1e-4)
    assert not any(n in key for n in names for key in stats)


def test_statistics_have_the_same_keys_at_every_call():
    model = make_model(gauge_interval=2)
    batch = make_batch(model, 16000, 24000)
    batch.pop("counts")
    keys = [list(model(**batch)[1])]
    model.on_update()
    keys.append(list(model(**batch)[1]))
    model.eval()
    keys.append(list(model(**batch)[1]))
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("unmasked_weight", [0.0, 0.5])
def test_two_half_batches_make_the_gradient_of_the_whole_one(unmasked_weight):
    """The update's totals make accumulation and DDP exact (data2vec, phonemes)."""
    conf = make_config()["model_conf"]
    model = make_model(
        language={**conf["language"], "enable": False},
        regression={**conf["regression"], "unmasked_weight": unmasked_weight},
    )
    lengths = (16000, 24000, 20000, 30000)
    whole = make_batch(model, *lengths)
    halves = [make_batch(model, *lengths[:2])]
    halves.append(make_batch(model, *lengths, first=2))
    totals = sum(h["counts"] for h in halves)
    assert torch.equal(totals, whole["counts"])
    one = total_gradient(model, [whole])
    two = total_gradient(model, halves, totals)
    assert (one - two).abs().max() < 1e-5 * one.abs().max()


def test_batch_mates_do_not_change_an_utterances_loss():
    model = make_model(**OFF).eval()
    whole = make_batch(model, 16000, 30000)
    single = make_batch(model, 16000)
    for batch in (whole, single):
        batch.pop("counts")
    with torch.no_grad():
        passes = [model.encode_masked(**b) for b in (whole, single)]
        zeros = [torch.zeros_like(p.student.output) for p in passes]
        for masked in (True, False):
            pairs = [
                model._regress(p, t, masked=masked)[2]
                for p, t in zip(passes, zeros, strict=True)
            ]
            assert (pairs[0][: len(pairs[1])] - pairs[1]).abs().max() < 1e-5


def test_unmasked_frames_count_as_much_as_they_are_told_to():
    conf = make_config()["model_conf"]["regression"]
    losses, terms = [], []
    for weight in (0.0, 0.5):
        regression = {**conf, "unmasked_weight": weight}
        model = make_model(**OFF, regression=regression).eval()
        batch = make_batch(model, 16000, 24000)
        batch.pop("counts")
        loss, stats, _ = model(**batch)
        losses.append(loss.item())
        terms.append(stats)
    assert "loss_regression_unmasked" not in terms[0]
    expected = losses[0] + 0.5 * terms[1]["loss_regression_unmasked"].item()
    assert losses[1] == pytest.approx(expected, rel=1e-5)
    assert terms[1]["loss_regression_unmasked"] > 0


def test_on_update_moves_the_teacher_once_and_counts():
    model = make_model(**OFF, teacher={"decay_start": 0.5, "decay_end": 0.5})
    before = model.teacher.encoder.blocks[0].fc1.weight.clone()
    with torch.no_grad():
        model.encoder.blocks[0].fc1.weight.add_(1.0)
    batch = make_batch(model, 16000, 24000)
    batch.pop("counts")
    model(**batch)  # a forward pass alone moves nothing (trap T1)
    assert torch.equal(model.teacher.encoder.blocks[0].fc1.weight, before)
    model.on_update()
    moved = model.teacher.encoder.blocks[0].fc1.weight - before
    assert moved.allclose(torch.full_like(moved, 0.5))
    assert int(model.num_updates) == 1


def test_teacher_stays_in_evaluation_mode_and_has_no_gradient():
    model = make_model(**OFF).train()
    assert not model.teacher.encoder.training
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_learning_rate_scales_follow_the_revival_settings():
    conf = make_config()["model_conf"]["language"]
    revival = {"projection_lr_scale": 0.1, "codebook_lr_scale": 10.0}
    scales = make_model(language={**conf, "revival": revival}).lr_scales()
    assert scales["language.quantizer.projection"] == 0.1
    assert scales["language.quantizer.codebook"] == 10.0
    assert scales["phoneme.quantizer.codebook"] == 1.0
    block = {"type": "conv", "lr_scale": 3.0}
    scales = make_model(language={**conf, "additional": block}).lr_scales()
    assert scales["language.additional."] == 3.0
    assert scales["phoneme.additional."] == 1.0


def test_codes_have_the_promised_shapes():
    model = make_model().eval()
    batch = make_batch(model, 16000, 24000)
    codes = model.extract_codes(batch["speech"], batch["speech_lengths"])
    frames = model.frame_grid.num_frames(24000)
    assert codes.language.shape == (2, 2)
    assert codes.phoneme.shape == (2, frames, 2)
    assert (codes.phoneme[0, codes.lengths[0] :] == -1).all()
    plain = make_model(**OFF).eval()
    assert (
        plain.extract_codes(batch["speech"], batch["speech_lengths"]).language is None
    )


def test_state_is_complete_and_loads(tmp_path):
    model = make_model(seed=1)
    config = make_config()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    model.on_update()
    torch.save(model.state_dict(), tmp_path / "latest.pth")
    loaded, _ = load_ssl_model(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(CheckpointError, match=r"9epoch\.pth: not found"):
        load_ssl_model(tmp_path, "9epoch.pth")


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="'langauge'.*Did you mean 'language'"):
        make_model(langauge={})
    with pytest.raises(ConfigError, match="top_k: 9; the encoder has 4 layers"):
        make_model(regression={"top_k": 9})
    with pytest.raises(ConfigError, match=r"model_conf\.phoneme: layer 7"):
        make_model(phoneme={"layers": [7], "student_layer": 3})
    model = make_model(**OFF)
    batch = make_batch(model, 16000)
    with pytest.raises(DataError, match="span_mask has shape"):
        model(batch["speech"], batch["speech_lengths"], batch["span_mask"][:, :-3])
