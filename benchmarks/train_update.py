"""CPU time of one pretraining update, ours against Hugging Face.

One update is: student forward, teacher forward, loss, backward, Adam, EMA. The Hugging
Face contender is Data2VecAudioModel wired to that by hand (``hf_plain``: with the
loops torch gives by default; ``hf``: with the fused Adam and the multi-tensor EMA that
we use, so that only the model differs). Contenders take turns (A B A B), one thread,
CPU seconds, medians, because machines are shared. Prints JSON lines, then a table.

    python benchmarks/train_update.py --repeats 5 --sizes base small
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.ssl.losses import regression_loss

DECAY = 0.999


@dataclass(frozen=True)
class Size:
    """One model size and its batch."""

    dim: int
    heads: int
    units: int
    layers: int
    channels: int
    top_k: int
    utterances: int
    seconds: float


SIZES = {
    "base": Size(768, 12, 3072, 12, 512, 8, 2, 5.0),
    "small": Size(256, 4, 1024, 6, 128, 4, 4, 3.0),
}


def make_batch(size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Speech ``(B, S)`` and a span mask ``(B, T)`` with about 49 % masked frames."""
    generator = torch.Generator().manual_seed(0)
    samples = round(size.seconds * 16000)
    speech = torch.randn(size.utterances, samples, generator=generator)
    frames = (samples - 400) // 320 + 1
    starts = torch.rand(size.utterances, frames, generator=generator) < 0.065
    mask = nn.functional.max_pool1d(
        nn.functional.pad(starts.float(), (9, 0)), kernel_size=10, stride=1
    )
    return speech, mask.bool()


def make_labels(speech: torch.Tensor, span_mask: torch.Tensor) -> dict[str, Any]:
    """Labels as the collate gives them: half of the utterances have 12 phonemes a s."""
    seconds = speech.shape[1] / 16000
    generator = torch.Generator().manual_seed(1)
    phn = torch.randint(1, 174, (len(speech), int(12 * seconds)), generator=generator)
    lengths = torch.full((len(speech),), phn.shape[1])
    lengths[::2] = 0
    return {
        "lang": torch.arange(len(speech))[:, None] % 9,
        "phn": phn,
        "phn_lengths": lengths,
        "mix_frames": torch.rand(span_mask.shape, generator=generator) < 0.5,
        "mix_utterance": torch.rand(len(speech), generator=generator) < 0.5,
    }


