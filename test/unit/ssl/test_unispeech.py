"""UniSpeech: what supervision adds to wav2vec 2.0, and what it must not touch."""

import pytest
import torch
from torch.nn import functional as F
from training_factories import make_items
from wav2vec2_factories import (
    UNISPEECH,
    collated,
    labelled,
    make_unispeech,
    make_wav2vec2,
    wav2vec2_config,
)

from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.interop.hf_config import hf_config

LENGTHS = (16000, 24000, 20000, 30000)
PHONEMES = ([1, 2, 3], [], [4, 4, 5, 1], [])
HEAD = "supervised.phoneme_head."


def make_batch(model, lengths=LENGTHS, phonemes=PHONEMES, rows=slice(None), **mix):
    """Some of the items, with labels; the counts are taken out."""
    batch = collated(model, make_items(*lengths)[rows])
    counts = batch.pop("counts")
    return labelled(batch, phonemes[rows], **mix), counts


def gradients(model, *batches, totals=None):
    model.zero_grad()
    for batch in batches:
        model(**batch, totals=totals)[0].backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}


def assert_close(one, two):
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        # a bias of the keys changes nothing: its gradient is rounding only
        tolerance = 2e-4 * gradient.abs().max() + 1e-8
        assert (gradient - two[name]).abs().max() < tolerance, name


def moved(grads, prefix):
    """Whether any parameter of this name gets a gradient."""
    chosen = [g for n, g in grads.items() if n.startswith(prefix)]
    assert chosen, prefix
    return any(g.abs().sum() > 0 for g in chosen)


def ctc_by_hand(model, batch, row):
    """CTC of one utterance from the mixture written down frame by frame."""
    passes = model.encode_masked(
        batch["speech"], batch["speech_lengths"], batch["span_mask"]
    )
    frames = int(passes.encoded.lengths[row])
    codes = model.quantizer(passes.features[row, :frames], 1.0).quantized
    codes = model.final_proj(model.project_q(codes))
    mixed = [
        codes[t] if batch["mix_frames"][row, t] else passes.encoded.output[row, t]
        for t in range(frames)
    ]
    logits = model.supervised.phoneme_head.linear(torch.stack(mixed))
    phonemes = batch["phn"][row, : batch["phn_lengths"][row]]
    return F.ctc_loss(
        logits.log_softmax(-1)[:, None],
        phonemes[None],
        torch.tensor([frames]),
        torch.tensor([len(phonemes)]),
        reduction="sum",
    )


@pytest.mark.parametrize("transpose", [False, True])
def test_supervision_that_is_off_changes_no_bit(transpose):
    """Also with labels in the batch, and with dropout and the quantizer's noise."""
    dropout = {"dropout_input": 0.1, "dropout_features": 0.1, "transpose": transpose}
    off = {"phoneme": "off", "weight": 0.7, "tokens": 6}
    results = []
    for conf in ({}, {"supervision": off}):
        model = make_wav2vec2(large=True, **dropout, **conf)
        batch, _ = make_batch(model)
        if not conf:
            names = ("speech", "speech_lengths", "span_mask")
            batch = {name: batch[name] for name in names}
        torch.manual_seed(5)
        results.append((model(**batch), gradients(model, batch)))
    (plain, grads), (other, other_grads) = results
    assert torch.equal(plain[0], other[0])
    assert list(plain[1]) == list(other[1])
    assert grads.keys() == other_grads.keys()
    for name, gradient in grads.items():
        assert torch.equal(gradient, other_grads[name]), name


def test_weight_zero_trains_as_without_supervision():
    """Bit for bit, in training mode: the codes of the mixture are drawn afterwards."""
    conf = {"dropout_input": 0.1, "dropout_features": 0.1}
    supervised = make_unispeech(large=True, weight=0.0, **conf)
    plain = make_wav2vec2(large=True, transpose=True, **conf)
    plain.load_state_dict(supervised.state_dict(), strict=False)
    grads = []
    for model in (supervised, plain):
        torch.manual_seed(3)
        grads.append(gradients(model, make_batch(model)[0]))
    for name, gradient in grads[0].items():
        other = grads[1].get(name, torch.zeros_like(gradient))
        assert torch.equal(gradient, other), name
    assert moved(grads[0], "quantizer.")
    assert not moved(grads[0], HEAD)


