"""metrics.json: what stands in it with and without labels and quantizers."""

import json
from pathlib import Path

import numpy as np
import pytest
from factories import make_kaldi_dir

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.metrics import measure, phone_labels, summary_lines
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import DataError

FRAMES = 49


def make(tmp_path: Path, *, phones: bool = True, langs=("es", "fr")) -> Path:
    make_kaldi_dir(
        tmp_path / "test", langs=langs, utterances=6, phones=phones, with_audio=False
    )
    return tmp_path / "test"


def perfect_table(data_dir: Path) -> CodeTable:
    """Language codes that name the language, phoneme codes that name the phone."""
    langs = read_table(data_dir / "utt2lang")
    language = [
        [sorted(set(langs.values())).index(lang)] * 2 for lang in langs.values()
    ]
    # phone a up to 0.5 s: centres (320 t + 200) / 16000 < 0.5 for t < 25
    frame = np.array([[0, 0]] * 25 + [[1, 0]] * 24)
    return CodeTable(
        utterances=list(langs),
        language=np.array(language),
        phoneme=np.tile(frame, (len(langs), 1)),
        lengths=np.full(len(langs), FRAMES),
    )


def test_perfect_codes(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    metrics = measure(perfect_table(data_dir), data_dir)
    assert metrics["lnmi"]["joint"] == pytest.approx(1.0)
    assert metrics["lp"]["joint"] == 1.0
    assert metrics["lp"]["majority"] == 0.5
    assert metrics["lnmi"]["permutation"]["joint"] < 0.7
    assert metrics["pnmi"]["groups"] == [pytest.approx(1.0), 0.0]
    assert metrics["pnmi"]["permutation"]["joint"] < 0.02
    assert metrics["acn"] == {"language": 2, "phoneme": 2}
    assert metrics["agn"] == {"language": [2, 2], "phoneme": [2, 1]}
    assert metrics["items_per_code"]["phoneme"] == 12 * FRAMES / 2
    assert metrics["alignment"] == "exact"
    assert metrics["per_language"]["es"]["pnmi"]["joint"] == pytest.approx(1.0)
    assert metrics["per_language"]["fr"]["frames"] == 6 * FRAMES
    assert metrics["notes"] == []
    json.dumps(metrics, allow_nan=False)
    assert any(line.startswith("PNMI joint 1.000") for line in summary_lines(metrics))


def test_without_alignments_only_language_and_it_says_so(tmp_path: Path) -> None:
    data_dir = make(tmp_path, phones=False)
    metrics = measure(perfect_table(data_dir), data_dir)
    assert metrics["alignment"] == "none"
    assert metrics["lnmi"]["joint"] == pytest.approx(1.0)
    assert metrics["pnmi"] is None
    assert metrics["pp"] is None
    assert metrics["acn"]["phoneme"] == 2
    assert any("no aligned phones" in note for note in metrics["notes"])


def test_without_quantizers_nothing_is_invented(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    full = perfect_table(data_dir)
    metrics = measure(CodeTable(full.utterances, None, None, full.lengths), data_dir)
    assert [metrics[k] for k in ("lnmi", "lp", "pnmi", "pp")] == [None] * 4
    assert metrics["acn"] == {"language": None, "phoneme": None}
    assert len(metrics["notes"]) == 2
    assert len(summary_lines(metrics)) == 3


def test_one_language_has_no_lnmi(tmp_path: Path) -> None:
    data_dir = make(tmp_path, langs=("es",))
    metrics = measure(perfect_table(data_dir), data_dir)
    assert metrics["lnmi"]["joint"] is None
    assert metrics["lp"]["joint"] == 1.0
    assert any("one language" in note for note in metrics["notes"])
    assert summary_lines(metrics)


def test_frames_of_unaligned_utterances_are_left_out(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    ctm = (data_dir / "phn.ctm").read_text().splitlines(keepends=True)
    (data_dir / "phn.ctm").write_text("".join(ln for ln in ctm if ln.startswith("es")))
    table = perfect_table(data_dir)
    phones, known = phone_labels(table, data_dir, FrameGrid())
    assert known.sum() == 6 * FRAMES
    assert set(phones[known]) == {"a", "b"}
    metrics = measure(table, data_dir)
    assert "pnmi" not in metrics["per_language"]["fr"]
    assert any("50.0 %" in note for note in metrics["notes"])


def test_utterance_without_language_is_named(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    table = perfect_table(data_dir)
    lines = (data_dir / "utt2lang").read_text().splitlines(keepends=True)
    (data_dir / "utt2lang").write_text("".join(lines[1:]))
    with pytest.raises(DataError, match=lines[0].split()[0]):
        measure(table, data_dir)
