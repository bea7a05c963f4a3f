"""CPU time and memory of one quantizer step, ours against vector-quantize-pytorch.

A step is forward and backward: distances, codes, straight-through output, both k-means
terms, gradients of features and codebook. Two comparisons:

* ``step``: on encoded features, as SPEED.md counts it. vector-quantize-pytorch runs in
  the mode that is nearest to ours (codebook learned by gradient) and in its own default
  (codebook as a moving average of assigned features, no codebook gradient).
* ``module``: with the grouped 1x1 convolution and group normalisation in front; theirs
  are the torch modules on ``(B, D, T)``, as in fairseq.

Contenders take turns (A B A B), one thread, CPU seconds, medians. Memory: the most that
a step holds beside features, parameters and the given gradient of its output (torch's
profiler), also divided by the size of features and codes. Prints JSON lines, then a
table.

    python benchmarks/kmeans_step.py --repeats 7
"""

import argparse
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from espnet2_dq.ssl.quantizer import OnlineKMeans, assign

GROUPS = 2
GAMMA = 0.25


def make_features(frames: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``(frames, dim)`` and a fixed gradient for the quantized output."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(frames, dim, generator=generator)
    return features, torch.randn(frames, dim, generator=generator)


class Rest(torch.autograd.Function):
    """Stands for the rest of the model: gives the quantized output its gradient."""

    @staticmethod
    def forward(ctx, quantized, cotangent):
        ctx.save_for_backward(cotangent)
        return quantized.new_zeros(())

    @staticmethod
    def backward(ctx, _grad):
        return ctx.saved_tensors[0], None


def our_step(frames: int, dim: int, clusters: int) -> Callable[[], None]:
    """Assignment and losses alone."""
    features, cotangent = make_features(frames, dim)
    features.requires_grad_()
    codebook = torch.randn(GROUPS, clusters, dim // GROUPS, requires_grad=True)

    def step() -> None:
        split = features.view(frames, GROUPS, dim // GROUPS)
        quantized, _, items = assign(split, codebook, GAMMA)
        rest = Rest.apply(quantized.view(frames, dim), cotangent)
        del quantized
        (items.mean() / dim + rest).backward()
        features.grad = codebook.grad = None

    return step


def their_quantizer(dim: int, clusters: int, learned: bool) -> nn.Module:
    """vector-quantize-pytorch with one codebook per group and no projection."""
    from vector_quantize_pytorch import VectorQuantize

    mode = {"ema_update": False, "learnable_codebook": True} if learned else {}
    return VectorQuantize(
        dim=dim,
        codebook_dim=dim // GROUPS,
        codebook_size=clusters,
        heads=GROUPS,
        separate_codebook_per_head=True,
        commitment_weight=GAMMA,
        rotation_trick=False,
        **mode,
    ).train()


def their_step(
    frames: int, dim: int, clusters: int, *, learned: bool
) -> Callable[[], None]:
    """vector-quantize-pytorch on the same features."""
    features, cotangent = make_features(frames, dim)
    features.requires_grad_()
    quantizer = their_quantizer(dim, clusters, learned)

    def step() -> None:
        quantized, _, commit = quantizer(features.unsqueeze(0))
        rest = Rest.apply(quantized.view(frames, dim), cotangent)
        del quantized
        (commit.sum() + rest).backward()
        features.grad = None
        quantizer.zero_grad()

    return step


def our_module(frames: int, dim: int, clusters: int) -> Callable[[], None]:
    """The whole quantizer; its features come from the teacher, without gradient."""
    features, cotangent = make_features(frames, dim)
    quantizer = OnlineKMeans(dim, clusters, GROUPS, norm_over_time=True)

    def step() -> None:
        out = quantizer(features.unsqueeze(0))
        rest = Rest.apply(out.quantized.view(frames, dim), cotangent)
        loss = out.kmeans_loss + rest
        del out
        loss.backward()
        quantizer.zero_grad()

    return step


def their_module(frames: int, dim: int, clusters: int) -> Callable[[], None]:
    """Convolution, group normalisation, vector-quantize-pytorch."""
    features, cotangent = make_features(frames, dim)
    front = nn.Sequential(
        nn.Conv1d(dim, dim, 1, groups=GROUPS, bias=False), nn.GroupNorm(GROUPS, dim)
    )
    quantizer = their_quantizer(dim, clusters, learned=True)

    def step() -> None:
        encoded = front(features.T.unsqueeze(0)).transpose(1, 2)
        quantized, _, commit = quantizer(encoded)
        rest = Rest.apply(quantized.reshape(frames, dim), cotangent)
        del quantized, encoded
        (commit.sum() + rest).backward()
        front.zero_grad()
        quantizer.zero_grad()

    return step


CONTENDERS: dict[str, Callable[[int, int, int], Callable[[], None]]] = {
    "step_ours": our_step,
    "step_vq_learned": lambda n, d, v: their_step(n, d, v, learned=True),
    "step_vq_ema": lambda n, d, v: their_step(n, d, v, learned=False),
    "module_ours": our_module,
    "module_vq_learned": their_module,
}


def peak_bytes(step: Callable[[], None]) -> int:
    """Most memory that one step holds beyond what was there before it.

    The profiler reports every allocation and release of torch's allocator; the resident
    set of the process would hide what fits into memory freed before.
    """
    step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
            step()
    events = [e for e in run.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def median_seconds(
    steps: dict[str, Callable[[], None]], repeats: int
) -> dict[str, float]:
    """Median CPU seconds of every step, taken in turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--frames", type=int, default=8000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--clusters", type=int, default=174)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = (args.frames, args.dim, args.clusters)
    steps = {name: make(*sizes) for name, make in CONTENDERS.items()}
    seconds = median_seconds(steps, args.repeats)
    # what the step is given and what it returns: float32 features, int64 codes
    base = args.frames * (args.dim * 4 + GROUPS * 8)
    rows = []
    for name, value in seconds.items():
        ours = seconds[name.split("_")[0] + "_ours"]
        memory = peak_bytes(steps[name])
        row = {
            "benchmark": "kmeans_step",
            "contender": name,
            "frames": args.frames,
            "cpu_s": round(value, 4),
            "ours_over_this": round(ours / value, 3),
            "memory_mb": round(memory / 1e6, 1),
            "memory_over_input_and_codes": round(memory / base, 2),
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    columns = list(rows[0])[1:]
    print("  ".join(columns))
    for row in rows:
        print("  ".join(str(row[c]).rjust(len(c)) for c in columns))


if __name__ == "__main__":
    main()
