"""The TransCoder: what goes into its loss, and what its configuration refuses."""

import pytest
import torch
from transcoder_factories import CHARACTERS, OFF, PHONES, SMALL, make_batch, tiny_model
from transcoder_factories import save_model as save

from espnet2_dq.asr.phone_noise import PhoneNoise
from espnet2_dq.asr.transcoder import build_transcoder, full_model_conf, load_transcoder
from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.errors import CheckpointError, ConfigError

SHORT, LONG = ("<xx> a b", "A B"), ("<yy> a b c d c b a", "A B <space> C D C")


def loss_of(model, *pairs):
    loss, stats, weight = model(**make_batch(*pairs))
    return float(loss.detach()), stats, int(weight)


def test_loss_is_that_of_the_decoder_and_of_ctc_per_character():
    model = tiny_model(ctc_weight=0.3)
    batch = make_batch(SHORT)
    frames, lengths = model.encode(batch["src_text"], batch["src_text_lengths"])
    eos = model.eos
    given = torch.cat([torch.tensor([[eos]]), batch["text"]], dim=1)
    logits, _ = model.decoder(frames, lengths, given, torch.tensor([3]))
    wanted = torch.cat([batch["text"], torch.tensor([[eos]])], dim=1)
    picked = logits.log_softmax(-1).gather(2, wanted.unsqueeze(2))
    log_probs = model.ctc.log_softmax(frames)
    assert log_probs.shape == (1, 3 * model.conf.upsampling, len(CHARACTERS))
    (exact,) = ctc_log_probs(log_probs[0], [tuple(batch["text"][0].tolist())])
    loss, stats, weight = loss_of(model, SHORT)
    assert float(stats["loss_att"]) == pytest.approx(-float(picked.mean().detach()))
    assert float(stats["loss_ctc"]) == pytest.approx(-exact / 2, abs=1e-5)
    expected = 0.3 * float(stats["loss_ctc"]) + 0.7 * float(stats["loss_att"])
    assert loss == pytest.approx(expected)
    assert weight == 2
    right = (logits.argmax(-1) == wanted).float().mean()
    assert float(stats["acc"]) == pytest.approx(float(right))


def test_error_rate_is_ctc_s_greedy_one_and_of_evaluation_only():
    model = tiny_model()
    with torch.no_grad():
        model.ctc.weight.zero_()
        model.ctc.bias.zero_()
        model.ctc.bias.view(-1, len(CHARACTERS))[:, CHARACTERS.index("A")] = 9.0
    _, stats, _ = loss_of(model, SHORT, LONG)
    # "A" for "A B" and for "A B <space> C D C": one character right in each
    assert float(stats["ter"]) == pytest.approx(6 / 8)
    assert "ter" not in loss_of(model.train(), SHORT)[1]


def test_more_characters_than_frames_add_nothing_to_ctc():
    model = tiny_model(upsampling=1)
    batch = make_batch(("<xx> a", "A B C D"))
    loss, stats, _ = model(**batch)
    assert float(stats["loss_ctc"]) == 0.0
    loss.backward()
    assert not model.ctc.weight.grad.any()
    assert model.decoder.output_layer.weight.grad.any()


def test_label_smoothing_takes_probability_from_the_reference():
    sure, smooth = tiny_model(), tiny_model(label_smoothing=0.2)
    for model in (sure, smooth):
        with torch.no_grad():
            model.decoder.output_layer.weight.zero_()
            model.decoder.output_layer.bias.zero_()
            model.decoder.output_layer.bias[CHARACTERS.index("A")] = 50.0
    batch = make_batch(("<xx> a", "A"))
    # "A" is certain and right, the end is certain to be wrong: 50 nats
    assert float(sure(**batch)[1]["loss_att"]) == pytest.approx(25.0)
    share = 0.2 * 7 / 8  # of each reference, on characters that have no probability
    expected = (50 * share + 50 * (0.8 + share)) / 2
    assert float(smooth(**batch)[1]["loss_att"]) == pytest.approx(expected)


def test_batch_mates_and_padding_change_nothing():
    model = tiny_model()
    alone = [loss_of(model, pair) for pair in (SHORT, LONG)]
    _, together, weight = loss_of(model, SHORT, LONG)
    assert weight == 2 + 6
    for part, ends in (("loss_ctc", 0), ("loss_att", 1)):
        weights = [characters + ends for _, _, characters in alone]
        losses = [float(stats[part]) for _, stats, _ in alone]
        expected = sum(a * b for a, b in zip(losses, weights)) / sum(weights)
        assert float(together[part]) == pytest.approx(expected, abs=1e-5)
    frames, lengths = model.encode(
        *(make_batch(SHORT, LONG)[f"src_text{end}"] for end in ("", "_lengths"))
    )
    assert (frames[0, int(lengths[0]) :] == 0).all()


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_shapes_repeat_whatever_the_lengths(length):
    model = tiny_model()
    shapes = []
    model.encoder.register_forward_hook(lambda m, i, o: shapes.append(o[0].shape))
    model.decoder.register_forward_hook(lambda m, i, o: shapes.append(o[0].shape))
    phones, characters = " ".join("a" * length), " ".join("A" * length)
    model(**make_batch((f"<xx> {phones}", characters)))
    assert [shape[1] for shape in shapes] == [8 if length < 8 else 16] * 2


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
    kinds = []
    mixed.decoder.register_forward_hook(lambda m, i, o: kinds.append(o[0].dtype))
    loss, _, _ = mixed(**make_batch(SHORT, LONG))
    assert kinds == [torch.bfloat16]
    assert loss.dtype == torch.float32
    expected = loss_of(plain, SHORT, LONG)[0]
    assert float(loss.detach()) == pytest.approx(expected, rel=0.02)


def test_saved_model_is_loaded(tmp_path):
    model = tiny_model(seed=3)
    save(tmp_path / "m", model)
    loaded = load_transcoder(tmp_path / "m")
    assert not loaded.training
    assert loss_of(loaded, LONG)[0] == loss_of(model, LONG)[0]


def test_best_epoch_is_preferred_and_others_can_be_named(tmp_path):
    latest, best = tiny_model(seed=1), tiny_model(seed=2)
    save(tmp_path / "m", latest)
    torch.save(best.state_dict(), tmp_path / "m" / "valid.ter.best.pth")
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
        ({"ctc_weight": 1.0}, r"model_conf\.ctc_weight: 1\.0; between 0 and 1"),
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


def test_sentences_with_too_few_frames_are_counted():
    model = tiny_model(upsampling=1)
    fits, does_not = ("<xx> a b", "A B"), ("<xx> a", "A B A B")
    assert float(loss_of(model, fits)[1]["impossible"]) == 0.0
    assert float(loss_of(model, fits, does_not)[1]["impossible"]) == 0.5
