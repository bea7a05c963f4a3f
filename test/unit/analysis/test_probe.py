"""Softmax regression against what must come out, and against scikit-learn."""

import pytest
import torch

from espnet2_dq.analysis.probe import fit_probe, probe_accuracy


def classes(
    n: int, *, spread: float, dim: int = 16, num: int = 8, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` badly scaled Gaussian frames of ``num`` unequal classes."""
    fixed = torch.Generator().manual_seed(99)
    centres = spread * torch.randn(num, dim, generator=fixed)
    mix = torch.randn(dim, dim, generator=fixed) * torch.logspace(0, -2, dim)
    rng = torch.Generator().manual_seed(seed)
    share = torch.arange(1.0, num + 1)
    labels = torch.multinomial(share, n, replacement=True, generator=rng)
    noise = torch.randn(n, dim, generator=rng)
    return (centres[labels] + noise) @ mix + 5.0, labels


def accuracy(spread: float, seed: int = 0) -> float:
    x, y = classes(3000, spread=spread)
    probe = fit_probe(x, y, num_classes=8, seed=seed)
    return probe_accuracy(probe, *classes(2000, spread=spread, seed=1))


def test_separable_classes_are_found() -> None:
    assert accuracy(8.0) > 0.99


def test_features_without_information_give_the_majority() -> None:
    _, test_labels = classes(2000, spread=0.0, seed=1)
    majority = float((test_labels == 7).double().mean())
    assert accuracy(0.0) == pytest.approx(majority, abs=0.03)


@pytest.mark.slow  # importing scikit-learn
@pytest.mark.parametrize("l2", [1e-4, 2e-3])
def test_agrees_with_scikit_learn(l2: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = classes(3000, spread=0.8)
    x_test, y_test = classes(2000, spread=0.8, seed=1)
    mean, std = x.mean(0), x.std(0, correction=0)
    peer = linear_model.LogisticRegression(C=1 / (l2 * len(x)), max_iter=500)
    peer.fit(((x - mean) / std).numpy(), y.numpy())
    theirs = peer.score(((x_test - mean) / std).numpy(), y_test.numpy())
    assert 0.4 < theirs < 0.95  # neither trivial nor hopeless
    ours = fit_probe(x, y, num_classes=8, iterations=100, l2=l2)
    assert probe_accuracy(ours, x_test, y_test) == pytest.approx(theirs, abs=0.01)


def test_gradient_is_that_of_the_stated_loss() -> None:
    x, y = classes(500, spread=0.8)
    l2 = 0.01
    probe = fit_probe(x, y, num_classes=8, iterations=200, l2=l2)
    weight = probe.weight.clone().requires_grad_(True)
    bias = probe.bias.clone().requires_grad_(True)
    standardised = (x - probe.mean) / probe.scale
    loss = torch.nn.functional.cross_entropy(standardised @ weight + bias, y)
    (loss + 0.5 * l2 * weight.square().sum()).backward()
    # zero at the minimum only if our gradient was the gradient of this loss
    assert float(weight.grad.abs().max()) < 1e-3
    assert float(bias.grad.abs().max()) < 1e-3


def test_same_seed_gives_the_same_weights() -> None:
    x, y = classes(1000, spread=0.8)
    one = fit_probe(x, y, num_classes=8, seed=3)
    torch.rand(10)  # the global generator must not matter
    two = fit_probe(x, y, num_classes=8, seed=3)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.bias, two.bias)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_inside_training_on_constant_and_half_precision_features(context) -> None:
    with context(), torch.autocast("cpu", dtype=torch.bfloat16):
        x, y = classes(1000, spread=8.0)
        x = torch.cat([x - x.mean(0), torch.ones(len(x), 1)], dim=1).bfloat16()
        probe = fit_probe(x, y, num_classes=9)  # class 8 has no frame
    assert probe.weight.dtype == torch.float32
    assert probe.weight.isfinite().all()
    assert probe_accuracy(probe, x, y) > 0.9


def test_a_label_outside_training_counts_as_an_error() -> None:
    x, y = classes(1000, spread=8.0)
    probe = fit_probe(x, y, num_classes=8)
    half = y.clone()
    half[:500] = -1
    assert probe_accuracy(probe, x, half) <= 0.5
