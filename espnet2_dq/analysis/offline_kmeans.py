"""Offline k-means on frozen features: the first row of the paper's Table IV.

UniData2vec's quantizer is no part of the model: k-means is fitted afterwards, on the
frames of one layer. Fitted here on train and judged on test as the online quantizers
are; clusters of pooled utterances stand beside the language quantizer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_dq.analysis.batches import read_batches, read_lengths
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.feature_source import FeatureSource, encode_sounds
from espnet2_dq.analysis.utterance_probe import choose_utterances, pool_utterances
from espnet2_dq.data.audio import AudioScpReader
from espnet2_dq.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.cluster import KMeans, MiniBatchKMeans

# HuBERT's settings of MiniBatchKMeans, with fewer starts.
_FRAMES: dict[str, Any] = {
    "batch_size": 10000,
    "max_iter": 100,
    "max_no_improvement": 100,
    "n_init": 5,
    "reassignment_ratio": 0.0,
}


@dataclass(frozen=True)
class OfflineOptions:
    """What is clustered.

    Attributes:
        layer: Layer whose frames are clustered; 0 is the encoder's input.
        clusters: Of frames; 0: none are clustered.
        language_layer: Layer whose utterance means are clustered.
        language_clusters: Of utterances; 0: none are clustered.
        max_train_frames: Frames to fit on, of whole utterances from each language in
            turn.
        max_train_utterances: Utterances to fit on.
        batch_s: Padded seconds of audio in a batch.
        seed: Of choice and fit.
    """

    layer: int = 0
    clusters: int = 0
    language_layer: int = 0
    language_clusters: int = 0
    max_train_frames: int = 200_000
    max_train_utterances: int = 5000
    batch_s: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("clusters", "language_clusters"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} {getattr(self, name)}: expected 0 or more")
        if self.clusters == 0 and self.language_clusters == 0:
            raise ConfigError("--clusters and --language_clusters are 0: nothing to do")


@dataclass(frozen=True)
class OfflineCodes:
    """Codes of the test directory, and how they came about.

    Attributes:
        table: One group each; ``None`` where nothing was clustered.
        description: ``quantizer`` of ``metrics.json``.
    """

    table: CodeTable
    description: dict[str, Any]


def offline_codes(
    source: FeatureSource, train_dir: Path, test_dir: Path, options: OfflineOptions
) -> OfflineCodes:
    """Fit on one directory, give codes to the other.

    Raises:
        ConfigError: A layer that is not there, more clusters than items to fit.
        DataError: Features that are not finite.
    """
    description: dict[str, Any] = {
        "kind": "offline k-means",
        "source": source.name,
        "train_dir": str(train_dir),
        "seed": options.seed,
    }
    utterances = sorted(AudioScpReader(test_dir / "wav.scp"))
    lengths = read_lengths(test_dir, utterances)
    frames = {utt: int(source.grid.num_frames(n)) for utt, n in lengths.items()}
    phoneme = language = None
    if options.clusters:
        source.check_layer("--layer", options.layer)
        phoneme = _frame_codes(source, train_dir, test_dir, options, description)
    if options.language_clusters:
        source.check_layer("--language_layer", options.language_layer)
        language = _utterance_codes(source, train_dir, test_dir, options, description)
    table = CodeTable(
        utterances=utterances,
        language=None
        if language is None
        else np.stack([language[utt] for utt in utterances]),
        phoneme=None
        if phoneme is None
        else np.concatenate([phoneme[utt] for utt in utterances]),
        lengths=np.array([frames[utt] for utt in utterances], dtype=np.int64),
    )
    return OfflineCodes(table, description)


def _frame_codes(
    source: FeatureSource,
    train_dir: Path,
    test_dir: Path,
    options: OfflineOptions,
    description: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Codes ``(T, 1)`` int32 by utterance of the test directory."""
    rows = _train_frames(source, train_dir, options)
    model = fit_frames(rows, options.clusters, options.seed)
    description |= {
        "layer": options.layer,
        "clusters": options.clusters,
        "train_frames": len(rows),
        "inertia_per_frame": float(model.inertia_) / len(rows),
    }
    utterances = list(AudioScpReader(test_dir / "wav.scp"))
    return {
        utt: model.predict(features)[:, None].astype(np.int32)
        for utt, features in _frames_of(source, test_dir, utterances, options)
    }