def our_update(size: Size, *, dq: bool, deep: bool = False) -> Callable[[], Any]:
    """Our model: data2vec, DQ with both branches, or these with labels (deep)."""
    additional = {"type": "conv" if deep else "none"}
    supervision = {"language": True, "phoneme": "mixed", "languages": 9, "tokens": 174}
    model = build_ssl_model(
        {
            "frontend": "waveform",
            "frontend_conf": {"channels": size.channels},
            "encoder_conf": {
                "output_size": size.dim,
                "attention_heads": size.heads,
                "linear_units": size.units,
                "num_blocks": size.layers,
                "layer_drop_rate": 0.0,
                "positional": {"style": "data2vec"},
            },
            "model_conf": {
                "regression": {"top_k": size.top_k},
                "language": {"enable": dq, "additional": additional},
                "phoneme": {"enable": dq, "additional": additional},
                "supervision": supervision if deep else {},
                "gauge_interval": 10**9,
            },
        }
    ).train()
    speech, span_mask = make_batch(size)
    lengths = torch.full((len(speech),), speech.shape[1])
    labels = make_labels(speech, span_mask) if deep else {}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-5, fused=True)

    def update() -> None:
        loss, _, _ = model(speech, lengths, span_mask, **labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.on_update(optimizer)

    return update


class HuggingFaceData2Vec(nn.Module):
    """Data2VecAudioModel with the teacher and loss that it does not bring."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        from transformers import Data2VecAudioConfig, Data2VecAudioModel

        config = Data2VecAudioConfig(
            hidden_size=size.dim,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.units,
            conv_dim=(size.channels,) * 7,
            layerdrop=0.0,
            activation_dropout=0.0,
            feat_proj_dropout=0.0,
        )
        self.model = Data2VecAudioModel(config)
        self.teacher = copy.deepcopy(self.model.encoder).requires_grad_(False)
        self.head = nn.Linear(size.dim, size.dim)
        self.taps: list[torch.Tensor] = []
        for layer in self.teacher.layers[-size.top_k :]:
            layer.feed_forward.output_dense.register_forward_hook(
                lambda _m, _i, out: self.taps.append(out)
            )
        self.train()
        self.teacher.eval()

    def forward(self, speech: torch.Tensor, span_mask: torch.Tensor) -> torch.Tensor:
        """Loss of data2vec (masked frames, instance-normalised targets)."""
        speech = nn.functional.layer_norm(speech, speech.shape[1:])
        feats = self.model.feature_extractor(speech).transpose(1, 2)
        feats, _ = self.model.feature_projection(feats)
        self.taps.clear()
        with torch.no_grad():
            self.teacher(feats.detach())
            normed = [
                nn.functional.instance_norm(t.float().transpose(1, 2))
                for t in self.taps
            ]
            target = torch.stack(normed).mean(0).transpose(1, 2)[span_mask]
        masked = torch.where(
            span_mask[..., None], self.model.masked_spec_embed.to(feats.dtype), feats
        )
        student = self.model.encoder(masked).last_hidden_state
        prediction = self.head(student[span_mask])
        return regression_loss(prediction, target).sum() / len(target)


def their_update(size: Size, *, plain: bool) -> Callable[[], Any]:
    """The Hugging Face contender."""
    model = HuggingFaceData2Vec(size)
    speech, span_mask = make_batch(size)
    trained = [p for p in model.parameters() if p.requires_grad]
    options = {"foreach": False} if plain else {"fused": True}
    optimizer = torch.optim.Adam(trained, lr=1e-5, **options)
    students = list(model.model.encoder.parameters())
    teachers = list(model.teacher.parameters())

    @torch.no_grad()
    def average() -> None:
        if plain:
            for teacher, student in zip(teachers, students, strict=True):
                teacher.mul_(DECAY).add_(student, alpha=1.0 - DECAY)
        else:
            torch._foreach_lerp_(teachers, students, 1.0 - DECAY)

    def update() -> None:
        model(speech, span_mask).backward()
        optimizer.step()
        optimizer.zero_grad()
        average()

    return update


CONTENDERS: dict[str, Callable[[Size], Callable[[], Any]]] = {
    "hf_plain": lambda size: their_update(size, plain=True),
    "hf": lambda size: their_update(size, plain=False),
    "ours": lambda size: our_update(size, dq=False),
    "ours_dq": lambda size: our_update(size, dq=True),
    "ours_deep": lambda size: our_update(size, dq=True, deep=True),
}


def measure(
    updates: dict[str, Callable[[], Any]], repeats: int, precisions: list[str]
) -> dict[tuple[str, str], float]:
    """Median CPU seconds of every contender and precision, taken in turns."""
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(repeats + 1):
        for precision in precisions:
            for name, update in updates.items():
                start = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    update()
                if turn:  # the first turn warms up
                    seconds = time.process_time() - start
                    times.setdefault((name, precision), []).append(seconds)
    return {key: statistics.median(values) for key, values in times.items()}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS)
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in args.sizes:
        size = SIZES[name]
        torch.manual_seed(0)
        # the phoneme branch taps layers that the small model does not have
        needs = {"ours_dq": 9, "ours_deep": 9}
        fitting = [c for c in args.contenders if size.layers >= needs.get(c, 0)]
        updates = {c: CONTENDERS[c](size) for c in fitting}
        medians = measure(updates, args.repeats, args.precisions)
        reference = medians.get(("hf", "fp32"))
        for (contender, precision), seconds in medians.items():
            ratio = seconds / reference if reference else float("nan")
            row = {
                "size": name,
                "contender": contender,
                "precision": precision,
                "cpu_s": round(seconds, 4),
                "ratio_to_hf_fp32": round(ratio, 3),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(f"\n{'size':6} {'contender':10} {'precision':9} {'CPU s':>8} {'ratio':>6}")
    for row in rows:
        print(
            f"{row['size']:6} {row['contender']:10} {row['precision']:9} "
            f"{row['cpu_s']:8.3f} {row['ratio_to_hf_fp32']:6.2f}"
        )


if __name__ == "__main__":
    main()
