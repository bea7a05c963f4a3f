import itertools
import warnings

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.quantizer import (
    BLOCK_ROWS,
    OnlineKMeans,
    assign,
    code_usage,
    nearest_codes,
    perplexity,
)

GAMMA = 0.3


def make(**kwargs):
    torch.manual_seed(3)
    settings = {"gamma": GAMMA, "init_scale": 1.0, **kwargs}
    return OnlineKMeans(12, 5, **settings)


@pytest.fixture
def batch():
    torch.manual_seed(4)
    valid = torch.arange(9)[None] < torch.tensor([9, 4])[:, None]
    return torch.randn(2, 9, 12), valid


def brute_force(quantizer, encoded):
    """Codes and codewords of ``(N, D)`` by loops; autograd reference included."""
    groups, _, width = quantizer.codebook.shape
    codes, words = [], []
    for row in encoded:
        row_codes, row_words = [], []
        for group in range(groups):
            part = row[group * width : (group + 1) * width]
            distance = [(part - c).pow(2).sum() for c in quantizer.codebook[group]]
            best = min(range(len(distance)), key=lambda j: distance[j].item())
            row_codes.append(best)
            row_words.append(quantizer.codebook[group, best])
        codes.append(row_codes)
        words.append(torch.cat(row_words))
    return torch.tensor(codes), torch.stack(words)


