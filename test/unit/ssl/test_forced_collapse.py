"""A collapse forced in each block of a real model ends its run and names the block."""

import pytest
import torch
from training_factories import make_config, make_items

from espnet2_dq.errors import CollapseError
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig

HEALTH = {"warn_after": 0, "stop_after": 0, "patience": 2}


def make_model():
    """Random weights; language codes lie on utterances, or they were dead already."""
    torch.manual_seed(0)
    config = make_config(health=HEALTH, gauge_interval=1)
    model = build_ssl_model(config, updates_total=100).train()
    with torch.no_grad():
        passes = model.encode_masked(**make_batch(model))
        quantizer = model.language.quantizer
        encoded = model.language.quantize(passes.teacher).encoded[: quantizer.clusters]
        width = quantizer.codebook.shape[-1]
        quantizer.codebook.copy_(encoded.view(-1, 2, width).transpose(0, 1))
    return model


def make_batch(model):
    collate = Collate(model.frame_grid.num_frames, 0, SpanMaskConfig())
    batch = collate(make_items(16000, 24000, 20000, 30000, 18000))[1]
    batch.pop("counts")
    return batch


def train(model, updates=10):
    """Updates without an optimizer: what was forced stays."""
    batch = make_batch(model)
    for _ in range(updates):
        model(**batch)
        model.on_update()


def constant_frontend(model):
    for parameter in model.preencoder.parameters():
        parameter.zero_()


def constant_encoder(model):
    model.encoder.blocks[-1].final_layer_norm.weight.zero_()


def constant_target(model):
    for block in model.teacher.encoder.blocks:
        block.fc2.weight.zero_()
    model.teacher.step = lambda *_: None  # the student would revive it


def constant_prediction(model):
    model.predictor.weight.zero_()


def one_code(branch):
    def force(model):
        codebook = getattr(model, branch).quantizer.codebook
        codebook[:, 1:] = 1e3

    return force


FORCED = {
    "frontend": (constant_frontend, "frontend: frontend_spread"),
    "encoder": (constant_encoder, "encoder: encoder_"),
    "target": (constant_target, "teacher target: target_spread"),
    "prediction": (constant_prediction, "student prediction: prediction_spread"),
    "language": (one_code("language"), "language quantizer group 1: uses 1 code"),
    "phoneme": (one_code("phoneme"), "phoneme quantizer group 1: uses 1 code"),
}


@pytest.mark.parametrize("block", FORCED)
def test_forced_collapse_is_named(block):
    force, message = FORCED[block]
    model = make_model()
    with torch.no_grad():
        force(model)
    with pytest.raises(CollapseError, match=message):
        train(model)


def test_an_unforced_model_goes_on():
    train(make_model())
