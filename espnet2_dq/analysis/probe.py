"""Linear frame-phone probe: does the encoder know phones better than before?

Pretraining can look healthy by loss and variance while its features move away from
phones (CALIBRATION 9). The probe notices: softmax regression from one layer's frozen
features to the phone at the frame's centre, tested on speakers it has not seen.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class ProbeWeights:
    """A linear classifier on standardised features.

    Attributes:
        mean: ``(D,)`` of the training features.
        scale: ``(D,)`` standard deviations, 1 for constant dimensions.
        weight: ``(D, C)``.
        bias: ``(C,)``.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, D)`` features -> ``(N, C)`` float32 logits."""
        standardised = (features.float() - self.mean) / self.scale
        return torch.addmm(self.bias, standardised, self.weight)


def fit_probe(
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    num_classes: int,
    seed: int = 0,
    iterations: int = 20,
    l2: float = 2e-3,
) -> ProbeWeights:
    """Fit softmax regression: mean cross entropy + l2/2 * |weight|^2.

    The problem is convex; L-BFGS runs on whitened features from the closed-form
    linear discriminant, so few iterations are enough.

    Args:
        features: ``(N, D)`` any float dtype, no padding among them.
        labels: ``(N,)`` int64 in ``[0, num_classes)``.
        num_classes: C.
        seed: Only breaks the tie between equal classes; fits with one seed are equal.
        iterations: Most L-BFGS iterations; with the default ``l2`` more than 20 change
            the accuracy by less than half a point.
        l2: Weight decay on standardised features (scikit-learn's 1 / (C * N)).

    Returns:
        Weights on the device of ``features``.
    """
    # the caller may be anywhere in a training loop: no_grad, inference mode, autocast
    plain = torch.autocast(features.device.type, enabled=False)
    with torch.inference_mode(False), torch.enable_grad(), plain:
        x, labels = features.detach().float(), labels.clone()
        mean = x.mean(0)
        scale = x.std(0, correction=0)
        scale = torch.where(scale > 1e-6 * scale.max().clamp(min=1e-12), scale, 1.0)
        x = (x - mean) / scale
        basis = _whitening(x, labels, num_classes, l2)
        x = x @ basis
        weight, bias = _discriminant(x, labels, num_classes)
        weight, bias = _best_scale(x, labels, weight, bias, basis, l2)
        noise = torch.Generator().manual_seed(seed)
        weight += 1e-6 * torch.randn(weight.shape, generator=noise).to(weight)
        weight, bias = _minimise(x, labels, weight, bias, basis, iterations, l2)
        return ProbeWeights(mean, scale, basis @ weight, bias)


def probe_hits(
    probe: ProbeWeights, features: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Which of ``(N, D)`` have the winning label ``(N,)``; -1 never wins: ``(N,)``."""
    return probe.logits(features).argmax(-1) == labels


def probe_accuracy(
    probe: ProbeWeights, features: torch.Tensor, labels: torch.Tensor
) -> float:
    """Share of frames ``(N, D)`` whose label ``(N,)`` wins; label -1 never does."""
    return float(probe_hits(probe, features, labels).double().mean())


def standard_error(hits: torch.Tensor, groups: torch.Tensor | None = None) -> float:
    """Standard error of the share of hits.

    Args:
        hits: ``(N,)`` bool.
        groups: ``(N,)`` int64 utterance of each item: frames of an utterance are not
            independent, their deviations are summed before squaring (the ratio
            estimator of cluster sampling). ``None``: every item is its own.
    """
    deviation = hits.double() - hits.double().mean()
    if groups is not None:
        size = int(groups.max()) + 1
        deviation = torch.zeros(size, dtype=torch.double).index_add_(
            0, groups.cpu(), deviation.cpu()
        )
    return float(deviation.square().sum().sqrt() / len(hits))


def _class_sums(x: torch.Tensor, labels: torch.Tensor, c: int) -> torch.Tensor:
    """``(N, D)`` -> ``(C, D)`` by a matmul: index_add on CUDA is not deterministic."""
    return F.one_hot(labels, c).to(x).T @ x


def _class_means(x: torch.Tensor, labels: torch.Tensor, c: int) -> torch.Tensor:
    counts = torch.bincount(labels, minlength=c).to(x)
    return _class_sums(x, labels, c) / counts.clamp(min=1)[:, None]


def _whitening(
    x: torch.Tensor, labels: torch.Tensor, c: int, l2: float
) -> torch.Tensor:
    """Basis ``(D, D)`` in which the within-class covariance is about the identity.

    Directions without variance stay short: there the penalty, not the data, curves
    the loss.
    """
    within = x - _class_means(x, labels, c)[labels]
    covariance = (within.T @ within / len(x)).double()
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors / (values.clamp(min=0.0) + 4.0 * l2 + 1e-6).sqrt()).to(x)


def _discriminant(
    x: torch.Tensor, labels: torch.Tensor, c: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian classes of unit covariance: weight ``(D, C)``, bias ``(C,)``."""
    means = _class_means(x, labels, c)
    prior = torch.bincount(labels, minlength=c).to(x).clamp(min=0.5) / len(x)
    return means.T.contiguous(), prior.log() - 0.5 * means.square().sum(-1)


def _best_scale(
    x: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    basis: torch.Tensor,
    l2: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shrink the start: far apart classes make the discriminant's weights huge."""
    stride = max(1, len(x) // 2000)
    some, target = x[::stride], labels[::stride]
    penalty = 0.5 * l2 * (basis @ weight).square().sum()
    logits = torch.addmm(bias, some, weight)
    scales = [0.5**k for k in range(12)]
    losses = [F.cross_entropy(s * logits, target) + s * s * penalty for s in scales]
    best = scales[int(torch.stack(losses).argmin())]
    return best * weight, best * bias


def _minimise(
    x: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    basis: torch.Tensor,
    iterations: int,
    l2: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Full-batch L-BFGS; the penalty is on ``basis @ weight``, as before whitening."""
    n = len(labels)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )
    target = labels[:, None]
    minus_one = x.new_full((n, 1), -1.0)

    @torch.no_grad()
    def closure() -> torch.Tensor:
        # by hand and in place: autograd needs 1.5 times as long for these two matmuls
        plain = basis @ weight
        logits = torch.addmm(bias, x, weight)
        norm = logits.logsumexp(1, keepdim=True)
        loss = (norm - logits.gather(1, target)).mean()
        slope = logits.sub_(norm).exp_().scatter_add_(1, target, minus_one).div_(n)
        weight.grad = torch.addmm(basis.T @ plain, x.T, slope, beta=l2)
        bias.grad = slope.sum(0)
        return loss + 0.5 * l2 * plain.square().sum()

    optimizer.step(closure)
    return weight.detach(), bias.detach()
