import pytest
import torch
import torch.nn.functional as F

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.targets import (
    data2vec_target,
    language_features,
    phoneme_features,
)

LENGTHS = [11, 6]


@pytest.fixture
def layers():
    torch.manual_seed(1)
    return [torch.randn(2, 11, 8) * (n + 1) + n for n in range(4)]


@pytest.fixture
def pad_mask():
    return torch.arange(11)[None] >= torch.tensor(LENGTHS)[:, None]


def instance_norm(x):
    """(T, D) over T."""
    return F.instance_norm(x.T[None])[0].T


def test_target_is_the_mean_of_normalised_top_layers(layers, pad_mask):
    got = data2vec_target(layers, pad_mask, 3)
    for row, length in enumerate(LENGTHS):
        expected = sum(instance_norm(y[row, :length]) for y in layers[1:]) / 3
        torch.testing.assert_close(got[row, :length], expected)
        assert (got[row, length:] == 0).all()


def test_target_ignores_layers_below(layers, pad_mask):
    expected = data2vec_target(layers, pad_mask, 2)
    layers[1] = layers[1] * float("nan")
    torch.testing.assert_close(data2vec_target(layers, pad_mask, 2), expected)


@pytest.mark.parametrize("top_k", [0, 5])
def test_impossible_top_k_is_refused(layers, pad_mask, top_k):
    with pytest.raises(ConfigError, match="4 layer results"):
        data2vec_target(layers, pad_mask, top_k)


def test_language_features_follow_equation_3(layers, pad_mask):
    got = language_features(layers, pad_mask)
    for row, length in enumerate(LENGTHS):
        pooled = sum(y[row, :length] for y in layers).div(4).mean(0)
        torch.testing.assert_close(got[row], pooled / pooled.norm())


def test_language_features_with_centre(layers, pad_mask):
    centre = torch.randn(8)
    got = language_features(layers, pad_mask, centre=lambda x: x - centre)
    pooled = sum(y[1, :6] for y in layers).div(4).mean(0) - centre
    torch.testing.assert_close(got[1], pooled / pooled.norm())


def test_language_ablation_normalises_over_channels(layers, pad_mask):
    got = language_features(layers, pad_mask, "ins")
    torch.testing.assert_close(got.mean(-1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        got.var(-1, unbiased=False), torch.ones(2), atol=1e-3, rtol=0
    )


def test_literal_ablation_s4_is_degenerate(layers):
    # R23: InsNorm over time, then Pool, leaves nothing at all
    pooled = instance_norm(layers[0][0]).mean(0)
    assert pooled.abs().max() < 1e-6


def test_phoneme_features_follow_equation_4(layers, pad_mask):
    got = phoneme_features(layers, pad_mask)
    for row, length in enumerate(LENGTHS):
        mean = sum(instance_norm(y[row, :length]) for y in layers) / 4
        torch.testing.assert_close(got[row, :length], instance_norm(mean))


def test_phoneme_ablation_has_unit_frames(layers, pad_mask):
    got = phoneme_features(layers, pad_mask, "l2")
    norms = got.norm(dim=-1)
    torch.testing.assert_close(norms, (~pad_mask).float())


def test_unknown_norms_are_refused(layers, pad_mask):
    for function in (language_features, phoneme_features):
        with pytest.raises(ConfigError, match="'batch' is not one of"):
            function(layers, pad_mask, "batch")


def test_padding_and_batch_mates_do_not_matter(layers, pad_mask):
    poisoned = [y.masked_fill(pad_mask[..., None], float("nan")) for y in layers]
    alone = [y[1:, :6] for y in layers]
    for function in (language_features, phoneme_features):
        together = function(poisoned, pad_mask)[1]
        single = function(alone, None)[0]
        torch.testing.assert_close(together[: len(single)], single)
