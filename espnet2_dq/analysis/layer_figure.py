"""The figure of the layer probes: accuracy by layer, a panel for each target."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from espnet2_dq.analysis.figures import COLOURS, finish_axes, new_figure


def plot_layers(targets: Mapping[str, Mapping[str, Any]], title: str) -> Figure | None:
    """Accuracy with standard errors; ``None`` without targets.

    Args:
        targets: ``targets`` of ``layers.json``.
        title: Which model.
    """
    if not targets:
        return None
    figure = new_figure(3.6 * len(targets), 3.2)
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    for axes, (name, target) in zip(panels, targets.items(), strict=True):
        for colour, style, key in ((0, "-", "trained"), (1, "--", "untrained")):
            if key in target:
                accuracy = [100 * a for a in target[key]["accuracy"]]
                axes.errorbar(
                    range(len(accuracy)),
                    accuracy,
                    yerr=[100 * e for e in target[key]["standard_error"]],
                    color=COLOURS[colour],
                    linestyle=style,
                    linewidth=1.2,
                    marker="o",
                    markersize=3,
                    capsize=2,
                    label=key,
                )
        majority = 100 * target["majority"]
        axes.axhline(majority, color=COLOURS[6], linestyle=":", label="majority")
        for layer in target["within_error"]:
            axes.axvspan(layer - 0.3, layer + 0.3, color=COLOURS[2], alpha=0.12)
        axes.set_title(f"{name} ({target['classes']} labels)", fontsize=9)
        axes.set_xlabel("layer (0 = encoder input)", fontsize=8)
        axes.set_ylabel("accuracy [%]", fontsize=8)
        axes.legend(fontsize=6)
        finish_axes(axes)
    figure.suptitle(title, fontsize=10)
    return figure