def reference(quantizer, features, valid):
    """Straight-through and Eq. 6 written with detach, on the valid items."""
    encoded = quantizer.encode(features, valid)[valid]
    codes, words = brute_force(quantizer, encoded)
    first = (encoded.detach() - words).pow(2).sum(-1)
    second = (encoded - words.detach()).pow(2).sum(-1)
    scale = quantizer.dim if quantizer.reduction == "mean" else 1
    kmeans = ((first + GAMMA * second) / scale).mean()
    return encoded + (words - encoded).detach(), codes, kmeans


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("post_norm", ["groupnorm", "none"])
def test_equals_brute_force(batch, groups, reduction, post_norm):
    features, valid = batch
    quantizer = make(groups=groups, reduction=reduction, post_norm=post_norm)
    out = quantizer(features, valid)
    quantized, codes, kmeans = reference(quantizer, features, valid)
    assert (out.codes[valid] == codes).all()
    torch.testing.assert_close(out.quantized[valid], quantized)
    torch.testing.assert_close(out.kmeans_loss, kmeans)
    torch.testing.assert_close(out.kmeans_items[valid].mean(), kmeans)

    cotangent = torch.randn_like(quantized)
    parameters = list(quantizer.parameters())
    got = torch.autograd.grad(
        (out.quantized[valid] * cotangent).sum() + 2 * out.kmeans_loss, parameters
    )
    expected = torch.autograd.grad(
        (quantized * cotangent).sum() + 2 * kmeans, parameters
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_blocks_do_not_change_the_result():
    quantizer = make()
    features = torch.randn(BLOCK_ROWS + 37, 12)
    out = quantizer(features)
    codes, words = brute_force(quantizer, quantizer.encode(features)[-50:])
    assert (out.codes[-50:] == codes).all()
    grads = torch.autograd.grad(out.kmeans_loss, quantizer.codebook)[0]
    everything, _, kmeans = reference(
        quantizer, features, torch.ones(len(features), dtype=torch.bool)
    )
    expected = torch.autograd.grad(kmeans, quantizer.codebook)[0]
    torch.testing.assert_close(grads, expected)
    torch.testing.assert_close(out.quantized, everything)


def test_step_needs_little_memory():
    # frames x codes x dim would be 128 times the features, all distances 8 times (T26)
    features = torch.randn(8192, 2, 16, requires_grad=True)
    codebook = torch.randn(2, 64, 16, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
            quantized, _, items = assign(features, codebook, GAMMA)
            (quantized.sum() + items.mean()).backward()
    events = [e for e in run.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    peak = max(itertools.accumulate(event.nbytes() for event in events))
    assert peak < 4 * features.nbytes


def test_projection_is_a_grouped_convolution(batch):
    features, _ = batch
    quantizer = make(post_norm="none")
    conv = nn.Conv1d(12, 12, 1, groups=2, bias=False)
    with torch.no_grad():
        for group in range(2):
            rows = slice(6 * group, 6 * group + 6)
            conv.weight[rows, :, 0] = quantizer.projection[group].T
    expected = conv(features.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(quantizer.encode(features), expected)


def gradients(quantizer, value):
    """Names of the parameters that ``value`` moves."""
    named = dict(quantizer.named_parameters())
    found = torch.autograd.grad(value, named.values(), allow_unused=True)
    return {
        name
        for name, grad in zip(named, found, strict=True)
        if grad is not None and grad.abs().max() > 0
    }


def test_gradient_routing(batch):
    features, valid = batch
    # the straight-through path (contrastive loss) never moves the codebook
    quantizer = make()
    out = quantizer(features, valid)
    through = gradients(quantizer, (out.quantized * torch.randn(2, 9, 12)).sum())
    assert through == {"projection", "norm_weight", "norm_bias"}
    # gamma 0 leaves only the first k-means term: it moves only the codebook
    first_only = make(gamma=0.0)
    loss = first_only(features, valid).kmeans_loss
    assert gradients(first_only, loss) == {"codebook"}
    # both terms move both
    loss = quantizer(features, valid).kmeans_loss
    assert gradients(quantizer, loss) == {
        "codebook",
        "projection",
        "norm_weight",
        "norm_bias",
    }


def test_features_may_carry_gradient(batch):
    features, valid = batch
    features.requires_grad_()
    out = make()(features, valid)
    (out.quantized.square().sum() + out.kmeans_loss).backward()
    assert features.grad is not None
    assert (features.grad[~valid] == 0).all()


@pytest.mark.parametrize("norm_over_time", [True, False])
def test_padding_and_batch_mates_do_not_matter(batch, norm_over_time):
    features, valid = batch
    quantizer = make(norm_over_time=norm_over_time)
    together = quantizer(features.masked_fill(~valid[..., None], 1e4), valid)
    alone = quantizer(features[1:, :4], valid[1:, :4])
    assert (together.codes[1, :4] == alone.codes[0]).all()
    torch.testing.assert_close(together.quantized[1, :4], alone.quantized[0])
    torch.testing.assert_close(together.kmeans_items[1, :4], alone.kmeans_items[0])
    assert (together.codes[~valid] == -1).all()
    assert (together.joint[~valid] == -1).all()
    assert (together.quantized[~valid] == 0).all()
    assert (together.kmeans_items[~valid] == 0).all()


def test_utterance_input_and_joint_codes():
    quantizer = make(groups=2)
    out = quantizer(torch.randn(7, 12))
    assert out.quantized.shape == (7, 12)
    assert out.codes.shape == (7, 2)
    assert (out.joint == out.codes[:, 0] * 5 + out.codes[:, 1]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(batch, dtype):
    features, valid = batch
    quantizer = make()
    expected = quantizer(features, valid)
    with torch.autocast("cpu", dtype=dtype):
        got = quantizer(features, valid)
    assert got.encoded.dtype == torch.float32
    assert torch.equal(got.codes, expected.codes)
    assert torch.equal(got.kmeans_loss, expected.kmeans_loss)


def test_half_precision_would_choose_other_codes():
    # T25: the reason for float32; if this fails, the guard above guards nothing
    encoded = torch.randn(400, 1, 32) + 8
    codebook = torch.randn(1, 64, 32) * 0.05 + 8
    half = nearest_codes(encoded.bfloat16(), codebook.bfloat16())
    assert (half != nearest_codes(encoded, codebook)).any()


def test_code_usage_and_perplexity():
    codes = torch.tensor([[0, 2], [0, 1], [-1, -1], [1, 2]])
    counts = code_usage(codes, 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 2]]
    uniform = torch.tensor([[4, 4, 4], [9, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(perplexity(uniform), torch.tensor([3.0, 1.0, 0.0]))


def test_training_reaches_cluster_centres():
    torch.manual_seed(0)
    centres = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    x = centres.repeat(50, 1) + 0.05 * torch.randn(150, 2)
    quantizer = OnlineKMeans(2, 3, 1, post_norm="none", init_scale=1.0)
    with torch.no_grad():
        quantizer.projection.copy_(torch.eye(2)[None])
        quantizer.codebook.copy_(centres[None] * 0.5)
    quantizer.projection.requires_grad_(False)
    optimizer = torch.optim.Adam([quantizer.codebook], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        quantizer(x).kmeans_loss.backward()
        optimizer.step()
    torch.testing.assert_close(quantizer.codebook[0], centres, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    "bad",
    [{"groups": 5}, {"clusters": 0}, {"post_norm": "batch"}, {"reduction": "max"}],
)
def test_bad_settings_are_refused(bad):
    settings = {"dim": 12, "clusters": 4, **bad}
    with pytest.raises(ConfigError, match=next(iter(bad))):
        OnlineKMeans(**settings)


def test_wrong_feature_size_is_named():
    with pytest.raises(ValueError, match="quantizer of 12"):
        make()(torch.randn(3, 8))
