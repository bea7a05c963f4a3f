"""The figures of stage 7, from what it has measured."""

from pathlib import Path
from typing import Any

from espnet2_dq.analysis.alignments import Alignments
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.figures import (
    code_title,
    plot_code_map,
    plot_probe,
    plot_training,
    save_figure,
    target_title,
)
from espnet2_dq.analysis.jsonl import read_jsonl
from espnet2_dq.analysis.labels import LANGUAGES, phone_labels, utterance_labels
from espnet2_dq.analysis.purity import conditional_map, joint_code
from espnet2_dq.encoder.frame_grid import FrameGrid


def code_figures(
    table: CodeTable,
    aligned: Alignments,
    out_dir: Path,
    metrics: dict[str, Any],
    grid: FrameGrid,
) -> list[str]:
    """Figs. 2 and 3 of the paper, as far as there are codes and labels.

    A quantizer with a target of its own (``utt2spk``) gets ``<target>_codes.png``, too.
    """
    made = []
    if table.language is not None:
        target = metrics["target"]["table"]
        for name in dict.fromkeys((LANGUAGES, target)):
            labels = utterance_labels(table.utterances, metrics["data_dir"], name)
            found = conditional_map(labels, joint_code(table.language))
            what = "language" if name == LANGUAGES else name.removeprefix("utt2")
            title = code_title(metrics, "language")
            if name != LANGUAGES:
                title = target_title(metrics)
            save_figure(
                plot_code_map(found, title, what), out_dir / f"{what}_codes.png"
            )
            made.append(f"{what}_codes.png")
    if table.phoneme is not None and metrics["pnmi"] is not None:
        phones, known = phone_labels(table, aligned.phones, grid)
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
