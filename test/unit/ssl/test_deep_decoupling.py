"""The model with labels: Eq. 14, what its gradients reach, and the baselines."""

import numpy as np
import pytest
import torch
from training_factories import make_config, make_items

from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig
from espnet2_dq.tasks.labels import LabelSet

LENGTHS = (16000, 24000, 20000, 30000)
HEADS = {"languages": 3, "tokens": 7, "dropout": 0.0}
DEEP = {"language": True, "phoneme": "mixed", **HEADS}
CONV = {"type": "conv"}


def make_model(seed=0, additional=None, off=(), **supervision):
    """A tiny deep-decoupling model; branches in ``off`` are switched off."""
    conf = make_config()["model_conf"]
    for name in ("language", "phoneme"):
        conf[name]["enable"] = name not in off
        if additional:
            conf[name]["additional"] = additional
    torch.manual_seed(seed)
    config = make_config(**conf, supervision=supervision)
    return build_ssl_model(config, updates_total=100)


def make_batch(model, lengths=LENGTHS, first=0, replace_prob=0.5, labelled=(0, 2)):
    labels = LabelSet(
        lang={f"utt{i}": i % 3 for i in range(4)},
        phn={f"utt{i}": np.array([1, 2, 2, 5, 6]) for i in labelled},
        replace_prob=replace_prob,
    )
    grid = model.frame_grid.num_frames
    collate = Collate(grid, 0, SpanMaskConfig(), labels=labels)
    return collate(make_items(*lengths)[first:])[1]


def run(model, batch, totals=None):
    inputs = {k: v for k, v in batch.items() if k != "counts"}
    return model(**inputs, totals=totals)


def gradients(model, batch, totals=None):
    """Gradient of the supervised losses alone, by parameter name."""
    model.zero_grad()
    inputs = {k: v for k, v in batch.items() if k != "counts"}
    passes = model.encode_masked(
        inputs["speech"], inputs["speech_lengths"], inputs["span_mask"]
    )
    terms = {
        "phoneme": model.phoneme(passes.teacher, passes.student, passes.span_mask, 0)
    }
    if model.language is not None:
        terms["language"] = model.language(passes.teacher, passes.student)
    codes = {name: term.quantized for name, term in terms.items()}
    labels = _labels(inputs)
    loss, _ = model.supervised(passes.student, codes, labels, batch["counts"])
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _labels(inputs):
    from espnet2_dq.ssl.supervision import Labels

    return Labels.of_batch(inputs)


def reached(found, prefix):
    return any(bool(g.any()) for n, g in found.items() if n.startswith(prefix))


def test_equation_14():
    model = make_model(additional=CONV, **DEEP)
    loss, stats, _ = run(model, make_batch(model))
    shallow = 0.7 * stats["loss_regression"]
    shallow += 0.1 * (stats["loss_language"] + stats["loss_language_kmeans"])
    shallow += 0.2 * (stats["loss_phoneme"] + stats["loss_phoneme_kmeans"])
    masked = make_batch(model)["counts"][0]
    # the log has CTC per labelled utterance (2), the loss has it per masked frame
    supervised = stats["loss_ce"] + stats["loss_ctc"] * 2 / masked
    expected = shallow + 0.1 * supervised
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_every_parameter_has_a_gradient():
    model = make_model(additional=CONV, **DEEP)
    for labelled in ((0, 2), ()):  # a batch without phonemes on this rank, too
        model.zero_grad()
        run(model, make_batch(model, labelled=labelled))[0].backward()
        without = [n for n, p in model.named_parameters() if p.grad is None]
        assert all(n.startswith("teacher") for n in without)


