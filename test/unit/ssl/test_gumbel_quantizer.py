"""Gumbel quantizer: schedule, straight-through, shapes, perplexity."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.gumbel_quantizer import (
    GumbelQuantizer,
    gumbel_temperature,
    soft_perplexity,
)
from espnet2_dq.ssl.wav2vec2_config import GumbelConfig

CONF = GumbelConfig(groups=2, codes=5, dim=6)


def make(seed=0):
    torch.manual_seed(seed)
    return GumbelQuantizer(4, CONF), torch.randn(50, 4)


def test_temperature_falls_by_the_factor_and_stops_at_the_floor():
    conf = GumbelConfig()
    assert gumbel_temperature(0, conf) == 2.0
    assert gumbel_temperature(1000, conf) == pytest.approx(2.0 * 0.999995**1000)
    # 2.0 * 0.999995^n reaches 0.5 at n = ln 4 / 5e-6, about 277,000 updates
    assert gumbel_temperature(277_000, conf) > 0.5
    assert gumbel_temperature(277_500, conf) == 0.5
    assert gumbel_temperature(10**6, conf) == 0.5


def test_evaluation_takes_the_best_code_of_each_group():
    quantizer, features = make()
    out = quantizer.eval()(features, 2.0)
    logits = quantizer.weight_proj(features).view(50, 2, 5)
    assert torch.equal(out.codes, logits.argmax(-1))
    book = quantizer.codevectors.view(2, 5, 3)
    for row in range(50):
        first, second = out.codes[row].tolist()
        expected = torch.cat([book[0, first], book[1, second]])
        assert torch.equal(out.quantized[row], expected)
        assert out.joint[row] == first * 5 + second
    assert torch.equal(out.codes, quantizer(features, 0.5).codes)


def test_training_returns_codewords_and_lets_the_gradient_through():
    quantizer, features = make()
    features.requires_grad_()
    out = quantizer.train()(features, 1.0)
    book = quantizer.codevectors.view(2, 5, 3)
    groups = [book[g, out.codes[:, g]] for g in range(2)]
    assert torch.allclose(out.quantized, torch.cat(groups, -1), atol=1e-6)
    out.quantized.square().sum().backward()
    assert features.grad.abs().sum() > 0
    assert quantizer.weight_proj.weight.grad.abs().sum() > 0
    # only chosen codewords learn, apart from rounding of the straight-through hand
    used = torch.zeros(2, 5, dtype=torch.bool)
    used[0, out.codes[:, 0]] = used[1, out.codes[:, 1]] = True
    gradient = quantizer.codevectors.grad.view(2, 5, 3).abs().sum(-1)
    assert (gradient[used] > 1e-3).all()
    assert (gradient[~used] < 1e-4).all()


def test_sampling_follows_the_softmax_and_hot_is_no_more_random_than_cold():
    """The argmax of logits plus Gumbel noise is a draw from the softmax."""
    quantizer, _ = make()
    features = torch.randn(1, 4).repeat(20000, 1) * 0.3
    for temperature in (2.0, 0.5):
        codes = quantizer.train()(features, temperature).codes
        probs = torch.softmax(quantizer.weight_proj(features[:1]).view(2, 5), -1)
        for group in range(2):
            share = torch.bincount(codes[:, group], minlength=5) / len(codes)
            assert (share - probs[group]).abs().max() < 0.02


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10**6))
def test_soft_perplexity_is_between_one_and_all_codes(groups, codes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 8 * torch.randn(groups, codes, generator=generator)
    value = soft_perplexity(torch.softmax(logits, -1)).item()
    assert groups - 1e-4 <= value <= groups * codes + 1e-3
    uniform = torch.full((groups, codes), 1.0 / codes)
    assert soft_perplexity(uniform).item() == pytest.approx(groups * codes, rel=1e-5)


def test_codes_of_probability_zero_give_a_finite_gradient():
    logits = torch.tensor([[0.0, -200.0, 1.0]], requires_grad=True)
    probs = torch.softmax(logits, -1)
    assert probs[0, 1] == 0.0
    soft_perplexity(probs).backward()
    assert logits.grad.isfinite().all()


def test_nothing_masked_gives_nothing_and_no_nan():
    quantizer, features = make()
    for mode in (True, False):
        out = quantizer.train(mode)(features[:0], 1.0)
        assert out.quantized.shape == (0, 6)
        assert out.codes.shape == (0, 2)
        assert soft_perplexity(out.mean_probs).isfinite()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"groups": 3}, r"quantizer\.groups: 3; has to divide 256"),
        ({"codes": 1}, r"quantizer\.codes: 1; at least 2"),
        ({"temperature_end": 3.0}, r"temperature_end: 3\.0"),
        ({"temperature_decay": 1.5}, r"temperature_decay: 1\.5"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        GumbelConfig(**values)
