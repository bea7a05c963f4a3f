"""Pairs of phonemes and characters: nothing that is tested is trained on."""

import pytest

from espnet2_dq.asr.tokens import read_tokens
from espnet2_dq.bin.transcoder_data import main
from espnet2_dq.data.tables import read_lines, read_table
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.phonemes import phonemise
from espnet2_dq.text.sentence_sources import Line
from espnet2_dq.text.transcoder_data import (
    TextSets,
    clean_texts,
    make_pairs,
    tagged_languages,
    write_pairs,
)


def lines(*rows):
    return [Line(lang, text, f"t:{n}") for n, (lang, text) in enumerate(rows, 1)]


def write_set(path, *rows):
    path.mkdir()
    texts = [f"u{n} {text}\n" for n, (_, text) in enumerate(rows)]
    langs = [f"u{n} {lang}\n" for n, (lang, _) in enumerate(rows)]
    (path / "text").write_text("".join(texts), encoding="utf-8")
    (path / "utt2lang").write_text("".join(langs), encoding="utf-8")
    return path


@pytest.fixture
def dump(tmp_path):
    write_set(tmp_path / "train", ("en", "Red boats."), ("es", "la casa"))
    write_set(tmp_path / "dev", ("en", "Cold morning"), ("es", "dos casas"))
    write_set(tmp_path / "test", ("en", "Seven stones"), ("es", "tres casas"))
    return tmp_path


def test_a_pair_is_tag_phones_and_the_characters_that_are_scored():
    pairs = make_pairs(lines(("en", "Red Boats!")), set(), max_tokens=99)
    (key,) = pairs.phones
    assert pairs.phones[key] == ["<en>", *phonemise(["Red Boats!"], "en")[0]]
    assert pairs.chars[key] == [*"red", "<space>", *"boats"]
    assert pairs.langs == {key: "en"}


def test_what_becomes_of_each_line():
    given = lines(
        ("en", "red boats"),
        ("en", "Red: boats?"),  # the same words
        ("es", "red boats"),  # another language spells it itself
        ("en", "seven stones"),
        ("es", "Seven, stones"),  # held out, whatever its language
        ("en", "42 boats"),
        ("en", "a longer sentence than is allowed here"),
    )
    held_out = clean_texts(lines(("en", "Seven stones!"), ("en", "13 boats")))
    pairs = make_pairs(given, held_out, max_tokens=20)
    assert pairs.fates == {
        ("en", "kept"): 1,
        ("en", "repeated"): 1,
        ("es", "kept"): 1,
        ("en", "held_out"): 1,
        ("es", "held_out"): 1,
        ("en", "rejected"): 2,
    }
    assert [origin for origin, _ in pairs.rejects] == ["t:6", "t:7"]
    assert "foreign characters" in pairs.rejects[0][1]
    assert "too long: 38 tokens, at most 20" in pairs.rejects[1][1]


def test_words_are_examples_too_unless_they_are_held_out():
    given = lines(("es", "la casa roja"), ("es", "casa"))
    held_out = clean_texts(lines(("es", "¡Roja!")))
    plain = make_pairs(given, held_out, max_tokens=99)
    pairs = make_pairs(given, held_out, max_tokens=99, words=True)
    texts = {key: "".join(chars) for key, chars in pairs.chars.items()}
    assert sorted(texts.values()) == ["casa", "la", "la<space>casa<space>roja"]
    assert pairs.words == {"es": 1}
    assert pairs.fates == plain.fates == {("es", "kept"): 2}
    by_text = {text: pairs.phones[key] for key, text in texts.items()}
    assert by_text["la"] == ["<es>", *phonemise(["la"], "es")[0]]


def test_ids_mix_the_languages():
    rows = [(lang, f"{word} casa") for lang in ("es", "it") for word in "abcdefghij"]
    pairs = make_pairs(lines(*rows), set(), max_tokens=99)
    order = "".join(pairs.langs[key][0] for key in sorted(pairs.langs))
    assert "i" in order[:10]
    assert "e" in order[10:]


