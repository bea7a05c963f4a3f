import pytest
import torch
import torch.nn.functional as F

from espnet2_dq.ssl.contrastive import (
    contrastive_loss,
    draw_negatives,
    frame_contrastive,
    utterance_contrastive,
)

KAPPA = 0.1


def slow_item(prediction, positive, negatives):
    """Eq. 8 with the positive in the denominator, one item."""
    if not negatives:
        return torch.zeros(())
    candidates = torch.stack([positive, *negatives])
    logits = F.cosine_similarity(prediction[None], candidates, dim=-1) / KAPPA
    return F.cross_entropy(logits[None], torch.zeros(1, dtype=torch.long))


def slow_frames(prediction, quantized, joint, select):
    """All other selected frames with another code, by loops."""
    losses = []
    for b in range(len(prediction)):
        frames = select[b].nonzero().flatten().tolist()
        for t in frames:
            negatives = [quantized[b, s] for s in frames if joint[b, s] != joint[b, t]]
            losses.append(slow_item(prediction[b, t], quantized[b, t], negatives))
    return torch.stack(losses)


def make_frames(batch=3, frames=12, codes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    joint = torch.randint(codes, (batch, frames), generator=generator)
    table = torch.randn(codes, 8, generator=generator)
    prediction = torch.randn(batch, frames, 8, generator=generator)
    select = torch.rand(batch, frames, generator=generator) < 0.6
    return prediction, table[joint], joint, select


def test_frames_equal_the_slow_loop():
    args = make_frames()
    out = frame_contrastive(*args, n_negatives=None, kappa=KAPPA)
    torch.testing.assert_close(out.loss, slow_frames(*args))


def test_frames_and_gradients_equal_the_slow_loop():
    prediction, quantized, joint, select = make_frames(seed=1)
    prediction.requires_grad_()
    quantized.requires_grad_()
    out = frame_contrastive(prediction, quantized, joint, select, n_negatives=None)
    got = torch.autograd.grad(out.loss.sum(), (prediction, quantized))
    slow = slow_frames(prediction, quantized, joint, select)
    expected = torch.autograd.grad(slow.sum(), (prediction, quantized))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_enough_negatives_wanted_means_all_others():
    args = make_frames(seed=2)
    every = frame_contrastive(*args, n_negatives=None)
    many = frame_contrastive(*args, n_negatives=100)
    assert torch.equal(every.loss, many.loss)


def test_utterances_with_few_frames_get_all_others_once():
    # one long utterance forces the sampled variant on the whole batch
    prediction, quantized, joint, select = make_frames(batch=2, frames=40, codes=30)
    select[0] = True
    select[1] = False
    select[1, 3:8] = True
    out = frame_contrastive(prediction, quantized, joint, select, n_negatives=10)
    expected = slow_frames(prediction[1:], quantized[1:], joint[1:], select[1:])
    torch.testing.assert_close(out.loss[-5:], expected)
    assert (out.negatives[:40] <= 10).all()


def test_sampled_loss_has_the_right_expectation():
    prediction, quantized, joint, select = make_frames(1, 30, 30, seed=3)
    joint[:] = torch.arange(30)
    select[:] = True
    outs = [
        frame_contrastive(
            prediction, quantized, joint, select, n_negatives=29 - 9, seed=seed
        )
        for seed in range(400)
    ]
    # mean of exp(loss) - 1 = sum over negatives of exp(s - s+): unbiased in the draw
    sampled = torch.stack([o.loss.exp() - 1 for o in outs]).mean(0) * 29 / 20
    every = frame_contrastive(prediction, quantized, joint, select, n_negatives=None)
    torch.testing.assert_close(sampled, every.loss.exp() - 1, rtol=0.25, atol=0.05)


def test_draws_are_uniform_and_never_the_frame_itself():
    held = torch.ones(1, 12, dtype=torch.bool)
    frames = torch.arange(12)[None]
    counts = torch.zeros(12, 12)
    for seed in range(500):
        drawn, used = draw_negatives(frames, held, 8, seed)
        assert used.all()
        for k in range(8):
            counts[torch.arange(12), drawn[0, :, k]] += 1
    assert (counts.diagonal() == 0).all()
    others = counts[~torch.eye(12, dtype=torch.bool)]
    expected = 500 * 8 / 11
    chi2 = ((others - expected) ** 2 / expected).sum().item()
    assert 60 < chi2 < 190  # 12 * 10 = 120 degrees of freedom, +- 4 sigma


@pytest.mark.parametrize("n_negatives", [None, 4, 100])
def test_batch_mates_and_padding_do_not_matter(n_negatives):
    prediction, quantized, joint, select = make_frames(seed=4)
    together = frame_contrastive(
        prediction, quantized, joint, select, n_negatives=n_negatives, seed=5
    )
    sizes = select.sum(1).tolist()
    assert len(set(sizes)) > 1  # else the longest utterance alone would be tested
    for row, mine in enumerate(together.loss.split(sizes)):
        alone = frame_contrastive(
            F.pad(prediction[row : row + 1], (0, 0, 0, 7), value=9.0),
            F.pad(quantized[row : row + 1], (0, 0, 0, 7)),
            F.pad(joint[row : row + 1], (0, 7), value=-1),
            F.pad(select[row : row + 1], (0, 7)),
            n_negatives=n_negatives,
            seed=5,
        )
        torch.testing.assert_close(mine, alone.loss)


def test_seed_changes_the_draw():
    args = make_frames(1, 60, 40, seed=6)
    one, two, again = (
        frame_contrastive(*args, n_negatives=5, seed=seed).loss for seed in (0, 1, 0)
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, two)


def test_no_remaining_negative_gives_zero_loss_and_gradient():
    prediction, quantized, joint, select = make_frames(seed=7)
    joint[:] = 3
    prediction.requires_grad_()
    out = frame_contrastive(prediction, quantized, joint, select)
    out.loss.sum().backward()
    assert (out.loss == 0).all()
    assert (prediction.grad == 0).all()
    assert (out.negatives == 0).all()
    assert out.accuracy == 0


@pytest.mark.parametrize("n_negatives", [None, 10])
def test_nothing_selected_and_single_frames(n_negatives):
    prediction, quantized, joint, select = make_frames(seed=8)
    none = frame_contrastive(
        prediction, quantized, joint, torch.zeros_like(select), n_negatives=n_negatives
    )
    assert none.loss.shape == (0,)
    assert none.accuracy == 0
    select[:] = False
    select[:, 2] = True
    single = frame_contrastive(
        prediction, quantized, joint, select, n_negatives=n_negatives
    )
    assert single.loss.tolist() == [0.0, 0.0, 0.0]


def test_accuracy_counts_items_with_negatives():
    quantized = torch.eye(4)[None]
    joint = torch.tensor([[0, 1, 2, 3]])
    select = torch.ones(1, 4, dtype=torch.bool)
    prediction = quantized.clone()
    prediction[0, 0] = quantized[0, 1]
    out = frame_contrastive(prediction, quantized, joint, select)
    assert out.correct.tolist() == [False, True, True, True]
    assert out.accuracy == pytest.approx(0.75)


def test_perfect_prediction_beats_a_wrong_one():
    prediction, quantized, joint, select = make_frames(seed=9)
    right = frame_contrastive(quantized, quantized, joint, select).loss.mean()
    wrong = frame_contrastive(prediction, quantized, joint, select).loss.mean()
    assert right < wrong


def test_utterances_equal_the_slow_loop():
    prediction, quantized = torch.randn(5, 8), torch.randn(5, 8)
    joint = torch.tensor([0, 1, 0, 2, 1])
    got = utterance_contrastive(prediction, quantized, joint).loss
    for b in range(5):
        negatives = [quantized[c] for c in range(5) if joint[c] != joint[b]]
        expected = slow_item(prediction[b], quantized[b], negatives)
        torch.testing.assert_close(got[b], expected)


def test_utterances_of_other_processes_are_negatives():
    prediction, quantized, joint = torch.randn(4, 8), torch.randn(4, 8), torch.arange(4)
    everything = utterance_contrastive(prediction, quantized, joint).loss
    others = (quantized[2:], joint[2:])
    split = utterance_contrastive(
        prediction[:2], quantized[:2], joint[:2], others=others
    ).loss
    torch.testing.assert_close(split, everything[:2])


def test_single_utterance_gives_zero():
    out = utterance_contrastive(torch.randn(1, 8), torch.randn(1, 8), torch.tensor([0]))
    assert out.loss.tolist() == [0.0]


def test_plain_formula():
    prediction, positive = torch.randn(3, 8), torch.randn(3, 8)
    negatives = torch.randn(3, 4, 8)
    excluded = torch.tensor([[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]).bool()
    got = contrastive_loss(
        prediction, positive, negatives, kappa=KAPPA, excluded=excluded
    )
    for n in range(3):
        kept = [negatives[n, k] for k in range(4) if not excluded[n, k]]
        expected = slow_item(prediction[n], positive[n], kept)
        torch.testing.assert_close(got[n], expected)


def test_autocast_changes_nothing():
    args = make_frames(seed=10)
    expected = frame_contrastive(*args).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = frame_contrastive(*args)
        utterance = utterance_contrastive(args[0][:, 0], args[1][:, 0], args[2][:, 0])
    assert torch.equal(got.loss, expected)
    assert utterance.loss.dtype == torch.float32
