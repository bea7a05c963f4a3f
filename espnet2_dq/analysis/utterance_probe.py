"""Linear probes on utterances: what does the mean over frames of a layer know?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from espnet2_dq.analysis.batches import (
    read_batches,
    read_languages,
    read_lengths,
    spread_order,
    unseen_speakers,
)
from espnet2_dq.analysis.feature_source import FeatureSource, encode_sounds
from espnet2_dq.analysis.labels import SPEAKERS, utterance_labels
from espnet2_dq.analysis.probe import fit_probe, probe_hits, standard_error
from espnet2_dq.data.audio import AudioScpReader
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import DataError

# A label that fewer utterances have cannot be split into training and test.
FEWEST_UTTERANCES = 5
TEST_SHARE = 0.2
UNSEEN, SPLIT = "unseen speakers", "other utterances of the same speakers"


@dataclass(frozen=True)
class Pooled:
    """Utterances and their pooled features.

    Attributes:
        utterances: U ids.
        layers: ``(U, D)`` float32 of each layer: means over frames.
    """

    utterances: list[str]
    layers: list[torch.Tensor]

    def take(self, rows: Sequence[int]) -> "Pooled":
        """Some of the utterances, in the order of ``rows``."""
        index = torch.tensor(rows, dtype=torch.long)
        return Pooled(
            [self.utterances[i] for i in rows], [layer[index] for layer in self.layers]
        )


@dataclass(frozen=True)
class UtteranceResult:
    """Accuracy of a probe per layer; index 0 is the encoder's input.

    Attributes:
        test: Which utterances are tested.
        accuracy: Of each layer.
        error: Standard error of each, over utterances.
        majority: Accuracy of always answering the most frequent training label.
        classes: Labels of the training utterances.
        train_items: Utterances fitted on.
        test_items: Utterances scored.
    """

    test: str
    accuracy: list[float]
    error: list[float]
    majority: float
    classes: int
    train_items: int
    test_items: int


@dataclass(frozen=True)
class Sides:
    """What a probe is fitted on and what it is tested on.

    Attributes:
        test: Which utterances are tested.
        fit_on: Training utterances.
        fit_labels: ``(U,)`` strings.
        score_on: Test utterances.
        score_labels: ``(U,)`` strings.
    """

    test: str
    fit_on: Pooled
    fit_labels: np.ndarray
    score_on: Pooled
    score_labels: np.ndarray


def choose_utterances(
    data_dir: Path, count: int, seed: int, among: Sequence[str] | None = None
) -> list[str]:
    """At most ``count`` utterances, from each language in turn."""
    pool = list(read_table(data_dir / "wav.scp")) if among is None else among
    return spread_order(pool, read_languages(data_dir), seed)[:count]


def pool_utterances(
    source: FeatureSource,
    data_dir: Path,
    utterances: Sequence[str],
    *,
    layers: Sequence[int] | None = None,
    batch_s: float = 30.0,
) -> Pooled:
    """Means over frames of all, or some, layers.

    Raises:
        DataError: A layer's features are not finite.
    """
    reader = AudioScpReader(data_dir / "wav.scp")
    samples = read_lengths(data_dir, utterances)
    means: list[list[torch.Tensor]] = []
    for _, sounds in read_batches(reader, samples, batch_s):
        for outputs in encode_sounds(source, sounds, layers):
            means.append([layer.mean(0) for layer in outputs])
    stacked = [torch.stack(rows) for rows in zip(*means, strict=True)]
    for number, rows in enumerate(stacked):
        if not bool(rows.isfinite().all()):
            raise DataError(f"{source.name}: layer {number} has NaN or infinite values")
    return Pooled(list(samples), stacked)


def split_sides(
    train: Pooled, test: Pooled, train_dir: Path, test_dir: Path, table: str, seed: int
) -> Sides:
    """Training and test utterances with their labels.

    Languages are tested on speakers that training has not seen. Labels that belong to
    speakers (``utt2spk`` itself, or a table whose labels the unseen speakers do not
    share) are tested on a fifth of the training directory's own utterances.

    Args:
        train: Utterances of the training directory.
        test: Of the test directory, unseen speakers.
        train_dir: Holds ``table``.
        test_dir: Holds ``table``.
        table: Of labels.
        seed: Of the split.

    Raises:
        DataError: Too few utterances for any label.
    """
    known = utterance_labels(train.utterances, train_dir, table)
    asked = utterance_labels(test.utterances, test_dir, table)
    if table != SPEAKERS and set(asked) & set(known):
        return Sides(UNSEEN, train, known, test, asked)
    rng = np.random.default_rng(seed)
    held: list[int] = []
    kept: list[int] = []
    for label in sorted(set(known)):
        rows = rng.permutation(np.flatnonzero(known == label)).tolist()
        if len(rows) >= FEWEST_UTTERANCES:
            size = max(1, round(TEST_SHARE * len(rows)))
            held += rows[:size]
            kept += rows[size:]
    if len(set(known[kept].tolist())) < 2:
        raise DataError(
            f"{train_dir}/{table}: fewer than two labels have {FEWEST_UTTERANCES}"
            f" utterances among the {len(known)} probed; give more (--max_utterances)"
        )
    return Sides(SPLIT, train.take(kept), known[kept], train.take(held), known[held])


def probe_utterances(sides: Sides, *, seed: int = 0) -> UtteranceResult:
    """Fit and score every layer; ``seed`` is that of the fit."""
    names, target = np.unique(sides.fit_labels, return_inverse=True)
    ids: Mapping[str, int] = {name: i for i, name in enumerate(names.tolist())}
    y_train = torch.from_numpy(target.astype(np.int64))
    y_test = torch.tensor([ids.get(label, -1) for label in sides.score_labels.tolist()])
    accuracy, errors = [], []
    for fit_on, score_on in zip(
        sides.fit_on.layers, sides.score_on.layers, strict=True
    ):
        weights = fit_probe(fit_on, y_train, num_classes=len(names), seed=seed)
        hits = probe_hits(weights, score_on, y_test)
        accuracy.append(float(hits.double().mean()))
        errors.append(standard_error(hits))
    top = int(torch.bincount(y_train).argmax())
    return UtteranceResult(
        test=sides.test,
        accuracy=accuracy,
        error=errors,
        majority=float((y_test == top).double().mean()),
        classes=len(names),
        train_items=len(y_train),
        test_items=len(y_test),
    )


def unseen_utterances(
    train_dir: Path, test_dir: Path, count: int, seed: int
) -> list[str]:
    """Utterances of the test directory by speakers that training has not seen.

    Raises:
        DataError: There are none.
    """
    seen = set(read_table(train_dir / "utt2spk").values())
    return choose_utterances(test_dir, count, seed, unseen_speakers(test_dir, seen))
