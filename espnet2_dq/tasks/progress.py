"""What a user sees while training: one line an interval, the same as JSON lines."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SAMPLE_RATE_HZ = 16000


class ProgressLog:
    """Writes the log line and ``log.jsonl`` every ``progress_interval`` updates.

    Args:
        model: Has ``num_updates`` (tensor) and ``updates_total`` (int).
        reporter: ESPnet's SubReporter of this epoch.
        summary_writer: TensorBoard writer or ``None``.
        options: Trainer options.
        rank: Only rank 0 writes; ``None`` is a single process.
    """

    def __init__(
        self,
        model: Any,
        reporter: Any,
        summary_writer: Any,
        options: Any,
        *,
        rank: int | None,
    ) -> None:
        self.model = model
        self.reporter = reporter
        self.writer = summary_writer
        self.interval = options.progress_interval
        self.accum_grad = options.accum_grad
        self.path = Path(options.output_dir) / "log.jsonl"
        self.active = rank in (None, 0)
        self.seen = 0
        self.audio_s = 0.0
        self.started = time.perf_counter()
        if self.active:
            forget_after(self.path, int(model.num_updates))

    def after_update(self, group: list[tuple[list[str], dict[str, Any]]]) -> None:
        """Count the update that the trainer has just taken; write if it is time."""
        self.seen += 1
        for _, batch in group:
            samples = float(batch["speech_lengths"].sum())
            share = float(batch["loss_scale"]) / self.accum_grad
            # Other ranks hold about as much audio per utterance as this one.
            self.audio_s += samples / _SAMPLE_RATE_HZ * share
        update = int(self.model.num_updates)
        last = update >= self.model.updates_total
        if self.active and (self.seen >= self.interval or last):
            self._write(update)

    def _write(self, update: int) -> None:
        seconds = time.perf_counter() - self.started
        total = max(1, self.model.updates_total)
        record: dict[str, Any] = {
            "update": update,
            "updates_total": total,
            "epoch": self.reporter.get_epoch(),
            "percent": round(100.0 * update / total, 2),
            "eta_s": round(seconds / self.seen * max(0, total - update), 1),
            "audio_hours_per_hour": round(self.audio_s / seconds, 2),
            "audio_s_per_update": round(self.audio_s / self.seen, 2),
        }
        record |= self._stats(self.seen * self.accum_grad)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        logging.info(_line(record))
        if self.writer is not None:
            for name, value in record.items():
                if value is not None and name != "update":
                    self.writer.add_scalar(name, value, update)
        self.seen, self.audio_s = 0, 0.0
        self.started = time.perf_counter()

    def _stats(self, batches: int) -> dict[str, float | None]:
        """Means over the last batches, NaN (gauge not taken) left out."""
        means: dict[str, float | None] = {}
        for name, values in self.reporter.stats.items():
            numbers = np.array([v.value for v in values[-batches:]], dtype=float)
            finite = numbers[np.isfinite(numbers)]
            means[_RENAMED.get(name, name)] = (
                float(f"{finite.mean():.6g}") if len(finite) else None
            )
        return means


_RENAMED = {"optim0_lr0": "lr"}
_IN_LINE_ONLY = ("iter_time", "forward_time", "backward_time", "optim_step_time")


def _line(record: dict[str, Any]) -> str:
    eta = time.strftime("%H:%M:%S", time.gmtime(record["eta_s"]))
    days = int(record["eta_s"] // 86400)
    head = (
        f"update {record['update']}/{record['updates_total']}"
        f" ({record['percent']:.1f} %) ETA {f'{days}d ' if days else ''}{eta}"
        f" {record['audio_hours_per_hour']:.0f} audio h/h:"
    )
    skip = {"update", "updates_total", "epoch", "percent", "eta_s", "train_time"}
    skip |= {"audio_hours_per_hour", "audio_s_per_update", "loss_scale", *_IN_LINE_ONLY}
    values = (
        f"{name}={value:.4g}"
        for name, value in record.items()
        if name not in skip and value is not None and not name.startswith("optim0_")
    )
    return f"{head} {' '.join(values)}"


def forget_after(path: Path, update: int) -> None:
    """Drop JSON lines of updates that a resumed run is about to repeat."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = []
    for line in lines:
        try:
            if json.loads(line)["update"] <= update:
                kept.append(line)
        except (json.JSONDecodeError, KeyError):
            continue  # a line cut short by a kill
    if len(kept) != len(lines):
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        temporary.replace(path)


def preserve_rng() -> Any:
    """Context in which random numbers may be drawn without changing training."""
    return torch.random.fork_rng()