def _train_frames(
    source: FeatureSource, train_dir: Path, options: OfflineOptions
) -> np.ndarray:
    """Frames ``(N, D)`` float32, no more than asked for."""
    lengths = read_lengths(train_dir, list(AudioScpReader(train_dir / "wav.scp")))
    chosen: list[str] = []
    left = options.max_train_frames
    for utt in choose_utterances(train_dir, len(lengths), options.seed):
        if left <= 0:
            break
        left -= int(source.grid.num_frames(lengths[utt]))
        chosen.append(utt)
    # filled in place: at BASE size the default number of frames takes 0.6 GB
    kept: np.ndarray | None = None
    size = 0
    for _, rows in _frames_of(source, train_dir, chosen, options):
        if kept is None:
            kept = np.empty((options.max_train_frames - left, rows.shape[1]), "float32")
        kept[size : size + len(rows)] = rows
        size += len(rows)
    assert kept is not None  # read_lengths refuses an empty directory
    return kept[: options.max_train_frames]


def _frames_of(
    source: FeatureSource,
    data_dir: Path,
    utterances: Sequence[str],
    options: OfflineOptions,
) -> Iterator[tuple[str, np.ndarray]]:
    """Utterances with their frames ``(T, D)`` float32 of the chosen layer."""
    reader = AudioScpReader(data_dir / "wav.scp")
    samples = read_lengths(data_dir, utterances)
    for batch, sounds in read_batches(reader, samples, options.batch_s):
        outputs = encode_sounds(source, sounds, [options.layer])
        for utt, (layer,) in zip(batch, outputs, strict=True):
            if not bool(layer.isfinite().all()):
                raise DataError(
                    f"{data_dir}: '{utt}': {source.name}: layer {options.layer} has"
                    " NaN or infinite features"
                )
            yield utt, layer.numpy()


def fit_frames(rows: np.ndarray, clusters: int, seed: int) -> "MiniBatchKMeans":
    """Mini-batch k-means on ``(N, D)`` float32.

    Raises:
        ConfigError: More clusters than rows.
    """
    from sklearn.cluster import MiniBatchKMeans

    _check_size("--clusters", clusters, len(rows), "frames")
    model = MiniBatchKMeans(clusters, random_state=seed, **_FRAMES)
    return model.fit(rows)


def fit_utterances(rows: np.ndarray, clusters: int, seed: int) -> "KMeans":
    """k-means on ``(U, D)`` float32.

    Raises:
        ConfigError: More clusters than rows.
    """
    from sklearn.cluster import KMeans

    _check_size("--language_clusters", clusters, len(rows), "utterances")
    return KMeans(clusters, random_state=seed, n_init=10).fit(rows)


def _utterance_codes(
    source: FeatureSource,
    train_dir: Path,
    test_dir: Path,
    options: OfflineOptions,
    description: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Codes ``(1,)`` int32 by utterance of the test directory."""
    layers = [options.language_layer]
    count, seed = options.max_train_utterances, options.seed
    fitted = pool_utterances(
        source,
        train_dir,
        choose_utterances(train_dir, count, seed),
        layers=layers,
        batch_s=options.batch_s,
    )
    rows = fitted.layers[0].numpy()
    model = fit_utterances(rows, options.language_clusters, seed)
    description |= {
        "language_layer": options.language_layer,
        "language_clusters": options.language_clusters,
        "train_utterances": len(rows),
    }
    judged = pool_utterances(
        source,
        test_dir,
        list(AudioScpReader(test_dir / "wav.scp")),
        layers=layers,
        batch_s=options.batch_s,
    )
    codes = model.predict(judged.layers[0].numpy()).astype(np.int32)
    return dict(zip(judged.utterances, codes[:, None], strict=True))


def _check_size(option: str, clusters: int, items: int, what: str) -> None:
    if clusters > items:
        raise ConfigError(
            f"{option} {clusters}: there are only {items} training {what} to cluster;"
            f" give {items} or fewer, or more data"
        )
