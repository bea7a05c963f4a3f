"""Stage 4 with graphemes and syllables."""

from pathlib import Path

import pytest

from espnet2_dq.bin import units
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.tables import read_table
from espnet2_dq.data.unit_files import UnitOptions, convert_sets
from espnet2_dq.errors import DataError
from espnet2_dq.text.hangul import compose, join_syllables


def write(path: Path, **texts: str) -> None:
    KaldiDir.from_utterances(
        Utterance(utt, "/a.wav", text, utt, "ko", 16000) for utt, text in texts.items()
    ).write(path)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    write(tmp_path / "train", a="값이 70%", b="이 ㅋㅋ", c="이")
    write(tmp_path / "test", d="뷁이 이", e="TV 70%")
    return tmp_path


def convert(dump: Path, kind: str, **options: float) -> tuple[str, ...]:
    assert (
        units.main(
            ["--dump", str(dump), "--sets", "train", "test", "--kind", kind]
            + ["--out", str(dump / "units" / kind), "--max_reject_ratio", "0.5"]
            + [str(o) for k, v in options.items() for o in (f"--{k}", v)]
        )
        == 0
    )
    return tuple((dump / "units" / kind / "tokens.txt").read_text().splitlines())


def test_syllables(dump: Path) -> None:
    tokens = convert(dump, "syllable")
    specials = ("<blank>", "<unk>", "<pad>")
    assert tokens == (
        *specials, "이", "<space>", "ㅋ", "%", "0", "7", "값", "<sos/eos>"
    )  # fmt: skip
    ids = read_table(dump / "test" / "syllable.int")
    assert ids == {"d": "1 3 4 3"}
    assert read_table(dump / "train" / "syllable")["a"] == "값 이 <space> 7 0 %"
    report = (dump / "units/syllable/report.tsv").read_text().splitlines()
    row = dict(zip(report[0].split("\t"), report[2].split("\t"), strict=True))
    assert (row["set"], row["unknown"], row["unknown_types"]) == ("test", "1", "뷁")


def test_graphemes_spell_the_unseen_syllable(dump: Path) -> None:
    write(dump / "test", d="깂 피")
    tokens = convert(dump, "grapheme")
    assert tokens[:4] == ("<blank>", "<unk>", "<pad>", "ᄋ")
    (ids,) = read_table(dump / "test" / "grapheme.int").values()
    # no letter of the first is new; the second has a new initial
    assert [tokens[int(i)] for i in ids.split()] == [
        "ᄀ", "ᅵ", "ᆹ", "<space>", "<unk>", "ᅵ"
    ]  # fmt: skip


def test_rejects_and_extra_files_of_both_kinds_live_together(dump: Path) -> None:
    for kind in ("grapheme", "syllable"):
        convert(dump, kind)
    data = KaldiDir.read(dump / "test")
    assert data.rejects == [
        (utt, f"{kind}: non-Korean text: no Hangul in 'TV 70%'")
        for kind in ("grapheme", "syllable")
        for utt in ("e",)
    ]
    names = {"grapheme", "grapheme.int", "syllable", "syllable.int"}
    assert set(data.extra) == names
    assert set(data.subset(["d"]).extra) == names


def test_texts_come_back(dump: Path) -> None:
    for kind, join in (("grapheme", compose), ("syllable", join_syllables)):
        convert(dump, kind)
        table = read_table(dump / "train" / kind)
        texts = {u.utt: u.text for u in KaldiDir.read(dump / "train")}
        assert {u: join(t.split(" ")) for u, t in table.items()} == texts


def test_rare_syllables_become_unknown(dump: Path) -> None:
    tokens = convert(dump, "syllable", min_count=2)
    assert "값" not in tokens
    assert read_table(dump / "train" / "syllable.int")["a"].split()[0] == "1"


def test_too_many_rejects(dump: Path) -> None:
    options = UnitOptions(kind="syllable")
    with pytest.raises(DataError, match="test: 1 of 2 utterances are rejected"):
        convert_sets(dump, ["train", "test"], dump / "units", options)