def test_files_fit_together(dump, tmp_path):
    out = tmp_path / "pairs"
    options = ["--text", str(dump / "train"), "--valid", str(dump / "dev")]
    assert main([*options, "--mini_sentences", "5", "--out", str(out)]) == 0
    for name, tokens in (("phn", "phn_tokens.txt"), ("char", "char_tokens.txt")):
        units = read_tokens(out / tokens)
        for part in ("train", "valid"):
            rows = read_table(out / part / name)
            ids = read_table(out / part / f"{name}.int")
            lengths = read_table(out / part / f"{name}.len")
            assert rows.keys() == ids.keys() == lengths.keys()
            assert rows.keys() == read_table(out / part / "utt2lang").keys()
            for key, row in rows.items():
                back = [units[int(i)] for i in ids[key].split()]
                assert len(back) == int(lengths[key]) == len(row.split())
                if part == "train":
                    assert back == row.split()
    assert tagged_languages(read_tokens(out / "phn_tokens.txt")) == ["en", "es"]
    report = [row.split("\t") for row in read_lines(out / "report.tsv")]
    assert report[1][:4] == ["train", "en", "6", "6"]


def test_no_sentence_of_dev_or_test_is_trained_on(dump, tmp_path):
    everything = dump / "all.tsv"
    rows = []
    for name in ("train", "dev", "test"):
        langs = read_table(dump / name / "utt2lang")
        for utt, text in read_table(dump / name / "text").items():
            rows += [f"{langs[utt]}\t{text}", f"{langs[utt]}\t{text.upper()} !"]
    everything.write_text("\n".join(rows) + "\n", encoding="utf-8")
    out = tmp_path / "pairs"
    options = ["--text", str(everything), "--valid", str(dump / "dev")]
    options += ["--held_out", str(dump / "test"), "--out", str(out)]
    assert main(options) == 0
    words = {" ".join(word) for word in ("red", "boats", "la", "casa")}
    trained = set(read_table(out / "train" / "char").values())
    assert trained - words == {"r e d <space> b o a t s", "l a <space> c a s a"}
    assert words <= trained
    head, *counts = [row.split("\t") for row in read_lines(out / "report.tsv")]
    column = head.index("held_out")
    assert [row[column] for row in counts if row[0] == "train"] == ["4", "4"]


def test_dev_sentences_that_are_tested_do_not_choose_the_model(dump, tmp_path):
    given = TextSets(lines(("en", "red boats")), dump / "dev", [dump / "dev"])
    with pytest.raises(DataError, match="valid: no sentence is left .1 held_out"):
        write_pairs(given, tmp_path / "pairs")


def test_languages_without_text_do_not_validate(dump, tmp_path, caplog):
    given = TextSets(lines(("en", "red boats")), dump / "dev", [])
    write_pairs(given, tmp_path / "pairs")
    assert set(read_table(tmp_path / "pairs/valid/utt2lang").values()) == {"en"}
    assert "1 sentences of es do not validate" in caplog.text


def test_test_sets_without_transcripts_hold_nothing_out(dump, tmp_path):
    (dump / "test" / "text").unlink()
    given = TextSets(lines(("en", "red boats")), dump / "dev", [dump / "test"])
    write_pairs(given, tmp_path / "pairs")
    assert (tmp_path / "pairs" / "train" / "phn.int").exists()


def test_nothing_to_learn_from(dump, tmp_path, capsys):
    out = str(tmp_path / "pairs")
    assert main(["--valid", str(dump / "dev"), "--out", out]) == 1
    assert "train: no sentence is left (0 held_out" in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_length_limit_is_a_number_of_tokens(dump, tmp_path):
    with pytest.raises(ConfigError, match="--max_tokens 0"):
        write_pairs(TextSets([], dump / "dev", []), tmp_path, max_tokens=0)
