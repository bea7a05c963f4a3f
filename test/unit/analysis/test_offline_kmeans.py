"""Offline k-means finds what a layer tells apart, and is judged as quantizers are."""

import json
from pathlib import Path

import numpy as np
import pytest
from ssl_exp import write_exp
from tone_corpus import band_source, write_tones

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.feature_source import FeatureSource
from espnet2_dq.analysis.metrics import measure
from espnet2_dq.analysis.offline_kmeans import (
    OfflineOptions,
    fit_frames,
    offline_codes,
)
from espnet2_dq.bin.offline_kmeans import main
from espnet2_dq.errors import ConfigError, DataError

pytestmark = pytest.mark.slow  # scikit-learn takes seconds to import


@pytest.fixture(scope="module")
def dirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("tones")
    train = write_tones(root / "train", speakers=("s0", "s1", "s4"), each=4)
    return train, write_tones(root / "test", speakers=("s2", "s3"), each=3, seed=1)


def test_frames_find_phones_and_utterances_find_languages(dirs) -> None:
    options = OfflineOptions(layer=3, clusters=6, language_layer=1, language_clusters=2)
    found = offline_codes(band_source(), *dirs, options)
    metrics = measure(found.table, dirs[1])
    assert metrics["pnmi"]["joint"] > 0.6
    assert metrics["pnmi"]["permutation"]["joint"] < 0.1
    assert metrics["lnmi"]["joint"] == pytest.approx(1.0)
    assert metrics["agn"]["phoneme"] == [metrics["acn"]["phoneme"]]
    assert found.description["layer"] == 3
    assert found.description["train_utterances"] == 24
    assert found.table.phoneme.shape == (metrics["frames"], 1)
    # the wrong layers know nothing of these
    other = OfflineOptions(layer=1, clusters=6, language_layer=2, language_clusters=2)
    wrong = measure(offline_codes(band_source(), *dirs, other).table, dirs[1])
    assert wrong["pnmi"]["joint"] < 0.3
    assert wrong["lnmi"]["joint"] < 0.5


def test_one_of_the_two_may_be_left_out_and_seeds_repeat(dirs) -> None:
    frames = OfflineOptions(layer=3, clusters=4, max_train_frames=200)
    found = offline_codes(band_source(), *dirs, frames)
    assert found.table.language is None
    assert found.description["train_frames"] == 200
    again = offline_codes(band_source(), *dirs, frames)
    np.testing.assert_array_equal(found.table.phoneme, again.table.phoneme)
    pooled = OfflineOptions(language_layer=1, language_clusters=3)
    assert offline_codes(band_source(), *dirs, pooled).table.phoneme is None


def test_more_clusters_than_items_are_refused(dirs) -> None:
    rows = np.zeros((5, 2), np.float32)
    with pytest.raises(ConfigError, match="--clusters 6: there are only 5 training fr"):
        fit_frames(rows, 6, 0)
    many = OfflineOptions(language_layer=1, language_clusters=25)
    with pytest.raises(ConfigError, match="25: there are only 24 training utterances"):
        offline_codes(band_source(), *dirs, many)


def test_bad_options_are_named(dirs) -> None:
    with pytest.raises(ConfigError, match="nothing to do"):
        OfflineOptions()
    with pytest.raises(ConfigError, match="--clusters -1"):
        OfflineOptions(clusters=-1)
    with pytest.raises(ConfigError, match=r"--layer 4: bands has layers 0 .* to 3"):
        offline_codes(band_source(), *dirs, OfflineOptions(layer=4, clusters=2))
    good = band_source()

    def broken(speech, lengths):
        return [layer * float("nan") for layer in good.encode(speech, lengths)]

    source = FeatureSource("broken", broken, good.grid, 3)
    with pytest.raises(DataError, match="layer 1 has NaN"):
        offline_codes(source, *dirs, OfflineOptions(layer=1, clusters=2))
    with pytest.raises(DataError, match="broken"):
        offline_codes(
            source, *dirs, OfflineOptions(language_layer=1, language_clusters=2)
        )


def test_command_writes_metrics_as_stage_7_does(dirs, tmp_path: Path, capfd) -> None:
    exp = write_exp(tmp_path / "pretrain")
    argv = ["--exp", str(exp), "--train_dir", str(dirs[0]), "--test_dir", str(dirs[1])]
    argv += ["--out", str(tmp_path / "out"), "--layer", "2", "--clusters", "5"]
    assert main([*argv, "--language_layer", "1", "--language_clusters", "2"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["quantizer"]["kind"] == "offline k-means"
    assert metrics["quantizer"]["clusters"] == 5
    assert metrics["alignment"] == "exact"
    assert 0 <= metrics["pnmi"]["joint"] <= 1
    assert metrics["figures"] == ["language_codes.png", "phone_codes.png"]
    assert len(CodeTable.load(tmp_path / "out" / "codes.npz").utterances) == 12
    few = [*argv[:-1], "2"]
    assert main(few) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["lnmi"] is None
    assert any("fewer than the 3 phones" in note for note in metrics["notes"])
    assert main([*argv[:-1], "100000"]) == 1
    assert "--clusters 100000: there are only" in capfd.readouterr().err


def test_log_mel_features_need_no_model(dirs, tmp_path: Path) -> None:
    argv = ["--network", "log_mel", "--train_dir", str(dirs[0])]
    argv += ["--test_dir", str(dirs[1]), "--out", str(tmp_path / "out")]
    assert main([*argv, "--clusters", "12"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["pnmi"]["joint"] > metrics["pnmi"]["permutation"]["joint"] + 0.1
    assert metrics["quantizer"]["source"] == "log-mel features"
