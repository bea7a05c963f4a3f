"""Figures of a run: what codes stand for, curves of training, the probe.

matplotlib with the Agg backend, without pyplot: no window, no global state, no torch.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from espnet2_dq.analysis.purity import ConditionalMap

# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MAX_ROW_NAMES = 60
MAX_PANEL_CURVES = 7
# Panel -> how the keys of log.jsonl that belong there begin or end; first match wins.
_PANELS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("losses", ("loss",), ()),
    ("accuracy and error", ("acc", "ter", "blank_ratio"), ()),
    ("code perplexity", (), ("_perplexity_g1", "_perplexity_g2", "_perplexity")),
    ("codes in use", (), ("_codes_g1", "_codes_g2")),
    ("code sequences alike between utterances", ("phoneme_code_similarity",), ()),
    ("spread (variance gauge)", (), ("_spread",)),
    ("effective rank", (), ("_rank",)),
    ("cosine between frames", (), ("_cosine",)),
    ("gradient norm", ("grad_norm",), ()),
    ("learning rate", ("lr",), ()),
    ("audio hours per hour", ("audio_hours_per_hour",), ()),
)
_NOT_CURVES = ("loss_scale",)
Records = Sequence[Mapping[str, Any]]


def save_figure(
    figure: Figure, target: Path | str | BinaryIO, *, vector: bool | None = None
) -> None:
    """Write PNG or SVG; the same figure gives the same bytes.

    Args:
        figure: What to write.
        target: File, whose suffix decides unless ``vector`` does, or a stream.
        vector: True for SVG.
    """
    if isinstance(target, str | Path):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        vector = Path(target).suffix == ".svg" if vector is None else vector
    metadata = {"Date": None} if vector else {"Software": None}
    # text stays text, in the reader's own font; ids do not change from run to run
    with matplotlib.rc_context({"svg.hashsalt": "dq", "svg.fonttype": "none"}):
        figure.savefig(
            target, dpi=110, metadata=metadata, format="svg" if vector else "png"
        )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_code_map(found: ConditionalMap, title: str, row_name: str) -> Figure:
    """Heat map of P(label|code), ordered as in the paper's Figs. 2 and 3.

    Args:
        found: Rows and columns in reading R28's order.
        title: With ACN, AGN, purity and normalised information (:func:`code_title`).
        row_name: What a row is: ``language`` or ``phone``.
    """
    rows, columns = found.probability.shape
    figure = new_figure(9.0, min(14.0, 1.6 + max(1.2, 0.12 * min(rows, MAX_ROW_NAMES))))
    axes = figure.subplots()
    image = axes.imshow(
        _shrink(found.probability, 2400),
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=0.0,
        vmax=1.0,
        extent=(0.0, float(columns), float(rows), 0.0),
    )
    step = math.ceil(rows / MAX_ROW_NAMES)
    axes.set_yticks(np.arange(0, rows, step) + 0.5, found.labels[::step], fontsize=7)
    axes.set_ylabel(f"{row_name}, most frequent on top")
    axes.set_xlabel("active joint codes, by their most probable row")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label=f"P({row_name}|code)", pad=0.01)
    return figure


def _shrink(matrix: np.ndarray, max_columns: int) -> np.ndarray:
    """Maximum over neighbouring columns, so that no path gets lost on the screen."""
    columns = matrix.shape[1]
    if columns <= max_columns:
        return matrix
    starts = np.linspace(0, columns, max_columns, endpoint=False).astype(int)
    shrunk: np.ndarray = np.maximum.reduceat(matrix, starts, axis=1)
    return shrunk


def code_title(metrics: Mapping[str, Any], quantizer: str) -> str:
    """``ACN 81, AGN 9 and 9, LP 0.46 [0.20], LNMI 0.34 [0.10]``; [shuffled codes]."""
    keys = ("lp", "lnmi") if quantizer == "language" else ("pp", "pnmi")
    return _title(metrics, quantizer, {key.upper(): metrics[key] for key in keys})


def target_title(metrics: Mapping[str, Any]) -> str:
    """The same for the table that the utterance-level quantizer follows."""
    target = metrics["target"]
    values = {"purity": target["purity"], "NMI": target["nmi"]}
    return _title(metrics, "language", values)


def _title(
    metrics: Mapping[str, Any], quantizer: str, values: Mapping[str, Mapping[str, Any]]
) -> str:
    parts = [
        f"ACN {metrics['acn'][quantizer]}",
        f"AGN {' and '.join(str(n) for n in metrics['agn'][quantizer])}",
    ]
    for name, part in values.items():
        if part["joint"] is not None:
            control = part["permutation"]["joint"]
            parts.append(f"{name} {part['joint']:.2f} [{control:.2f}]")
    return ", ".join(parts) + "; [shuffled codes]"


def panels(records: Records) -> dict[str, list[str]]:
    """Which keys of ``log.jsonl`` are drawn in which panel; empty panels left out."""
    names = list(dict.fromkeys(name for record in records for name in record))
    chosen: dict[str, list[str]] = {}
    taken: set[str] = set(_NOT_CURVES)
    for panel, starts, ends in _PANELS:
        for name in names:
            if name in taken or not _curve(records, name)[0]:
                continue
            # "accuracy" would also start with "acc": whole words only
            begins = any(name == s or name.startswith(f"{s}_") for s in starts)
            if begins or (ends and name.endswith(ends)):
                chosen.setdefault(panel, []).append(name)
                taken.add(name)
    return chosen


def _curve(records: Records, name: str) -> tuple[list[float], list[float]]:
    """Updates and finite values of one key; a gauge not taken is not drawn."""
    points = [
        (float(r["update"]), float(r[name]))
        for r in records
        if isinstance(r.get(name), int | float) and math.isfinite(r[name])
    ]
    return [x for x, _ in points], [y for _, y in points]


def plot_training(records: Records, title: str) -> Figure | None:
    """Curves of ``log.jsonl``, one panel for each kind; ``None`` without records."""
    found = panels(records)
    if not found:
        return None
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure = new_figure(3.7 * columns, 2.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    for axes, (panel, names) in zip(grid, found.items(), strict=False):
        for i, name in enumerate(names[:MAX_PANEL_CURVES]):
            _line(axes, *_curve(records, name), label=name, index=i)
        axes.set_title(panel, fontsize=9)
        axes.set_xlabel("update", fontsize=8)
        finish_axes(axes)
        if len(names) > 1 or names[0] != panel:
            axes.legend(fontsize=6, framealpha=0.6)
    figure.suptitle(title, fontsize=11)
    return figure


def _line(
    axes: Axes, x: Sequence[float], y: Sequence[float], *, label: str, index: int
) -> None:
    style = ("-", "--", ":")[index // len(COLOURS) % 3]
    axes.plot(
        x,
        y,
        style,
        color=COLOURS[index % len(COLOURS)],
        label=label,
        linewidth=1.2,
        marker="o" if len(x) < 12 else None,
        markersize=3,
    )


def finish_axes(axes: Axes) -> None:
    """The grid, labels and frame that all panels share."""
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def plot_probe(records: Records) -> Figure | None:
    """Frame-phone accuracy by update and by layer; ``None`` without records."""
    by_network: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_network.setdefault(str(record.get("network", "student")), []).append(record)
    if not by_network:
        return None
    rows = len(by_network)
    figure = new_figure(9.5, 3.2 * rows)
    grid = figure.subplots(rows, 2, squeeze=False)
    for (left, right), (network, lines) in zip(grid, by_network.items(), strict=True):
        lines = sorted(lines, key=lambda record: record["update"])
        _probe_by_update(left, network, lines)
        _probe_by_layer(right, network, lines)
    return figure


def _probe_by_update(
    axes: Axes, network: str, records: Sequence[Mapping[str, Any]]
) -> None:
    updates = [r["update"] for r in records]
    _line(axes, updates, _percent(r["best"] for r in records), label="best", index=0)
    first = _percent(r["layer"][0] for r in records)
    _line(axes, updates, first, label="encoder input", index=1)
    last = _percent(r["layer"][-1] for r in records)
    _line(axes, updates, last, label="last layer", index=2)
    majority = _percent(r["majority"] for r in records)
    _line(axes, updates, majority, label="majority", index=6)
    axes.set_xlabel("update", fontsize=8)
    axes.set_ylabel("frame-phone accuracy [%]", fontsize=8)
    axes.set_title(f"{network}: by update", fontsize=9)
    axes.legend(fontsize=7)
    finish_axes(axes)


def _probe_by_layer(
    axes: Axes, network: str, records: Sequence[Mapping[str, Any]]
) -> None:
    for i, record in enumerate(_spread_out(records, 6)):
        accuracy = _percent(record["layer"])
        label = f"update {record['update']}"
        _line(axes, range(len(accuracy)), accuracy, label=label, index=i)
    axes.set_xlabel("layer (0 = encoder input)", fontsize=8)
    axes.set_title(f"{network}: by layer", fontsize=9)
    axes.legend(fontsize=7)
    finish_axes(axes)


def _percent(values: Any) -> list[float]:
    return [100.0 * value for value in values]


def _spread_out(
    records: Sequence[Mapping[str, Any]], count: int
) -> list[Mapping[str, Any]]:
    """First, last, and evenly spread ones between."""
    if len(records) <= count:
        return list(records)
    chosen = np.linspace(0, len(records) - 1, count).round().astype(int)
    return [records[i] for i in chosen]
