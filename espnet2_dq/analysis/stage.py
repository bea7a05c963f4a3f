"""Stage 7: codes, metrics and figures of one pretrained model."""

import json
import logging
from pathlib import Path
from typing import Any, cast

from espnet2_dq.analysis.codes import CodeTable, extract_codes
from espnet2_dq.analysis.figures import (
    code_title,
    plot_code_map,
    plot_probe,
    plot_training,
    save_figure,
)
from espnet2_dq.analysis.jsonl import read_jsonl
from espnet2_dq.analysis.metrics import (
    language_labels,
    measure,
    phone_labels,
    summary_lines,
)
from espnet2_dq.analysis.purity import conditional_map, joint_code
from espnet2_dq.data.tables import write_lines
from espnet2_dq.encoder.frame_grid import FrameGrid


def analyse(
    exp_dir: Path,
    data_dir: Path,
    out_dir: Path,
    *,
    checkpoint: str = "latest.pth",
    device: str = "cpu",
    batch_s: float = 60.0,
) -> dict[str, Any]:
    """Write ``codes.npz``, ``metrics.json`` and figures to ``out_dir``.

    Args:
        exp_dir: Pretraining directory.
        data_dir: Set to analyse; phone metrics need its ``phn.ctm``.
        out_dir: Figures of an earlier run there are replaced.
        checkpoint: Weights in ``exp_dir``.
        device: Torch device.
        batch_s: Padded seconds of audio in a batch.

    Returns:
        What ``metrics.json`` holds.
    """
    from espnet2_dq.ssl.build import load_ssl_model

    model, _ = load_ssl_model(exp_dir, checkpoint, device)
    out_dir.mkdir(parents=True, exist_ok=True)
    for stale in (*out_dir.glob("*.png"), *out_dir.glob("*.svg")):
        stale.unlink()
    table = extract_codes(model, data_dir, batch_s=batch_s, device=device)
    table.save(out_dir / "codes.npz")
    grid = cast(FrameGrid, model.frame_grid)
    metrics = {"checkpoint": checkpoint, **measure(table, data_dir, grid=grid)}
    metrics["figures"] = [
        *_code_figures(table, data_dir, out_dir, metrics, grid),
        *training_figures(exp_dir, out_dir, "Pretraining"),
    ]
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(out_dir / "metrics.json", text.splitlines())
    for line in summary_lines(metrics):
        logging.info("%s", line)
    return metrics


def _code_figures(
    table: CodeTable,
    data_dir: Path,
    out_dir: Path,
    metrics: dict[str, Any],
    grid: FrameGrid,
) -> list[str]:
    """Figs. 2 and 3 of the paper, as far as there are codes and labels."""
    made = []
    if table.language is not None:
        found = conditional_map(
            language_labels(table, data_dir), joint_code(table.language)
        )
        figure = plot_code_map(found, code_title(metrics, "language"), "language")
        save_figure(figure, out_dir / "language_codes.png")
        made.append("language_codes.png")
    if table.phoneme is not None and metrics["pnmi"] is not None:
        phones, known = phone_labels(table, data_dir, grid)
        found = conditional_map(phones[known], joint_code(table.phoneme[known]))
        figure = plot_code_map(found, code_title(metrics, "phoneme"), "phone")
        save_figure(figure, out_dir / "phone_codes.png")
        made.append("phone_codes.png")
    return made


def training_figures(exp_dir: Path, out_dir: Path, title: str) -> list[str]:
    """Curves of ``log.jsonl`` and ``probe.jsonl`` where these exist."""
    figures = {
        "training.svg": plot_training(read_jsonl(exp_dir / "log.jsonl"), title),
        "probe.svg": plot_probe(read_jsonl(exp_dir / "probe.jsonl")),
    }
    for name, figure in figures.items():
        if figure is not None:
            save_figure(figure, out_dir / name)
    return [name for name, figure in figures.items() if figure is not None]
