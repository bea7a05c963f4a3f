"""Figures: right panels, right curves, files of both kinds; records of a killed run."""

import json
from pathlib import Path

import numpy as np
import pytest

from espnet2_dq.analysis.figures import (
    code_title,
    panels,
    plot_code_map,
    plot_probe,
    plot_training,
    save_figure,
)
from espnet2_dq.analysis.jsonl import read_jsonl
from espnet2_dq.analysis.purity import ConditionalMap

LOG = [
    {
        "update": u,
        "lr": 1e-3,
        "loss": 3.0 / u,
        "loss_scale": 1.0,
        "loss_regression": 2.0,
        "acc_language": None if u == 1 else 0.5,
        "language_perplexity_g1": 3.0,
        "encoder_spread": float("nan"),
        "eta_s": 10.0,
    }
    for u in (1, 2, 3)
]
PROBE = [
    {
        "update": u,
        "layer": [0.3, 0.3 + u / 100, 0.2],
        "best": 0.3 + u / 100,
        "best_layer": 1,
        "majority": 0.1,
        "network": network,
    }
    for u in range(0, 20, 2)
    for network in ("student", "teacher")
]


def test_panels_hold_curves_with_values_only() -> None:
    assert panels(LOG) == {
        "losses": ["loss", "loss_regression"],
        "accuracy and error": ["acc_language"],
        "code perplexity": ["language_perplexity_g1"],
        "learning rate": ["lr"],
    }


def test_curve_skips_gauges_not_taken() -> None:
    figure = plot_training(LOG, "t")
    lines = {line.get_label(): line for ax in figure.axes for line in ax.lines}
    assert list(lines["acc_language"].get_xdata()) == [2, 3]
    assert list(lines["loss"].get_ydata()) == [3.0, 1.5, 1.0]


def test_probe_shows_both_networks_and_few_layers_lines() -> None:
    figure = plot_probe(PROBE)
    assert len(figure.axes) == 4
    left, right = figure.axes[:2]
    assert list(left.lines[0].get_ydata()) == pytest.approx(
        [30.0 + u for u in range(0, 20, 2)]
    )
    assert len(right.lines) == 6
    assert [t.get_text() for t in right.get_legend().texts][-1] == "update 18"


def test_nothing_to_draw() -> None:
    assert plot_training([], "t") is None
    assert plot_probe([]) is None


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (120, 9000)])
def test_code_map_of_any_size_is_written(tmp_path, rows, columns) -> None:
    matrix = np.zeros((rows, columns), np.float32)
    matrix[np.arange(columns) * rows // columns, np.arange(columns)] = 1.0
    found = ConditionalMap(matrix, [f"ʃ{i}" for i in range(rows)])
    figure = plot_code_map(found, "title", "phone")
    save_figure(figure, tmp_path / "a" / "map.png")
    assert (tmp_path / "a" / "map.png").read_bytes()[:4] == b"\x89PNG"
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape[1] <= 2400
    assert shown.max(axis=0).min() == 1.0  # shrinking kept every path


def test_svg_is_the_same_each_time(tmp_path: Path) -> None:
    save_figure(plot_probe(PROBE), tmp_path / "a.svg")
    save_figure(plot_probe(PROBE), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_title_shows_controls() -> None:
    part = {"joint": 0.341, "permutation": {"joint": 0.1}}
    metrics = {
        "acn": {"language": 81},
        "agn": {"language": [9, 8]},
        "lp": part,
        "lnmi": part,
    }
    title = code_title(metrics, "language")
    assert (
        title
        == "ACN 81, AGN 9 and 8, LP 0.34 [0.10], LNMI 0.34 [0.10]; [shuffled codes]"
    )


def test_broken_and_repeated_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [{"update": 2, "x": 1}, {"update": 1, "x": 0}, {"update": 2, "x": 5}, [1]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"upd')
    assert read_jsonl(path) == [{"update": 1, "x": 0}, {"update": 2, "x": 5}]
    assert read_jsonl(tmp_path / "none.jsonl") == []