@pytest.mark.parametrize("ctc_items", ["masked", "utterances"])
def test_two_half_batches_make_the_gradient_of_the_whole_one(ctc_items):
    """Frames only: the language branch's negatives are batch mates."""
    model = make_model(off=("language",), phoneme="mixed", ctc_items=ctc_items, **HEADS)

    def total(batches, totals=None):
        model.zero_grad()
        for batch in batches:
            run(model, batch, totals)[0].backward()
        return torch.cat(
            [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        )

    whole = make_batch(model)
    halves = [make_batch(model, LENGTHS[:2]), make_batch(model, first=2)]
    totals = sum(h["counts"] for h in halves)
    assert torch.equal(totals, whole["counts"])
    one, two = total([whole]), total(halves, totals)
    assert (one - two).abs().max() < 1e-5 * one.abs().max()


def test_codes_alone_send_nothing_to_the_student_and_nothing_to_the_codebook():
    model = make_model(additional=CONV, **DEEP)
    found = gradients(model, make_batch(model, replace_prob=1.0))
    assert not reached(found, "encoder.")
    assert not reached(found, "frontend.")
    assert not reached(found, "language.quantizer.codebook")
    assert not reached(found, "phoneme.quantizer.codebook")
    for branch in ("language", "phoneme"):
        assert reached(found, f"{branch}.additional.layers.0")
        assert reached(found, f"{branch}.quantizer.projection")
        assert not reached(found, f"{branch}.predictor")


def test_states_alone_send_nothing_to_the_quantizers():
    model = make_model(additional=CONV, **DEEP)
    found = gradients(model, make_batch(model, replace_prob=0.0))
    assert reached(found, "encoder.blocks.0")
    for branch in ("language", "phoneme"):
        assert not reached(found, f"{branch}.")


def test_codebook_gradient_is_a_switch_with_the_same_values():
    plain = make_model(additional=CONV, **DEEP)
    model = make_model(additional=CONV, codebook_gradient=True, **DEEP)
    batch = make_batch(model, replace_prob=1.0)
    assert torch.equal(run(plain, batch)[0], run(model, batch)[0])
    found = gradients(model, batch)
    assert reached(found, "language.quantizer.codebook")
    assert reached(found, "phoneme.quantizer.codebook")


def test_layers_above_the_branch_get_no_supervised_gradient():
    """x_p is h_3 and x_l is h_2 of four blocks (R12)."""
    model = make_model(**DEEP)
    found = gradients(model, make_batch(model, replace_prob=0.0))
    assert reached(found, "encoder.blocks.2")
    assert not reached(found, "encoder.blocks.3")


def test_labels_change_nothing_where_supervision_weighs_nothing():
    shallow, deep = make_model(), make_model(weight=0.0, **DEEP)
    deep.load_state_dict(shallow.state_dict(), strict=False)
    batch = make_batch(deep)
    one, two = run(shallow, batch), run(deep, batch)
    assert torch.equal(one[0], two[0])
    assert {k: v for k, v in two[1].items() if k in one[1]}.keys() == one[1].keys()
    for model, (loss, _, _) in ((shallow, one), (deep, two)):
        model.zero_grad()
        loss.backward()
    theirs = dict(deep.named_parameters())
    for name, parameter in shallow.named_parameters():
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, theirs[name].grad), name


def test_unidata2vec_is_data2vec_plus_ctc_on_the_student():
    off = ("language", "phoneme")
    plain, model = make_model(off=off), make_model(off=off, phoneme="output", **HEADS)
    batch = make_batch(model)
    model.load_state_dict(plain.state_dict(), strict=False)
    loss, stats, _ = run(model, batch)
    base = run(plain, batch)[0]
    extra = 0.1 * stats["loss_ctc"] * 2 / batch["counts"][0]
    assert loss.item() == pytest.approx((base + extra).item(), rel=1e-5)
    model.zero_grad()
    run(model, make_batch(model, labelled=()))[0].backward()
    assert not model.supervised.phoneme_head.linear.weight.grad.any()


def test_unidata2vec_layer_is_a_choice():
    off = ("language", "phoneme")
    model = make_model(off=off, phoneme="output", layer=2, **HEADS)
    model.zero_grad()
    batch = make_batch(model)
    inputs = {k: v for k, v in batch.items() if k != "counts"}
    passes = model.encode_masked(
        inputs["speech"], inputs["speech_lengths"], inputs["span_mask"]
    )
    loss, _ = model.supervised(passes.student, {}, _labels(inputs), batch["counts"])
    loss.backward()
    assert model.encoder.blocks[1].fc1.weight.grad.any()
    assert model.encoder.blocks[2].fc1.weight.grad is None


def test_statistics_have_the_same_keys_with_and_without_labels():
    model = make_model(**DEEP)
    keys = [list(run(model, make_batch(model, labelled=x))[1]) for x in ((0, 2), ())]
    assert keys[0] == keys[1]
    assert {"loss_ce", "error_lang", "loss_ctc", "ter_ctc"} <= set(keys[0])


def test_a_supervised_model_refuses_a_batch_without_labels():
    model = make_model(**DEEP)
    batch = make_batch(model)
    names = ("speech", "speech_lengths", "span_mask")
    with pytest.raises(DataError, match="has no lang"):
        model(**{n: batch[n] for n in names})


@pytest.mark.parametrize(
    ("off", "supervision", "message"),
    [
        (("language",), {"language": True, **HEADS}, "language.enable"),
        (("phoneme",), {"phoneme": "mixed", **HEADS}, "choose output"),
        ((), {"phoneme": "mixed"}, "supervision.tokens: 0"),
    ],
)
def test_contradictions_are_refused(off, supervision, message):
    with pytest.raises(ConfigError, match=message):
        make_model(off=off, **supervision)


def test_heads_may_learn_faster():
    scales = make_model(head_lr_scale=10.0, **DEEP).lr_scales()
    assert scales["supervised."] == 10.0
    assert make_model(**DEEP).lr_scales()["supervised."] == 1.0
