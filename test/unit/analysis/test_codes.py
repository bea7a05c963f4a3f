"""Codes over a data directory: order, trimming, saving."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import make_kaldi_dir, make_wav

from espnet2_dq.analysis.codes import CodeTable, extract_codes
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import DataError


@dataclass
class FakeCodes:
    language: torch.Tensor | None
    phoneme: torch.Tensor | None
    lengths: torch.Tensor


class FakeModel:
    """Codes that follow from the samples, -1 on padding."""

    def __init__(self, language: bool = True, phoneme: bool = True) -> None:
        self.language, self.phoneme = language, phoneme
        self.batches: list[tuple[int, int]] = []

    def extract_codes(self, speech: torch.Tensor, lengths: torch.Tensor) -> FakeCodes:
        self.batches.append(tuple(speech.shape))
        frames = (lengths - 400) // 320 + 1
        loud = (speech.unfold(1, 400, 320).abs().amax(-1) * 1000).long()
        padding = torch.arange(loud.shape[1])[None] >= frames[:, None]
        loud = loud.masked_fill(padding, -1)
        return FakeCodes(
            torch.stack([lengths % 7, lengths % 5], -1) if self.language else None,
            torch.stack([loud, loud], -1) if self.phoneme else None,
            frames,
        )


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Four utterances whose lengths do not follow their names."""
    make_kaldi_dir(tmp_path / "test", langs=("es", "fr"), utterances=2)
    scp = read_table(tmp_path / "test" / "wav.scp")
    samples = {}
    for (utt, path), seconds in zip(scp.items(), (1.2, 0.4, 2.0, 0.9), strict=True):
        make_wav(Path(path), seconds=seconds, seed=int(seconds * 10))
        samples[utt] = str(round(16000 * seconds))
    write_table(tmp_path / "test" / "utt2num_samples", samples)
    return tmp_path / "test"


def test_utterances_keep_their_order_and_only_valid_frames(data_dir: Path) -> None:
    model = FakeModel()
    table = extract_codes(model, data_dir, batch_s=2.5)
    lengths = [int(n) for n in read_table(data_dir / "utt2num_samples").values()]
    assert table.utterances == list(read_table(data_dir / "wav.scp"))
    assert table.lengths.tolist() == [(n - 400) // 320 + 1 for n in lengths]
    assert table.language.tolist() == [[n % 7, n % 5] for n in lengths]
    assert len(table.phoneme) == table.lengths.sum()
    assert table.phoneme.min() >= 0
    assert all(b * s <= 40000 for b, s in model.batches)
    assert len(model.batches) > 1


def test_batching_does_not_matter(data_dir: Path) -> None:
    one = extract_codes(FakeModel(), data_dir, batch_s=0.1)
    all_ = extract_codes(FakeModel(), data_dir, batch_s=1000)
    np.testing.assert_array_equal(one.phoneme, all_.phoneme)


@pytest.mark.parametrize(("language", "phoneme"), [(True, False), (False, False)])
def test_saved_and_read_back(data_dir, tmp_path, language, phoneme) -> None:
    table = extract_codes(FakeModel(language, phoneme), data_dir)
    table.save(tmp_path / "out" / "codes.npz")
    back = CodeTable.load(tmp_path / "out" / "codes.npz")
    assert back.utterances == table.utterances
    np.testing.assert_array_equal(back.lengths, table.lengths)
    assert (back.language is None, back.phoneme is None) == (not language, True)


def test_missing_length_is_named(data_dir: Path) -> None:
    write_table(data_dir / "utt2num_samples", {"other": "5"})
    with pytest.raises(DataError, match="utt2num_samples"):
        extract_codes(FakeModel(), data_dir)
