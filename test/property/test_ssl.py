"""What must hold for every input of the pretraining maths."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.ssl.contrastive import frame_contrastive
from espnet2_dq.ssl.health import effective_rank, mean_pair_cosine, spread
from espnet2_dq.ssl.losses import regression_loss
from espnet2_dq.ssl.masking import batch_span_mask, draw_span_mask, utterance_rng
from espnet2_dq.ssl.norms import masked_group_norm, masked_instance_norm, masked_mean
from espnet2_dq.ssl.quantizer import OnlineKMeans, code_usage, nearest_codes, perplexity

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=60, deadline=None)


def draw_batch(seed, lengths, dim=4):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(lengths), max(lengths), dim, generator=generator)
    pad_mask = torch.arange(max(lengths))[None] >= torch.tensor(lengths)[:, None]
    return x, pad_mask


@settings(max_examples=300, deadline=None)
@given(
    num_frames=st.integers(0, 400),
    seed=seeds,
    mask_prob=st.floats(0.0, 1.0),
    mask_length=st.integers(1, 40),
    min_masks=st.integers(0, 4),
)
def test_masks_leave_context(num_frames, seed, mask_prob, mask_length, min_masks):
    mask = draw_span_mask(
        num_frames,
        utterance_rng(seed, 0, "u"),
        mask_prob=mask_prob,
        mask_length=mask_length,
        min_masks=min_masks,
    )
    assert mask.shape == (num_frames,)
    assert mask.dtype == bool
    if num_frames > 0:
        assert not mask.all()  # a frame of context always remains
    if num_frames >= 2 and mask_prob > 0 and min_masks > 0:
        assert mask.any()


def test_default_masks_of_every_short_length():
    for num_frames in range(1, 60):
        masks = np.stack(
            [draw_span_mask(num_frames, utterance_rng(0, e, "u")) for e in range(40)]
        )
        assert not masks.all(axis=1).any()
        assert masks.any(axis=1).all() == (num_frames >= 2)


@few
@given(seed=seeds, lengths=st.lists(st.integers(1, 80), min_size=2, max_size=6))
def test_masks_ignore_batch_mates(seed, lengths):
    def rngs(order):
        return [utterance_rng(seed, 1, str(n)) for n in order]

    order = list(range(len(lengths)))
    forward = batch_span_mask(lengths, rngs(order))
    backward = batch_span_mask(lengths[::-1], rngs(order[::-1]))[::-1]
    assert (forward == backward).all()
    for row, length in enumerate(lengths):
        assert not forward[row, length:].any()


@few
@given(
    seed=seeds,
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    more=st.integers(1, 7),
)
def test_norms_ignore_more_padding(seed, lengths, more):
    x, pad_mask = draw_batch(seed, lengths)
    wide = torch.nn.functional.pad(x, (0, 0, 0, more), value=torch.nan)
    wide_mask = torch.nn.functional.pad(pad_mask, (0, more), value=True)
    weight, bias = torch.rand(4), torch.rand(4)
    torch.testing.assert_close(masked_mean(wide, wide_mask), masked_mean(x, pad_mask))
    functions = (
        masked_instance_norm,
        lambda x, m: masked_group_norm(x, 2, weight, bias, m, True),
        lambda x, m: masked_group_norm(x, 2, weight, bias, m, False),
    )
    for function in functions:
        narrow = function(x, pad_mask)
        got = function(wide, wide_mask)
        torch.testing.assert_close(got[:, : x.shape[1]], narrow, atol=1e-5, rtol=1e-4)
        assert (got[:, x.shape[1] :] == 0).all()


@few
@given(
    seed=seeds,
    length=st.integers(2, 30),
    scale=st.floats(0.5, 20.0),
    shift=st.floats(-5.0, 5.0),
)
def test_instance_norm_removes_scale_and_shift(seed, length, scale, shift):
    x, _ = draw_batch(seed, [length])
    x = x.double()
    normed = masked_instance_norm(x, None, eps=1e-9)
    moved = masked_instance_norm(x * scale + shift, None, eps=1e-9)
    torch.testing.assert_close(normed, moved, atol=2e-3, rtol=1e-2)


@few
@given(seed=seeds, rows=st.integers(1, 40), clusters=st.integers(1, 9))
def test_nearest_code_is_nearest(seed, rows, clusters):
    generator = torch.Generator().manual_seed(seed)
    encoded = torch.randn(rows, 2, 5, generator=generator)
    codebook = torch.randn(2, clusters, 5, generator=generator)
    codes = nearest_codes(encoded, codebook)
    distance = (encoded.unsqueeze(2) - codebook).square().sum(-1)  # (N, G, V)
    chosen = distance.gather(2, codes.unsqueeze(2)).squeeze(2)
    assert (chosen <= distance.min(-1).values + 1e-5).all()


@few
@given(seed=seeds, lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_quantizer_invariants(seed, lengths):
    x, pad_mask = draw_batch(seed, lengths)
    torch.manual_seed(seed)
    quantizer = OnlineKMeans(4, 3, init_scale=1.0)
    out = quantizer(x, ~pad_mask)
    assert out.kmeans_items.min() >= 0
    assert ((out.codes >= 0) == ~pad_mask.unsqueeze(-1)).all()
    assert out.codes.max() < 3
    counts = code_usage(out.codes, 3)
    assert (counts.sum(-1) == sum(lengths)).all()
    assert ((perplexity(counts) >= 0.999) & (perplexity(counts) <= 3.001)).all()
    # quantising a codeword again gives itself: the values are codewords
    words = quantizer.codebook[1][out.codes[..., 1].clamp_min(0)]
    torch.testing.assert_close(
        out.quantized[..., 2:][~pad_mask], words[~pad_mask], atol=0, rtol=0
    )


@few
@given(
    seed=seeds,
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=4),
    n_negatives=st.one_of(st.none(), st.integers(1, 12)),
    codes=st.integers(1, 6),
)
def test_contrastive_invariants(seed, lengths, n_negatives, codes):
    generator = torch.Generator().manual_seed(seed)
    prediction, pad_mask = draw_batch(seed, lengths)
    quantized = torch.randn(prediction.shape, generator=generator)
    joint = torch.randint(codes, pad_mask.shape, generator=generator)
    select = (torch.rand(pad_mask.shape, generator=generator) < 0.7) & ~pad_mask
    out = frame_contrastive(
        prediction, quantized, joint, select, n_negatives=n_negatives, seed=3
    )
    assert out.loss.shape == (int(select.sum()),)
    assert (out.loss >= -1e-6).all()
    assert torch.isfinite(out.loss).all()
    assert (out.loss[out.negatives == 0].abs() < 1e-6).all()
    # at most all K negatives at cosine 1 with the positive at -1: log(1 + K e^20)
    bound = 20.0 + torch.log1p(out.negatives.float()) + 1e-3
    assert (out.loss <= bound).all()
    assert 0.0 <= out.accuracy <= 1.0
    # the first utterance alone gives the same
    mine = int(select[0].sum())
    alone = frame_contrastive(
        prediction[:1], quantized[:1], joint[:1], select[:1],
        n_negatives=n_negatives, seed=3,
    )  # fmt: skip
    torch.testing.assert_close(out.loss[:mine], alone.loss)


@few
@given(seed=seeds, beta=st.floats(0.0, 3.0))
def test_regression_loss_invariants(seed, beta):
    x, _ = draw_batch(seed, [6, 6])
    pred, target = x[0], x[1]
    loss = regression_loss(pred, target, beta)
    assert (loss >= 0).all()
    torch.testing.assert_close(loss, regression_loss(target, pred, beta))
    assert (regression_loss(pred, pred, beta) == 0).all()


@few
@given(seed=seeds, rows=st.integers(1, 30), scale=st.floats(0.1, 10.0))
def test_gauge_ranges(seed, rows, scale):
    x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)) * scale
    assert spread(x) >= 0.00099
    assert 0.999 <= effective_rank(x) <= max(1.0, min(rows - 1, 6)) + 1e-3
    assert -1.001 <= mean_pair_cosine(x) <= 1.001
    order = torch.randperm(rows)
    torch.testing.assert_close(spread(x), spread(x[order]))
