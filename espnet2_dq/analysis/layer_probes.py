"""Which layers carry language, speaker and phoneme: linear probes on frozen layers.

For choosing ``layers`` and ``student_layer`` of the quantizers of another model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.analysis.feature_source import FeatureSource
from espnet2_dq.analysis.frame_probe import Alignment, FrameProbe
from espnet2_dq.analysis.labels import LANGUAGES, SPEAKERS, utterance_labels
from espnet2_dq.analysis.utterance_probe import (
    choose_utterances,
    pool_utterances,
    probe_utterances,
    split_sides,
    unseen_utterances,
)

NAMES = {LANGUAGES: "language", SPEAKERS: "speaker"}
PHONEME = "phoneme"
# Layers that a quantizer taps in the paper.
TAPPED = 3
_UNSEEN_FRAMES = "frames of unseen speakers"


@dataclass(frozen=True)
class LayerProbeOptions:
    """How much to probe, and on what.

    Attributes:
        tables: Labels of utterances, as tables of both directories.
        max_utterances: Of each directory, for these.
        max_train_frames: Phonemes: frames to fit on.
        max_test_frames: Phonemes: frames to score.
        batch_s: Padded seconds of audio in a batch.
        seed: Of every choice.
    """

    tables: tuple[str, ...] = (LANGUAGES, SPEAKERS)
    max_utterances: int = 3000
    max_train_frames: int = 30000
    max_test_frames: int = 12000
    batch_s: float = 30.0
    seed: int = 0


def probe_layers(
    sources: Mapping[str, FeatureSource],
    train_dir: Path,
    test_dir: Path,
    *,
    phones: Alignment | None = None,
    options: LayerProbeOptions | None = None,
) -> dict[str, Any]:
    """Probe every layer for every target.

    Args:
        sources: ``trained`` and, as a control, ``untrained``.
        train_dir: Data directory to fit on.
        test_dir: Data directory with other speakers.
        phones: Aligned phones of both; ``None``: phonemes are left out.
        options: How much.

    Returns:
        ``targets``: by name, ``table test classes train_items test_items majority``,
        for each source ``accuracy`` and ``standard_error`` per layer (0 is the
        encoder's input), and ``best_layer within_error learned`` (:func:`choose`);
        ``notes``.

    Raises:
        DataError: No unseen speakers, a missing table, features that are not finite.
    """
    options = options or LayerProbeOptions()
    targets: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for name, source in sources.items():
        _probe_tables(targets, notes, name, source, train_dir, test_dir, options)
    if phones is None:
        notes.append("no aligned phones: phonemes are not probed")
    else:
        _probe_phonemes(targets, sources, train_dir, test_dir, phones, options)
    for target in targets.values():
        target |= choose(target)
    return {"targets": targets, "notes": list(dict.fromkeys(notes))}


def _probe_tables(
    targets: dict[str, dict[str, Any]],
    notes: list[str],
    name: str,
    source: FeatureSource,
    train_dir: Path,
    test_dir: Path,
    options: LayerProbeOptions,
) -> None:
    """Labels of utterances; features are pooled once for all tables."""
    seed, count = options.seed, options.max_utterances
    on_train = choose_utterances(train_dir, count, seed)
    on_test = unseen_utterances(train_dir, test_dir, count, seed)
    wanted = []
    for table in options.tables:
        if len(np.unique(utterance_labels(on_train, train_dir, table))) < 2:
            notes.append(f"{table} of {train_dir} holds one label only: not probed")
        else:
            wanted.append(table)
    if not wanted:
        return
    batch_s = options.batch_s
    train = pool_utterances(source, train_dir, on_train, batch_s=batch_s)
    test = pool_utterances(source, test_dir, on_test, batch_s=batch_s)
    for table in wanted:
        sides = split_sides(train, test, train_dir, test_dir, table, seed)
        result = probe_utterances(sides, seed=seed)
        target = targets.setdefault(
            NAMES.get(table, table.removeprefix("utt2")),
            {
                "table": table,
                "test": result.test,
                "classes": result.classes,
                "train_items": result.train_items,
                "test_items": result.test_items,
                "majority": result.majority,
            },
        )
        target[name] = _layers(result.accuracy, result.error)


def _probe_phonemes(
    targets: dict[str, dict[str, Any]],
    sources: Mapping[str, FeatureSource],
    train_dir: Path,
    test_dir: Path,
    phones: Alignment,
    options: LayerProbeOptions,
) -> None:
    """Labels of frames."""
    probe = FrameProbe(
        train_dir,
        test_dir,
        grid=next(iter(sources.values())).grid,
        max_train_frames=options.max_train_frames,
        max_test_frames=options.max_test_frames,
        batch_s=options.batch_s,
        seed=options.seed,
        phones=phones,
    )
    for name, source in sources.items():
        result = probe.run(source.encode)
        target = targets.setdefault(
            PHONEME,
            {
                "table": None,
                "test": _UNSEEN_FRAMES,
                "classes": result.num_classes,
                "train_items": result.train_frames,
                "test_items": result.test_frames,
                "majority": result.majority,
            },
        )
        target[name] = _layers(result.layer_accuracy, result.layer_error)


def _layers(accuracy: Sequence[float], error: Sequence[float]) -> dict[str, Any]:
    return {
        "accuracy": [round(value, 5) for value in accuracy],
        "standard_error": [round(value, 5) for value in error],
    }


def choose(target: Mapping[str, Any]) -> dict[str, Any]:
    """The layers that a quantizer for a target may take.

    Returns:
        ``best_layer``: the best of the encoder's layers (layer 0 is no layer that a
        quantizer can tap), the lowest of equals; ``within_error``: all those whose
        accuracy is at most one standard error of the best below it; ``suggested``: the
        best and its neighbours among those, at most three; ``learned``: whether the
        best is above the untrained encoder's best by more than both errors together,
        ``None`` without an untrained encoder.
    """
    trained = target["trained"]
    scores, errors = trained["accuracy"], trained["standard_error"]
    layers = range(min(1, len(scores) - 1), len(scores))
    best = max(layers, key=lambda layer: scores[layer])
    near = [layer for layer in layers if scores[layer] >= scores[best] - errors[best]]
    found: dict[str, Any] = {"best_layer": best, "within_error": near}
    found |= {"suggested": _neighbours(best, near, scores), "learned": None}
    control = target.get("untrained")
    if control is not None:
        top = int(np.argmax(control["accuracy"]))
        gap = scores[best] - control["accuracy"][top]
        noise = float(np.hypot(errors[best], control["standard_error"][top]))
        found["learned"] = bool(gap > noise)
    return found


def _neighbours(best: int, near: Sequence[int], scores: Sequence[float]) -> list[int]:
    """``best`` and layers beside it out of ``near``, the better side first."""
    chosen = [best]
    while len(chosen) < TAPPED:
        beside = [x for x in (chosen[0] - 1, chosen[-1] + 1) if x in near]
        if not beside:
            break
        chosen = sorted([*chosen, max(beside, key=lambda layer: scores[layer])])
    return chosen


def suggestions(result: Mapping[str, Any]) -> list[str]:
    """One line per target for people, then the notes."""
    lines = []
    for name, target in result["targets"].items():
        best, near = target["best_layer"], target["within_error"]
        trained = target["trained"]
        line = (
            f"{name}: best layer {best} with {_percent(trained, best)}; within one"
            f" standard error: {' '.join(map(str, near))}; encoder's input"
            f" {_percent(trained, 0)}, majority {100 * target['majority']:.1f} %"
        )
        if "untrained" in target:
            control = target["untrained"]
            top = int(np.argmax(control["accuracy"]))
            line += f", untrained best {_percent(control, top)}"
        lines.append(f"{line} ({target['classes']} labels, {target['test']})")
        if target["learned"] is False:
            lines.append(
                f"  within the errors no layer knows more of {name} than random weights"
                " do: nothing to choose by; train longer, or probe another model"
            )
        else:
            lines.append(
                f"  suggested for a {name} quantizer: layers: {target['suggested']},"
                f" student_layer: {target['suggested'][-1]}"
            )
    return [*lines, *(f"note: {note}" for note in result["notes"])]


def _percent(layers: Mapping[str, Any], layer: int) -> str:
    accuracy, error = layers["accuracy"][layer], layers["standard_error"][layer]
    return f"{100 * accuracy:.1f} +- {100 * error:.1f} %"
