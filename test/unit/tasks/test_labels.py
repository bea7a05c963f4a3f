"""Labels of weak supervision: what is read, refused, kept whole, and mixed."""

import numpy as np
import pytest
import torch
from factories import make_kaldi_dir
from training_factories import make_items

from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import DataError
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig
from espnet2_dq.tasks.labels import LabelSet, language_names, read_labels

SECOND = 16000


@pytest.fixture
def folder(tmp_path):
    """Two utterances in es (0.1 s longer than their CTC needs), two in fr."""
    make_kaldi_dir(tmp_path / "set", utterances=2, seconds=0.5, with_audio=False)
    write_targets(tmp_path / "set")
    read_labels.cache_clear()
    return tmp_path / "set"


def write_targets(folder, **targets):
    rows = {f"{lang}-spk{n}-00{n}": "1 2 3" for lang in ("es", "fr") for n in (0, 1)}
    rows |= {utt.replace("_", "-"): ids for utt, ids in targets.items()}
    lines = [f"{utt} {ids}".rstrip() for utt, ids in sorted(rows.items())]
    (folder / "phn.int").write_text("\n".join(lines) + "\n")


def read(folder, supervised=("es",), **options):
    names = tuple(language_names(folder))
    return read_labels(folder, names, supervised, 10, 10 * SECOND, **options)


def test_languages_of_all_and_phonemes_of_the_supervised(folder):
    labels = read(folder)
    assert labels.lang == {
        "es-spk0-000": 0,
        "es-spk1-001": 0,
        "fr-spk0-000": 1,
        "fr-spk1-001": 1,
    }
    assert {utt: ids.tolist() for utt, ids in labels.phn.items()} == {
        "es-spk0-000": [1, 2, 3],
        "es-spk1-001": [1, 2, 3],
    }


def test_no_supervised_language_reads_no_phonemes(folder):
    (folder / "phn.int").unlink()
    assert read(folder, ()).phn == {}


def test_a_high_resource_language_without_labels_is_refused(folder):
    write_targets(folder, es_spk0_000="", es_spk1_001="")
    with pytest.raises(DataError, match=r"'es' is declared high-resource.*stage 4"):
        read(folder)
    with pytest.raises(DataError, match=r"'en'.*no utterance there \(present: es, fr"):
        read(folder, ("en",))


def test_a_validation_set_need_not_have_labels(folder, caplog):
    write_targets(folder, es_spk0_000="", es_spk1_001="")
    assert read(folder, ("es", "fr"), strict=False).phn.keys() == {
        "fr-spk0-000",
        "fr-spk1-001",
    }
    assert "no phoneme labels in 'es'" in caplog.text
    assert read(folder, ("en",), strict=False).phn == {}
    (folder / "phn.int").unlink()
    read_labels.cache_clear()
    assert read(folder, strict=False).phn == {}


def test_single_missing_labels_are_counted(folder, caplog):
    write_targets(folder, es_spk1_001="")
    assert list(read(folder).phn) == ["es-spk0-000"]
    assert "1 of 2 utterances in 'es' have no phoneme labels" in caplog.text


def test_what_no_frame_can_emit_or_no_batch_can_hold_is_counted(folder, caplog):
    write_targets(folder, es_spk0_000="1 1 " * 10)
    assert list(read(folder).phn) == ["es-spk1-001"]
    assert "1 of 2 utterances are not used, they have more phonemes" in caplog.text
    read_labels.cache_clear()
    names = tuple(language_names(folder))
    assert not read_labels(folder, names, ("fr",), 10, SECOND // 4).phn
    assert "longer than a batch (4000 samples)" in caplog.text


def test_a_validation_language_that_training_has_not(folder):
    with pytest.raises(DataError, match=r"'fr-spk0-000' is in language 'fr'"):
        read_labels(folder, ("es",), (), 10, SECOND)


LABELS = LabelSet(
    lang={f"utt{i}": i for i in range(3)}, phn={"utt1": np.array([4, 2], np.int64)}
)


def collate(labels=LABELS, **options):
    return Collate(
        FrameGrid().num_frames, 1, SpanMaskConfig(), labels=labels, **options
    )


def test_labelled_utterances_are_never_cropped():
    """Trap T10: a part of the sound does not say the whole transcript."""
    batch = collate(crop_samples=20000)(make_items(30000, 30000, 30000))[1]
    assert batch["speech_lengths"].tolist() == [20000, 30000, 20000]
    assert batch["lang"].tolist() == [[0], [1], [2]]
    assert batch["phn"].tolist() == [[-1, -1], [4, 2], [-1, -1]]
    assert batch["phn_lengths"].tolist() == [0, 2, 0]


def test_labels_change_neither_crop_nor_mask_of_the_others():
    items = make_items(30000, 15000, 30000)
    with_labels = collate(crop_samples=20000)(items)[1]
    without = collate(None, crop_samples=20000)(items)[1]
    for name in ("speech", "span_mask", "counts"):
        assert torch.equal(with_labels[name], without[name])


def test_mixture_belongs_to_the_utterance():
    items = make_items(48000, 60000, 30000)
    together, alone = collate()(items)[1], collate()(items[1:2])[1]
    frames = alone["mix_frames"].shape[1]
    assert frames == together["span_mask"].shape[1]
    assert torch.equal(together["mix_frames"][1, :frames], alone["mix_frames"][0])
    assert together["mix_utterance"][1] == alone["mix_utterance"][0]
    short = FrameGrid().num_frames(30000)
    assert not together["mix_frames"][2, short:].any()


def test_a_half_is_replaced_on_average_or_exactly():
    rng = np.random.default_rng(0)
    drawn = np.mean([LABELS.draw_frames(101, rng).mean() for _ in range(200)])
    assert abs(drawn - 0.5) < 0.02
    exact = LabelSet({}, {}, exact_half=True)
    assert {int(exact.draw_frames(101, rng).sum()) for _ in range(20)} == {50}
    first, second = (exact.draw_frames(101, rng) for _ in range(2))
    assert (first != second).any()
