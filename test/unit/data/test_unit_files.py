"""Stage 4 on small directories."""

from pathlib import Path

import pytest

from espnet2_dq.bin import units
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.tables import read_table
from espnet2_dq.data.unit_files import UnitOptions, convert_sets
from espnet2_dq.errors import ConfigError, DataError


def write(path: Path, texts: dict[str, tuple[str, str | None]]) -> None:
    KaldiDir.from_utterances(
        Utterance(utt, "/a.wav", text, utt, lang, 16000)
        for utt, (lang, text) in texts.items()
    ).write(path)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    write(
        tmp_path / "train",
        {"a": ("en", "A cat."), "b": ("fr", "Le chat"), "c": ("en", "the cat")},
    )
    write(
        tmp_path / "test",
        {"d": ("fr", "Le zoo"), "e": ("en", "room 12"), "f": ("en", "cat")},
    )
    write(tmp_path / "bare", {"g": ("en", None)})
    return tmp_path


def test_characters(dump: Path) -> None:
    options = UnitOptions(kind="char", max_reject_ratio=0.5)
    units_ = convert_sets(dump, ["train", "test", "bare"], dump / "units", options)
    lines = (dump / "units/tokens.txt").read_text().splitlines()
    assert tuple(lines) == units_.tokens
    assert lines[:3] == ["<blank>", "<unk>", "<pad>"]
    assert read_table(dump / "train/char")["a"] == "a <space> c a t"
    ids = read_table(dump / "test/char.int")
    assert list(ids) == ["d", "f"]
    assert [lines[int(i)] for i in ids["d"].split()] == [
        "l", "e", "<space>", "<unk>", "<unk>", "<unk>",
    ]  # fmt: skip
    after = KaldiDir.read(dump / "test")
    assert sorted(after.utterances) == ["d", "e", "f"]
    assert [utt for utt, _ in after.rejects] == ["e"]
    assert after.rejects[0][1].startswith("char: foreign characters: '1'")
    assert set(after.extra) == {"char", "char.int"}
    report = [
        line.split("\t")
        for line in (dump / "units/report.tsv").read_text().splitlines()
    ]
    assert report[0][:4] == ["set", "lang", "utterances", "rejected"]
    assert ["test", "en", "1", "1", "3", "3", "0", "1.0000", ""] in [
        [*row, ""][:9] for row in report
    ]
    assert not (dump / "bare/char").exists()


def test_phonemes_share_one_list_and_runs_replace_their_rejects(dump: Path) -> None:
    options = UnitOptions(max_reject_ratio=0.5)
    write(
        dump / "test", {"d": ("fr", "Le zoo"), "e": ("en", "..."), "f": ("en", "cat")}
    )
    for _ in range(2):
        convert_sets(dump, ["train", "test"], dump / "units", options)
    assert read_table(dump / "train/phn")["b"] == "l ə ʃ a"
    assert KaldiDir.read(dump / "test").rejects == [("e", "phn: no phonemes in '...'")]
    write(
        dump / "test", {"d": ("fr", "Le zoo"), "e": ("en", "dog"), "f": ("en", "cat")}
    )
    convert_sets(dump, ["train", "test"], dump / "units", options)
    assert KaldiDir.read(dump / "test").rejects == []
    # another kind leaves these alone
    write(dump / "test", {"e": ("en", "...")})
    with pytest.raises(DataError, match="test: 1 of 1 utterances are rejected"):
        convert_sets(dump, ["train", "test"], dump / "units", UnitOptions())


def test_sentencepiece(dump: Path) -> None:
    texts = {f"u{i}": ("en", f"the {w} sat on a mat") for i, w in enumerate("abcdef")}
    write(dump / "many", texts)
    options = UnitOptions(kind="bpe", train_sets=("many",), bpe_size=24)
    convert_sets(dump, ["many", "train"], dump / "units", options)
    assert "▁" in read_table(dump / "many/bpe")["u0"]
    assert len((dump / "units/tokens.txt").read_text().splitlines()) <= 24 + 4
    assert (dump / "units/bpe.model").is_file()


def test_errors(dump: Path) -> None:
    with pytest.raises(ConfigError, match="--train_sets dev: not among --sets train"):
        convert_sets(dump, ["train"], dump, UnitOptions(train_sets=("dev",)))
    with pytest.raises(ConfigError, match="--kind word: expected one of phn char bpe"):
        convert_sets(dump, ["train"], dump, UnitOptions(kind="word"))
    with pytest.raises(DataError, match="none of the training sets bare has a text"):
        convert_sets(dump, ["bare"], dump, UnitOptions(train_sets=("bare",)))
    write(dump / "odd", {"x": ("xq", "text")})
    with pytest.raises(ConfigError, match="language 'xq'"):
        convert_sets(dump, ["odd"], dump, UnitOptions(train_sets=("odd",)))


def test_command(dump: Path) -> None:
    common = ["--dump", str(dump), "--out", str(dump / "units")]
    assert units.main([*common, "--sets", "train bare", "--kind", "phn"]) == 0
    assert (dump / "units/tokens.txt").is_file()
    assert units.main([*common, "--sets", "nothing", "--train_sets", "nothing"]) == 1
