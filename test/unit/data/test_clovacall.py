"""ClovaCall: json beside wavs, and a dev split that a seed decides."""

import json

import pytest
from factories import make_wav

from espnet2_dq.bin import prepare_clovacall
from espnet2_dq.data.clovacall import ClovaOptions
from espnet2_dq.data.clovacall import prepare_clovacall as prepare
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.rejects import count_kinds
from espnet2_dq.errors import ConfigError, DataError


def call(number):
    return f"41_0514_688_0_{number:05d}_05.wav"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "clova"
    for name, first, count in (("train", 0, 12), ("test", 100, 3)):
        rows = []
        for number in range(first, first + count):
            make_wav(folder / f"wavs_{name}" / call(number), seconds=0.2)
            rows.append({"wav": call(number), "text": f"네, 예약이요 {number}번!"})
        save(folder, name, rows)
    return folder


def save(folder, name, rows, encoding="utf-8"):
    path = folder / f"{name}_ClovaCall.json"
    path.write_bytes(json.dumps(rows, ensure_ascii=False).encode(encoding))


def load(folder, name):
    return json.loads((folder / f"{name}_ClovaCall.json").read_text("utf-8"))


def read(root, dev=4, seed=0):
    return prepare(root, ClovaOptions(dev, seed, 2), ProbeCache(None))


def test_splits_are_seeded_and_disjoint(root):
    first, again, other = read(root), read(root), read(root, seed=1)
    assert {n: len(d) for n, d in first.items()} == {"train": 8, "dev": 4, "test": 3}
    ids = {n: set(d.utterances) for n, d in first.items()}
    assert not ids["train"] & ids["dev"]
    assert ids["dev"] == set(again["dev"].utterances)
    assert ids["dev"] != set(other["dev"].utterances)
    # a smaller dev is part of a larger one: what moves does not depend on the rest
    assert set(read(root, dev=2)["dev"].utterances) < ids["dev"]
    assert first["dev"].text_rule == "plain dev_utterances=4 seed=0"


def test_texts_and_speakers(root, caplog):
    data = read(root)["test"]
    utt = call(100).removesuffix(".wav")
    assert data.utterances[utt].text == "네 예약이요 100번"
    assert data.utterances[utt].speaker == utt
    rows = load(root, "train")
    save(root, "train", [{**row, "speaker_id": "s1"} for row in rows])
    sets = read(root)
    assert {u.speaker for u in sets["dev"]} == {"s1"}
    assert all(u.utt.startswith("s1-41_") for u in sets["dev"])
    assert "dev: 1 of 1 speakers are in train, too" in caplog.text


def test_cp949_json(root):
    expected = read(root)["train"]
    save(root, "train", load(root, "train"), "cp949")
    assert read(root)["train"] == expected


def test_whatever_is_left_out_is_listed(root):
    rows = load(root, "test")
    (root / "wavs_test" / call(101)).unlink()
    rows += [{"wav": call(100), "text": "두 번"}, {"text": "소리 없음"}, "x"]
    rows += [{"wav": call(102).replace("102", "103"), "text": "?!"}]
    save(root, "test", rows)
    data = read(root)["test"]
    assert len(data) == 2
    assert count_kinds(data.rejects) == {
        "malformed": 2,
        "duplicate id": 1,
        "empty transcript": 1,
        "missing file": 1,
    }


def test_wrong_layouts_say_what_was_expected(root, tmp_path):
    with pytest.raises(DataError, match=r"train_ClovaCall\.json.*Found: nothing"):
        read(tmp_path / "none")
    (root / "test_ClovaCall.json").write_text("{")
    with pytest.raises(DataError, match="not json"):
        read(root)
    (root / "test_ClovaCall.json").write_text("{}")
    with pytest.raises(DataError, match="expected a list"):
        read(root)
    with pytest.raises(DataError, match="12 utterances, --dev_utterances 12"):
        read(root, dev=12) if save(root, "test", [{"wav": "a", "text": "네"}]) else (
            read(root, dev=12)
        )
    with pytest.raises(DataError, match="0 utterances are usable"):
        read(root)
    with pytest.raises(ConfigError, match="--dev_utterances 0"):
        ClovaOptions(dev_utterances=0)


def test_one_folder_for_both(root):
    expected = read(root)
    for name in ("train", "test"):
        for path in (root / f"wavs_{name}").iterdir():
            (root / "clean").mkdir(exist_ok=True)
            path.rename(root / "clean" / path.name)
        (root / f"wavs_{name}").rmdir()
    found = read(root)
    assert {n: set(d.utterances) for n, d in found.items()} == {
        n: set(d.utterances) for n, d in expected.items()
    }


def test_command(root, tmp_path):
    out = tmp_path / "data"
    command = ["--corpus", str(root), "--out", str(out), "--dev_utterances", "4"]
    assert prepare_clovacall.main(command) == 0
    assert len(KaldiDir.read(out / "dev")) == 4
    assert (out / "test" / "text_rule").read_text().startswith("plain ")
