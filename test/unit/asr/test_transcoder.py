"""The TransCoder: what goes into its loss, and what its configuration refuses."""

import pytest
import torch
from transcoder_factories import CHARACTERS, OFF, PHONES, SMALL, make_batch, tiny_model
from transcoder_factories import save_model as save

from espnet2_dq.asr.phone_noise import PhoneNoise
from espnet2_dq.asr.transcoder import build_transcoder, full_model_conf, load_transcoder
from espnet2_dq.errors import CheckpointError, ConfigError

SHORT, LONG = ("<xx> a b", "A B"), ("<yy> a b c d c b a", "A B <space> C D C")


def loss_of(model, *pairs):
    loss, stats, weight = model(**make_batch(*pairs))
    return float(loss.detach()), stats, int(weight)


def test_loss_is_the_cross_entropy_of_characters_and_end_per_sentence():
    model = tiny_model()
    batch = make_batch(SHORT)
    frames, lengths = model.encode(batch["src_text"], batch["src_text_lengths"])
    eos = model.eos
    given = torch.cat([torch.tensor([[eos]]), batch["text"]], dim=1)
    logits, _ = model.decoder(frames, lengths, given, torch.tensor([3]))
    wanted = torch.cat([batch["text"], torch.tensor([[eos]])], dim=1)
    picked = logits.log_softmax(-1).gather(2, wanted.unsqueeze(2))
    loss, stats, weight = loss_of(model, SHORT)
    assert loss == pytest.approx(-float(picked.sum().detach()), abs=1e-4)
    assert weight == 1
    assert set(stats) == {"loss", "acc"}


def test_batch_mates_and_padding_change_nothing():
    model = tiny_model()
    alone = [loss_of(model, pair)[0] for pair in (SHORT, LONG)]
    together, _, weight = loss_of(model, SHORT, LONG)
    assert weight == 2
    assert together == pytest.approx(sum(alone) / 2, abs=1e-4)


def test_language_tag_matters():
    model = tiny_model()
    assert loss_of(model, SHORT)[0] != pytest.approx(
        loss_of(model, ("<yy> a b", "A B"))[0], abs=1e-4
    )


def test_noise_is_in_training_only():
    plain, noisy = tiny_model(noise=PhoneNoise(**OFF)), tiny_model()
    assert plain.conf.noise.off
    assert not noisy.conf.noise.off
    expected = loss_of(plain, LONG)[0]
    assert loss_of(noisy, LONG)[0] == expected
    assert loss_of(plain.train(), LONG)[0] == pytest.approx(expected, abs=1e-4)
    noisy.train()
    losses = {round(loss_of(noisy, LONG)[0], 3) for _ in range(20)}
    assert len(losses) > 3


def test_every_parameter_learns():
    model = tiny_model().train()
    model(**make_batch(SHORT, LONG))[0].backward()
    idle = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum()
    ]
    # softmax does not see what is added to all keys alike
    assert [name for name in idle if not name.endswith("linear_k.bias")] == []


def test_mixed_precision_gives_nearly_the_same_loss_in_fp32():
    plain, mixed = tiny_model(), tiny_model(autocast="bfloat16")
    loss, stats, _ = mixed(**make_batch(SHORT, LONG))
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(
        loss_of(plain, SHORT, LONG)[0], rel=0.02
    )
    with torch.autocast("cpu", torch.bfloat16):
        batch = make_batch(SHORT)
        frames, lengths = mixed.encode(batch["src_text"], batch["src_text_lengths"])
        logits, _ = mixed.decoder(frames, lengths, batch["text"], batch["text_lengths"])
    assert logits.dtype == torch.float32


def test_saved_model_is_loaded(tmp_path):
    model = tiny_model(seed=3)
    save(tmp_path / "m", model)
    loaded = load_transcoder(tmp_path / "m")
    assert not loaded.training
    assert loss_of(loaded, LONG)[0] == loss_of(model, LONG)[0]


def test_best_epoch_is_preferred_and_others_can_be_named(tmp_path):
    latest, best = tiny_model(seed=1), tiny_model(seed=2)
    save(tmp_path / "m", latest)
    torch.save(best.state_dict(), tmp_path / "m" / "valid.acc.best.pth")
    losses = [
        loss_of(load_transcoder(tmp_path / "m", name), LONG)[0]
        for name in (None, "latest.pth")
    ]
    assert losses == [loss_of(best, LONG)[0], loss_of(latest, LONG)[0]]


def test_a_checkpoint_of_another_size(tmp_path):
    save(tmp_path / "m", tiny_model())
    torch.save(tiny_model(width=8).state_dict(), tmp_path / "m" / "latest.pth")
    with pytest.raises(CheckpointError, match=r"latest\.pth does not fit"):
        load_transcoder(tmp_path / "m")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 15}, r"model_conf\.width: 15"),
        ({"width": 16, "attention_heads": 3}, "multiple of attention_heads .3"),
        ({"kernel": 0}, r"model_conf\.kernel: 0"),
        ({"dropout": 1.0}, r"model_conf\.dropout: 1\.0"),
        ({"encoder_layers": 0}, r"model_conf\.encoder_layers: 0"),
        ({"heads": 4}, "unknown key 'heads'"),
        ({"autocast": "float16"}, "not one of"),
    ],
)
def test_configurations_that_cannot_be(values, message):
    config = {"src_token_list": PHONES, "token_list": CHARACTERS, "model_conf": values}
    with pytest.raises(ConfigError, match=message):
        build_transcoder(config)


def test_a_configuration_of_another_model():
    with pytest.raises(ConfigError, match="src_token_list: no tokens"):
        build_transcoder({"token_list": CHARACTERS})


def test_written_out_configuration_builds_the_same_model():
    conf = full_model_conf({**SMALL, "noise": OFF})
    assert full_model_conf(conf) == conf
    assert conf["kernel"] == 5
    assert conf["noise"] == OFF
