"""metrics.json: what stands in it with and without labels and quantizers."""

import json
from pathlib import Path

import numpy as np
import pytest
from factories import make_kaldi_dir

from espnet2_dq.analysis.alignments import Alignments, exact_alignments
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.labels import phone_labels
from espnet2_dq.analysis.metrics import Quantizers, measure
from espnet2_dq.analysis.summary import summary_lines
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.tables import read_table, write_table
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
    assert metrics["per_language"]["fr"]["agn"] == [2, 1]
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
    assert (metrics["target"], metrics["utterance_codes"]) == (None, {})


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
    phones, known = phone_labels(table, exact_alignments(data_dir).phones, FrameGrid())
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


def speaker_codes(data_dir: Path) -> CodeTable:
    """Codes that name the speaker, as a quantizer of speakers should."""
    speakers = read_table(data_dir / "utt2spk")
    names = sorted(set(speakers.values()))
    codes = np.array([[names.index(speaker)] * 2 for speaker in speakers.values()])
    full = perfect_table(data_dir)
    return CodeTable(full.utterances, codes, None, full.lengths)


def test_codes_are_judged_by_languages_speakers_and_their_target(tmp_path) -> None:
    data_dir = make(tmp_path)
    metrics = measure(
        speaker_codes(data_dir), data_dir, quantizers=Quantizers(target="utt2spk")
    )
    found = metrics["utterance_codes"]
    assert set(found) == {"utt2lang", "utt2spk"}
    assert found["utt2spk"]["labels"] == 4
    assert found["utt2spk"]["nmi"]["joint"] == pytest.approx(1.0)
    assert found["utt2spk"]["purity"]["joint"] == 1.0
    assert metrics["target"] == {"table": "utt2spk", **found["utt2spk"]}
    # a speaker has one language, so that the codes know it; existing keys are kept
    assert metrics["lnmi"] == found["utt2lang"]["nmi"]
    assert metrics["lp"] == found["utt2lang"]["purity"]
    assert any(ln.startswith("utt2spk (target): NMI") for ln in summary_lines(metrics))


def test_another_table_may_be_the_target_and_a_missing_one_is_named(tmp_path) -> None:
    data_dir = make(tmp_path)
    table = perfect_table(data_dir)
    moods = {utt: f"m{i % 3}" for i, utt in enumerate(table.utterances)}
    write_table(data_dir / "utt2emo", moods)
    metrics = measure(table, data_dir, quantizers=Quantizers(target="utt2emo"))
    assert metrics["target"]["table"] == "utt2emo"
    assert metrics["target"]["labels"] == 3
    assert metrics["target"]["purity"]["majority"] == pytest.approx(1 / 3)
    assert set(metrics["utterance_codes"]) == {"utt2lang", "utt2spk", "utt2emo"}
    with pytest.raises(DataError, match=r"utt2mood.*there are .*utt2emo.*utt2spk"):
        measure(table, data_dir, quantizers=Quantizers(target="utt2mood"))


def test_too_few_clusters_warn(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    sizes = Quantizers({"language": 1, "phoneme": 2})
    notes = measure(perfect_table(data_dir), data_dir, quantizers=sizes)["notes"]
    assert notes == [
        "warning: 1 clusters per group of the language quantizer, fewer than the 2"
        " labels in utt2lang: no group can tell all of them apart"
    ]


def test_more_clusters_than_frames_are_refused(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    frames = 12 * FRAMES
    with pytest.raises(DataError, match="589 clusters .* 588 frames"):
        measure(
            perfect_table(data_dir),
            data_dir,
            quantizers=Quantizers({"phoneme": frames + 1}),
        )
    allowed = Quantizers({"phoneme": frames})
    assert measure(perfect_table(data_dir), data_dir, quantizers=allowed)["pp"]


def test_more_clusters_than_utterances_warn(tmp_path: Path) -> None:
    data_dir = make(tmp_path)
    for clusters, warned in ((12, False), (13, True)):
        sizes = Quantizers({"language": clusters})
        notes = measure(perfect_table(data_dir), data_dir, quantizers=sizes)["notes"]
        assert any("13 clusters" in n and "12 utterances" in n for n in notes) == warned


def test_other_alignments_are_labelled_and_compared_with_exact_ones(tmp_path) -> None:
    data_dir = make(tmp_path)
    table = perfect_table(data_dir)
    # the boundary lies 5 frames (0.1 s) late: frames 25 to 29 of 49 differ
    segments = [PhoneSegment(0.0, 0.6, "a"), PhoneSegment(0.6, 0.4, "b")]
    late = dict.fromkeys(table.utterances, segments)
    metrics = measure(table, data_dir, alignments=Alignments("ctc", "exp/ft", late))
    assert metrics["alignment"] == "ctc"
    assert metrics["agreement"]["share"] == pytest.approx(44 / 49)
    assert metrics["agreement"]["frames"] == 12 * FRAMES
    assert 0.4 < metrics["agreement"]["nmi"] < 0.7
    assert metrics["pnmi"]["joint"] == pytest.approx(
        metrics["agreement"]["nmi_reversed"]
    )  # the codes are the exact labels
    lines = summary_lines(metrics)
    assert "alignment: ctc (exp/ft)" in lines[0]
    assert "89.8 % of 588 frames" in lines[1]
    assert any("not comparable with the paper" in line for line in lines)
    assert measure(table, data_dir)["agreement"] is None
