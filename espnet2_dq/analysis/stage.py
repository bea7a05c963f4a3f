"""Stage 7: codes, metrics and figures of one pretrained model."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from espnet2_dq.analysis.alignments import (
    AlignmentOptions,
    Alignments,
    exact_alignments,
    user_alignments,
)
from espnet2_dq.analysis.codes import CodeTable, extract_codes
from espnet2_dq.analysis.labels import LANGUAGES
from espnet2_dq.analysis.metrics import Quantizers, measure
from espnet2_dq.analysis.summary import summary_lines
from espnet2_dq.data.ctm import write_rejects
from espnet2_dq.data.rejects import require_few_rejects
from espnet2_dq.data.tables import write_lines
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import ConfigError

REJECTS = "alignment_rejects.tsv"


@dataclass(frozen=True)
class AlignmentSource:
    """Where phone times come from; neither path: the directory's own ``phn.ctm``.

    Attributes:
        path: The user's ``.ctm``, or folder of TextGrid files.
        align_with: Fine-tuned phoneme model for a CTC alignment of our own.
        options: What is accepted.
    """

    path: Path | None = None
    align_with: Path | None = None
    options: AlignmentOptions = field(default_factory=AlignmentOptions)

    def __post_init__(self) -> None:
        """Refuse two sources."""
        if self.path is not None and self.align_with is not None:
            raise ConfigError("--alignments and --align_with: give one of the two")

    def load(
        self,
        data_dir: Path,
        out_dir: Path,
        *,
        device: str = "cpu",
        batch_s: float = 60.0,
    ) -> Alignments:
        """Alignments of a data directory; rejects go to ``out_dir``.

        Raises:
            DataError: Too many do not fit their sounds, or there are none at all.
        """
        if self.align_with is not None:
            from espnet2_dq.analysis.ctc_alignment import ctc_alignments

            found = ctc_alignments(
                self.align_with, data_dir, self.options, device=device, batch_s=batch_s
            )
        elif self.path is not None:
            found = user_alignments(self.path, data_dir, self.options)
        else:
            found = exact_alignments(data_dir, self.options)
        listed = out_dir / REJECTS
        listed.unlink(missing_ok=True)
        if found.rejects:
            write_rejects(listed, found.rejects)
        require_few_rejects(
            f"alignments of {found.source}",
            len(found.phones),
            found.rejects,
            self.options.max_reject_ratio,
            str(listed),
        )
        return found


def analyse(
    exp_dir: Path,
    data_dir: Path,
    out_dir: Path,
    *,
    checkpoint: str = "latest.pth",
    device: str = "cpu",
    batch_s: float = 60.0,
    alignments: AlignmentSource | None = None,
) -> dict[str, Any]:
    """Write ``codes.npz``, ``metrics.json`` and figures to ``out_dir``.

    Args:
        exp_dir: Pretraining directory.
        data_dir: Set to analyse.
        out_dir: Figures of an earlier run there are replaced.
        checkpoint: Weights in ``exp_dir``.
        device: Torch device.
        batch_s: Padded seconds of audio in a batch.
        alignments: Where phone times come from; phone metrics need some.

    Returns:
        What ``metrics.json`` holds.
    """
    from espnet2_dq.ssl.build import load_ssl_model

    model, _ = load_ssl_model(exp_dir, checkpoint, device)
    prepare_output(out_dir)
    # first, since it is here that a user's files turn out not to fit
    source = alignments or AlignmentSource()
    aligned = source.load(data_dir, out_dir, device=device, batch_s=batch_s)
    table = extract_codes(model, data_dir, batch_s=batch_s, device=device)
    table.save(out_dir / "codes.npz")
    grid = cast(FrameGrid, model.frame_grid)
    measured = measure(
        table,
        data_dir,
        grid=grid,
        alignments=aligned,
        quantizers=_quantizers(model.conf),
    )
    metrics = {"checkpoint": checkpoint, **measured}
    return finish(metrics, table, aligned, out_dir, grid=grid, exp_dir=exp_dir)


def prepare_output(out_dir: Path) -> None:
    """Make the folder; figures and numbers of an earlier run must not survive."""
    out_dir.mkdir(parents=True, exist_ok=True)
    stale = [*out_dir.glob("*.png"), *out_dir.glob("*.svg"), out_dir / "metrics.json"]
    for path in stale:
        path.unlink(missing_ok=True)


def finish(
    metrics: dict[str, Any],
    table: CodeTable,
    aligned: Alignments,
    out_dir: Path,
    *,
    grid: FrameGrid,
    exp_dir: Path | None = None,
) -> dict[str, Any]:
    """Draw the figures, write ``metrics.json``, log the summary."""
    # imported here, since matplotlib takes half as long to load as torch
    from espnet2_dq.analysis.stage_figures import code_figures, training_figures

    metrics["figures"] = code_figures(table, aligned, out_dir, metrics, grid)
    if exp_dir is not None:
        metrics["figures"] += training_figures(exp_dir, out_dir, "Pretraining")
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    write_lines(out_dir / "metrics.json", text.splitlines())
    for line in summary_lines(metrics):
        logging.info("%s", line)
    return metrics


def _quantizers(conf: Any) -> Quantizers:
    """Sizes and target, from the ``model_conf`` of either objective."""
    clusters = {}
    for name in ("language", "phoneme"):
        branch = getattr(conf, name, None)
        if branch is not None and branch.enable:
            clusters[name] = int(branch.clusters)
    if hasattr(conf, "quantizer"):  # wav2vec 2.0: its codes stand for phonemes
        clusters["phoneme"] = int(conf.quantizer.codes)
    target = getattr(getattr(conf, "language", None), "target", LANGUAGES)
    return Quantizers(clusters, str(target))
