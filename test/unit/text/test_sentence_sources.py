"""Sentences for models of text: files, directories, the mini corpus' sources."""

import pytest

from espnet2_dq.data.sentences import draw_sentences, split_of
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.sentence_sources import Line, draw_mini_sentences, read_sentences


def test_lines_of_a_file(tmp_path):
    path = tmp_path / "more.tsv"
    path.write_text("es\tdos  palabras\n\nsv-SE\t två ord \n", encoding="utf-8")
    assert read_sentences(path) == [
        Line("es", "dos  palabras", f"{path}:1"),
        Line("sv-SE", "två ord", f"{path}:3"),
    ]


@pytest.mark.parametrize("line", ["dos palabras", "dos palabras\tes", "\tdos"])
def test_other_lines_are_named(tmp_path, line):
    path = tmp_path / "more.tsv"
    path.write_text(f"es\tbien\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"more\.tsv:2: .*lang<TAB>sentence"):
        read_sentences(path)


def test_a_directory_or_its_text(tmp_path):
    (tmp_path / "text").write_text("u1 dos palabras\nu2\nu3 two words\n")
    (tmp_path / "utt2lang").write_text("u1 es\nu2 es\nu3 en\n")
    found = read_sentences(tmp_path)
    assert [(x.lang, x.text) for x in found] == [
        ("es", "dos palabras"),
        ("en", "two words"),
    ]
    assert found[1].origin == f"{tmp_path / 'text'}:3"
    assert read_sentences(tmp_path / "text") == found


def test_a_directory_without_a_language(tmp_path):
    (tmp_path / "text").write_text("u1 dos palabras\nu2 two words\n")
    (tmp_path / "utt2lang").write_text("u1 es\n")
    with pytest.raises(DataError, match="utt2lang: no line for 'u2'"):
        read_sentences(tmp_path)


def test_mini_sentences_begin_with_those_of_the_corpus_and_are_train_s():
    found = draw_mini_sentences(["nl", "xx"], 50, seed=3)
    assert {line.lang for line in found} == {"nl"}
    corpus = draw_sentences("nl", "train", 3)
    assert [line.text for line in found] == [next(corpus).text for _ in range(50)]
    whole = [x.text for x in found if split_of(x.text) == "train"]
    assert whole  # messages; lists are of train's names, not of train's hash
    others = [draw_sentences("nl", split, 3) for split in ("dev", "test")]
    held_out = {next(sentences).text for sentences in others for _ in range(200)}
    assert not held_out & {line.text for line in found}


def test_mini_sentences_of_no_known_language():
    with pytest.raises(ConfigError, match="mini corpus for ko; it has en fr"):
        draw_mini_sentences(["ko"], 5, seed=0)
