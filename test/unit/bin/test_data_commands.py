import json
import subprocess
import sys

import pytest
from factories import make_commonvoice, make_kaldi_tree, make_wav

from espnet2_dq.bin import (
    check_data,
    filter_data,
    prepare_commonvoice,
    prepare_kaldi,
    subset,
)
from espnet2_dq.data.kaldi_dir import KaldiDir

COMMANDS = [prepare_commonvoice, prepare_kaldi, check_data, filter_data, subset]


def run(command, *options):
    return command.main([str(option) for option in options])


def snapshot(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_defaults(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    assert "default:" in capsys.readouterr().out


def test_no_command_imports_torch():
    names = ", ".join(command.__name__ for command in COMMANDS)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_commonvoice_to_a_fine_tuning_subset_twice_the_same(tmp_path):
    make_commonvoice(tmp_path / "cv", clips=4)
    data, dump = tmp_path / "data", tmp_path / "dump"
    runs = []
    for _ in range(2):
        assert run(
            prepare_commonvoice, "--corpus", tmp_path / "cv", "--langs", "es fr",
            "--out", data, "--train_sources", "train other", "--nj", 2,
        ) == 0  # fmt: skip
        assert run(
            check_data, "--data", data, "--out", dump / "check", "--decode_all", "true"
        ) == 0  # fmt: skip
        assert run(
            filter_data, "--data", data, "--check", dump / "check", "--out", dump
        ) == 0  # fmt: skip
        assert run(
            subset, "--data", dump / "train", "--out", dump / "finetune_2s",
            "--minutes", 2 / 60,
        ) == 0  # fmt: skip
        runs.append({**snapshot(data), **snapshot(dump)})
    assert runs[0] == runs[1]
    chosen = KaldiDir.read(dump / "finetune_2s")
    assert chosen.hours() == pytest.approx({"es": 2 / 3600, "fr": 2 / 3600})
    assert set(chosen.extra["utt2source"].values()) == {"train"}
    assert len({u.speaker for u in chosen}) == 4
    shares = json.loads((dump / "language_shares.json").read_text())
    assert [x["share"] for x in shares["languages"]] == pytest.approx([0.5, 0.5])


def test_clip_lists_reach_the_subset(tmp_path, capsys):
    release = make_commonvoice(tmp_path / "cv", langs=("es",), clips=4)
    lists = tmp_path / "lists"
    lists.mkdir()
    for split, table in (("train", "other"), ("test", "test")):
        rows = (release / "es" / f"{table}.tsv").read_text().splitlines()[1:]
        ids = [row.split("\t")[1] for row in rows]
        (lists / f"es_{split}.txt").write_text("\n".join(ids[:2]) + "\n")
    data = tmp_path / "data"
    options = ["--corpus", tmp_path / "cv", "--langs", "es", "--out", data]
    assert run(prepare_commonvoice, *options, "--cpc_lists", lists) == 0
    assert len(KaldiDir.read(data / "test")) == 2
    given = ["--data", data / "train", "--out", tmp_path / "ft"]
    assert run(subset, *given, "--list", data / "finetune_ids.txt") == 0
    by_ids = KaldiDir.read(tmp_path / "ft")
    assert len(by_ids) == 2
    assert run(subset, *given, "--list", f"{lists}/{{lang}}_train.txt") == 0
    assert KaldiDir.read(tmp_path / "ft") == by_ids
    with (lists / "es_train.txt").open("a") as stream:
        stream.write("common_voice_es_1\n")
    assert run(subset, *given, "--list", lists / "es_train.txt") == 1
    assert "1 of 3 ids are not among the labelled" in capsys.readouterr().err
    allowed = ["--list", lists / "es_train.txt", "--allow_less", "true"]
    assert run(subset, *given, *allowed) == 0
    assert run(prepare_commonvoice, *options) == 0
    assert not (data / "finetune_ids.txt").exists()


def test_kaldi_tree_through_check_and_filter(tmp_path):
    tree = make_kaldi_tree(tmp_path / "mine", sets=("train", "dev", "test_a"))
    make_wav(tree / "wav" / "de-train-0.wav", seconds=0.2)
    make_wav(tree / "wav" / "de-test_a-0.wav", seconds=0.2)
    data, dump = tmp_path / "data", tmp_path / "dump"
    assert run(prepare_kaldi, "--data_root", tree, "--out", data) == 0
    sets = ["--sets", "train", "dev", "test_a"]
    given = ["--data", data, *sets]
    assert run(check_data, *given, "--out", dump / "check") == 0
    check = ["--check", dump / "check", "--out", dump]
    assert run(filter_data, *given, *check) == 0
    assert len(KaldiDir.read(dump / "train")) == 5
    assert len(KaldiDir.read(dump / "test_a")) == 6
    assert run(filter_data, *given, *check, "--filter_test", "true") == 0
    assert len(KaldiDir.read(dump / "test_a")) == 5


def test_sets_of_another_corpus_do_not_stay(tmp_path):
    data = tmp_path / "data"
    tree = make_kaldi_tree(tmp_path / "a", sets=("train", "dev", "test", "test_b"))
    assert run(prepare_kaldi, "--data_root", tree, "--out", data) == 0
    assert json.loads((data / "corpus.json").read_text()) == {"source": str(tree)}
    (data / "test").mkdir(exist_ok=True)
    (data / "test" / "notes.md").write_text("mine")
    (data / "other").mkdir()
    tree = make_kaldi_tree(tmp_path / "b", sets=("train", "dev", "test_c"))
    assert run(prepare_kaldi, "--data_root", tree, "--out", data) == 0
    names = sorted(p.name for p in data.iterdir() if p.is_dir())
    assert names == ["dev", "other", "test", "test_c", "train"]
    assert [p.name for p in (data / "test").iterdir()] == ["notes.md"]


def test_too_many_rejects_stop_after_writing_the_list(tmp_path, capsys):
    tree = make_kaldi_tree(tmp_path / "mine")
    (tree / "wav" / "de-train-0.wav").unlink()
    given = ["--data_root", tree, "--out", tmp_path / "d"]
    assert run(prepare_kaldi, *given) == 1
    said = capsys.readouterr().err
    assert "1 of 6 utterances are rejected" in said
    assert "reject.tsv" in said
    assert "de-train-0" in (tmp_path / "d" / "train" / "reject.tsv").read_text()
    assert run(prepare_kaldi, *given, "--max_reject_ratio", 0.2) == 0


def test_what_the_check_finds_the_filter_drops(tmp_path, capsys):
    tree = make_kaldi_tree(tmp_path / "mine")
    data, dump = tmp_path / "data", tmp_path / "dump"
    run(prepare_kaldi, "--data_root", tree, "--out", data)
    (tree / "wav" / "de-train-0.wav").write_bytes(b"")
    given = ["--data", data, "--out", dump / "check"]
    assert run(check_data, *given) == 1
    assert "1 empty file" in capsys.readouterr().err
    assert run(check_data, *given, "--max_reject_ratio", 0.5) == 0
    run(filter_data, "--data", data, "--check", dump / "check", "--out", dump)
    train = KaldiDir.read(dump / "train")
    assert ("de-train-0", "empty file: 0 bytes") in train.rejects
    assert len(train) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --minutes, --hours, --match, --list or --langs"),
        (["--minutes", 1, "--hours", 1], "give one of the two"),
        (["--minutes", -1], "must not be negative"),
        (["--minutes", 1], "has 0.05 minutes with transcripts, 1 asked"),
        (["--match", "fi-*"], "0 utterances chosen of 6; ids look like 'de-train-0'"),
        (["--langs", "fi de"], "--langs: fi not in"),
    ],
)
def test_subsets_that_cannot_be(tmp_path, capsys, options, message):
    tree = make_kaldi_tree(tmp_path / "mine")
    run(prepare_kaldi, "--data_root", tree, "--out", tmp_path / "d")
    given = ["--data", tmp_path / "d" / "train", "--out", tmp_path / "s"]
    assert run(subset, *given, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
