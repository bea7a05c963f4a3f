"""Stage 7: codes, metrics and figures of one pretrained model."""

import json
import logging
from pathlib import Path
from typing import Any, cast

from espnet2_dq.analysis.codes import extract_codes
from espnet2_dq.analysis.metrics import measure, summary_lines
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
    # imported here, since matplotlib takes half as long to load as torch
    from espnet2_dq.analysis.stage_figures import code_figures, training_figures

    metrics["figures"] = [
        *code_figures(table, data_dir, out_dir, metrics, grid),
        *training_figures(exp_dir, out_dir, "Pretraining"),
    ]
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(out_dir / "metrics.json", text.splitlines())
    for line in summary_lines(metrics):
        logging.info("%s", line)
    return metrics
