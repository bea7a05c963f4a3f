import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.trn import escape, read_trn, unescape, write_trn


def test_file_as_sclite_reads_it(tmp_path):
    path = tmp_path / "ref.trn"
    write_trn(
        path,
        {"s-1-u2": ["a", "{", "@x"], "s-1-u1": [], "k": ["<space>", "ɑ̃"]},
        {"s-1-u1": "s-1", "s-1-u2": "s-1", "k": "k"},
    )
    assert path.read_text(encoding="utf-8").split("\n") == [
        "<space> ɑ̃ (k-k)",
        "(s%2D1-s-1-u1)",
        "a %7B %40x (s%2D1-s-1-u2)",
        "",
    ]


def test_round_trip(tmp_path):
    tokens = {"u(1)": ["(", "%41", "a;b", "a/b"], "u2": ["한", "\u2028", "\xa0"]}
    write_trn(tmp_path / "x.trn", tokens, {"u(1)": "sp)k-1", "u2": "sp"})
    got = read_trn(tmp_path / "x.trn")
    assert {utt: list(t.tokens) for utt, t in got.items()} == tokens
    assert {utt: t.speaker for utt, t in got.items()} == {"u(1)": "sp)k-1", "u2": "sp"}


@pytest.mark.parametrize("text", ["a", "%", "{@}", "a b", "é%C3", "\x00\x1f", "﻿x"])
def test_escaping_is_undone(text):
    assert unescape(escape(text)) == text
    assert not set(escape(text)) & set("@{}()/; \x00\x1f﻿")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="'u1' has no speaker"):
        write_trn(tmp_path / "x", {"u1": ["a"]}, {})
    with pytest.raises(DataError, match="empty token"):
        write_trn(tmp_path / "x", {"u1": ["a", ""]}, {"u1": "s"})


@pytest.mark.parametrize("line", ["a b c", "a (noid)", "a (s-u) b", "(s-u)x"])
def test_lines_of_another_shape(tmp_path, line):
    path = tmp_path / "x.trn"
    path.write_text(f"a (s-u0)\n{line}\n")
    with pytest.raises(DataError, match=r"x.trn:2: .*does not end in"):
        read_trn(path)


def test_utterance_twice(tmp_path):
    path = tmp_path / "x.trn"
    path.write_text("a (s-u)\nb (s-u)\n")
    with pytest.raises(DataError, match="x.trn:2: 'u' stands already"):
        read_trn(path)