@pytest.mark.parametrize("ctc_items", ["masked", "utterances"])
def test_loss_is_the_weighted_sum_with_ctc_of_the_mixture(ctc_items):
    model = make_unispeech(large=True, weight=0.3, ctc_items=ctc_items).eval()
    plain = make_wav2vec2(large=True, transpose=True).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    batch, counts = make_batch(model)
    with torch.no_grad():
        loss, stats, _ = model(**batch)
        ctc = sum(ctc_by_hand(model, batch, row) for row in (0, 2))
        expected = 0.7 * plain(**batch)[0]
    expected = expected + 0.3 * ctc / counts[0 if ctc_items == "masked" else 2]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert stats["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    # the log shows CTC per labelled utterance
    assert stats["loss_ctc"].item() == pytest.approx(ctc.item() / 2, rel=1e-5)


def test_every_parameter_gets_a_gradient():
    model = make_unispeech(large=True)
    grads = gradients(model, make_batch(model)[0])
    assert all(g.isfinite().all() for g in grads.values())
    for part in (HEAD, "quantizer.codevectors", "project_q.", "final_proj."):
        assert moved(grads, part), part


def test_a_batch_without_labels_only_trains_the_rest():
    """As a rank of several may get: the head's gradient is zero, but it is there."""
    model = make_unispeech(large=True, weight=0.3)
    batch, _ = make_batch(model)
    nobody, _ = make_batch(model, phonemes=([],) * 4)
    grads = gradients(model, batch)
    torch.manual_seed(0)
    unlabelled = gradients(model, nobody)
    assert moved(grads, HEAD)
    assert not moved(unlabelled, HEAD)
    assert list(model(**batch)[1]) == list(model(**nobody)[1])
    plain = make_wav2vec2(large=True, transpose=True)
    plain.load_state_dict(model.state_dict(), strict=False)
    torch.manual_seed(0)
    rest = gradients(plain, nobody)
    kept = {n: g for n, g in unlabelled.items() if n in rest}
    assert_close(kept, {n: 0.7 * g for n, g in rest.items()})


def only_ctc(model, **mix):
    """Gradients of CTC alone: a weight of 1 leaves nothing of wav2vec 2.0."""
    return gradients(model, make_batch(model, **mix)[0])


def test_all_states_leave_the_quantizer_alone():
    grads = only_ctc(make_unispeech(large=True, weight=1.0), replaced=False)
    assert not moved(grads, "quantizer.")
    assert not moved(grads, "project_q.")
    assert not moved(grads, "final_proj.")
    assert moved(grads, "encoder.blocks.0.")
    assert moved(grads, "frontend.layers.0.")
    assert moved(grads, HEAD)


def test_all_codes_leave_the_encoder_alone():
    grads = only_ctc(make_unispeech(large=True, weight=1.0), replaced=True)
    assert not moved(grads, "encoder.")
    assert not moved(grads, "preencoder.")
    for part in ("quantizer.weight_proj", "quantizer.codevectors", "final_proj."):
        assert moved(grads, part), part
    assert moved(grads, "frontend.layers.0.")


def test_codewords_may_be_kept_from_ctc():
    """R11's switch: the choice of codes still learns, and the contrastive loss acts."""
    kept = {"codebook_gradient": False, "large": True}
    grads = only_ctc(make_unispeech(weight=1.0, **kept), replaced=True)
    assert not moved(grads, "quantizer.codevectors")
    assert moved(grads, "quantizer.weight_proj")
    assert moved(grads, "project_q.")
    assert moved(only_ctc(make_unispeech(weight=0.5, **kept)), "quantizer.codevectors")


def test_utterances_without_labels_are_not_touched_by_ctc():
    """Their speech gets no gradient, replaced frames or not."""
    model = make_unispeech(large=True, weight=1.0).eval()
    batch, _ = make_batch(model)
    batch["speech"].requires_grad_()
    model(**batch)[0].backward()
    touched = batch["speech"].grad.abs().sum(1) > 0
    assert touched.tolist() == [True, False, True, False]


def test_only_codewords_that_are_used_are_looked_up():
    model = make_unispeech(large=True)
    seen = []
    model.quantizer.register_forward_pre_hook(lambda _, rows: seen.append(len(rows[0])))
    batch, counts = make_batch(model)
    batch["mix_frames"][:] = True
    model(**batch)
    frames = [model.frame_grid.num_frames(LENGTHS[row]) for row in (0, 2)]
    assert seen == [counts[0], sum(frames)]


def test_what_padding_holds_does_not_matter():
    model = make_unispeech(large=True).eval()
    batch, _ = make_batch(model)
    dirty = {name: value.clone() for name, value in batch.items()}
    for row, samples in enumerate(LENGTHS):
        dirty["speech"][row, samples:] = 100.0
        dirty["mix_frames"][row, model.frame_grid.num_frames(samples) :] = True
        dirty["phn"][row, batch["phn_lengths"][row] :] = 3
    one, two = gradients(model, batch), gradients(model, dirty)
    assert model(**batch)[0].item() == pytest.approx(model(**dirty)[0].item(), rel=1e-6)
    assert_close(one, two)


def test_batch_mates_do_not_change_an_utterances_ctc():
    model = make_unispeech(large=True).eval()
    whole, single = make_batch(model)[0], make_batch(model, rows=slice(0, 1))[0]
    neighbour = make_batch(model, rows=slice(0, 2))[0]
    with torch.no_grad():
        alone = model(**single)[1]["loss_ctc"].item()
        beside = model(**neighbour)[1]["loss_ctc"].item()
        third = ctc_by_hand(model, whole, 2).item()
        both = model(**whole)[1]["loss_ctc"].item()
    assert beside == pytest.approx(alone, rel=1e-4)
    assert both == pytest.approx((alone + third) / 2, rel=1e-4)


@pytest.mark.parametrize("ctc_items", ["masked", "utterances"])
def test_micro_batches_make_the_gradient_of_the_whole_update(ctc_items):
    """The second has one labelled utterance, the third none."""
    model = make_unispeech(
        large=True, weight=0.4, ctc_items=ctc_items, diversity_weight=0.0
    ).eval()
    whole, counts = make_batch(model)
    parts = [
        make_batch(model, rows=rows) for rows in (slice(0, 1), slice(1, 3), slice(3, 4))
    ]
    totals = sum(part[1] for part in parts)
    assert torch.equal(totals, counts)
    split = gradients(model, *[part[0] for part in parts], totals=totals)
    assert_close(gradients(model, whole), split)


def test_autocast_stays_close():
    plain = make_unispeech(large=True).eval()
    mixed = make_unispeech(large=True, autocast="bfloat16").eval()
    batch, _ = make_batch(plain)
    one, two = plain(**batch)[1], mixed(**batch)[1]
    assert one["loss_ctc"].item() == pytest.approx(two["loss_ctc"].item(), rel=0.05)
    grads = gradients(mixed.train(), batch)
    assert all(g.isfinite().all() for g in grads.values())


def test_it_learns_phonemes_of_a_few_utterances():
    model = make_unispeech(large=True, weight=0.5, feature_penalty=0.0)
    batch, _ = make_batch(model, rows=slice(0, 2))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    seen = []
    for _ in range(40):
        optimizer.zero_grad()
        loss, stats, _ = model(**batch)
        loss.backward()
        optimizer.step()
        model.on_update()
        seen.append(stats["loss_ctc"].item())
    assert sum(seen[-5:]) < 0.5 * sum(seen[:5])


def test_a_batch_stream_without_labels_is_named():
    model = make_unispeech(large=True)
    batch, _ = make_batch(model)
    del batch["phn"], batch["phn_lengths"]
    with pytest.raises(DataError, match=r"no phn.*--supervised_langs.*--token_list"):
        model(**batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transpose": False}, r"model_conf\.transpose: false.*set it to true"),
        ({"supervision": {**UNISPEECH, "language": True}}, "language: true"),
        ({"supervision": {**UNISPEECH, "phoneme": "output"}}, "replace_prob 0"),
        ({"supervision": {**UNISPEECH, "layer": 2}}, "layer 2"),
        ({"supervision": {**UNISPEECH, "weight": 1.5}}, "weight: 1.5; 0 to 1"),
        ({"supervision": {**UNISPEECH, "tokens": 0}}, "tokens: 0; 2 or more"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_wav2vec2(**{"transpose": True, "supervision": UNISPEECH, **changes})


def test_it_is_not_written_for_hugging_face():
    """A matrix of another shape would stand where theirs is expected."""
    config = wav2vec2_config(large=True, transpose=True)
    with pytest.raises(ConfigError, match=r"model_conf\.transpose: true"):
        hf_config(config)
    config["model_conf"]["transpose"] = False
    assert hf_config(config)["proj_codevector_dim"] == 8
