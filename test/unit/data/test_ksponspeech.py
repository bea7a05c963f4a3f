"""KsponSpeech: a fixture copy with everything that goes wrong in real ones."""

import numpy as np
import pytest

from espnet2_dq.bin import check_data, filter_data, prepare_ksponspeech
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.kspon_layout import file_number, script_of
from espnet2_dq.data.ksponspeech import KsponOptions
from espnet2_dq.data.ksponspeech import prepare_ksponspeech as prepare
from espnet2_dq.data.pcm import write_pcm
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.data.rejects import count_kinds
from espnet2_dq.errors import ConfigError, DataError

DUAL = "b/ (70%)/(칠 십 퍼센트) 확률이라니 (뭐 뭔)/(모 몬) 소리야?"
TRAIN = "KsponSpeech_01/KsponSpeech_0001/KsponSpeech_{:06d}.pcm"
DEV = "KsponSpeech_05/KsponSpeech_0621/KsponSpeech_{:06d}.pcm"
EVAL = "KsponSpeech_eval/eval_{}/KsponSpeech_E{:05d}.pcm"


class Copy:
    """A copy of the corpus that a test fills."""

    def __init__(self, root):
        self.root = root
        self.lines = {n: [] for n in ("train", "dev", "eval_clean", "eval_other")}
        self.scripts = "KsponSpeech_scripts"

    def sound(self, path, samples=8000, odd=False):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(path))
        write_pcm(target, rng.integers(-900, 900, samples).astype(np.int16))
        if odd:
            target.write_bytes(target.read_bytes() + b"\0")
        return target

    def add(self, script, path, text, **sound):
        self.sound(path, **sound)
        self.lines[script].append(f"{path} :: {text}")

    def write(self, encoding="utf-8", newline="\n"):
        folder = self.root / self.scripts
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in self.lines.items():
            text = newline.join([*lines, ""])
            (folder / f"{name}.trn").write_bytes(text.encode(encoding))
        return self.root


@pytest.fixture
def copy(tmp_path):
    made = Copy(tmp_path / "kspon")
    made.add("train", TRAIN.format(1), DUAL)
    made.add("train", TRAIN.format(2), "아/ 그래 n/ ㅋㅋ")
    made.add("dev", DEV.format(620001), "응+ 응+ 알겠어.")
    made.add("eval_clean", EVAL.format("clean", 1), "(3시)/(세 시) 쯤?", odd=True)
    made.add("eval_other", EVAL.format("other", 3001), "좋아 l/")
    return made


def read(root, **options):
    return prepare(root, KsponOptions(workers=2, **options), ProbeCache(None))


def texts(data):
    return {u.utt: u.text for u in data}


def test_sets_texts_and_lengths(copy, caplog):
    with caplog.at_level("INFO"):
        sets = read(copy.write())
    assert list(sets) == ["train", "dev", "test_clean", "test_other"]
    assert texts(sets["train"]) == {
        "KsponSpeech_000001": "70% 확률이라니 뭐 뭔 소리야",
        "KsponSpeech_000002": "아 그래 ㅋㅋ",
    }
    assert texts(sets["test_clean"]) == {"KsponSpeech_E00001": "3시 쯤"}
    for data in sets.values():
        assert data.languages == ["ko"]
        assert data.rejects == []
        assert data.text_rule == "orthographic max_train_characters=200"
        assert {u.speaker for u in data} == set(data.utterances)
        assert {u.num_samples for u in data} == {8000}
    assert "test_clean: 1 pcm files have an odd number of bytes" in caplog.text
    assert "every utterance is its own speaker" in caplog.text


def test_phonetic_rule(copy):
    sets = read(copy.write(), rule="phonetic")
    assert texts(sets["train"])["KsponSpeech_000001"] == (
        "칠 십 퍼센트 확률이라니 모 몬 소리야"
    )
    assert sets["dev"].text_rule.startswith("phonetic ")


def test_the_file_number_reaches_the_rule(copy):
    copy.add("train", TRAIN.format(87797), "(5%)/(오 %) 정도")
    copy.add("train", TRAIN.format(87798), "(5%)/(오 %) 정도")
    sets = read(copy.write(), rule="phonetic")
    assert texts(sets["train"])["KsponSpeech_087797"] == "오 퍼센트 정도"
    assert count_kinds(sets["train"].rejects) == {"unreadable percent": 1}
    dropped = read(copy.root, rule="phonetic", percent="drop")["train"]
    assert texts(dropped)["KsponSpeech_087798"] == "오 정도"
    assert "percent=drop" in dropped.text_rule


def test_whatever_is_left_out_is_listed(copy):
    copy.add("train", TRAIN.format(3), "(뭐/(모) 야")
    copy.add("train", TRAIN.format(4), "b/ n/ ...")
    copy.add("train", TRAIN.format(5), "응", samples=0)
    copy.lines["train"] += [
        f"{TRAIN.format(6)} :: 소리 없음",
        "no separator here",
        f"{TRAIN.format(1)} :: 두 번",
    ]
    copy.sound(TRAIN.format(7))
    copy.sound(EVAL.format("other", 3002))
    sets = read(copy.write())
    rejects = dict(sets["train"].rejects)
    assert len(sets["train"]) == 2
    assert count_kinds(sets["train"].rejects) == {
        "missing file": 1,
        "unbalanced brackets": 1,
        "empty transcript": 1,
        "empty file": 1,
        "malformed": 1,
        "duplicate id": 1,
        "no transcript": 1,
    }
    assert "train.trn:3" in rejects["KsponSpeech_000003"]
    assert "train.trn:6" in rejects["KsponSpeech_000006"]
    assert rejects["train.trn:7"].startswith("malformed")
    assert rejects["train.trn:8"].startswith("duplicate id")
    assert rejects["KsponSpeech_000007"].startswith("no transcript")
    assert count_kinds(sets["test_other"].rejects) == {"no transcript": 1}


def test_long_texts_leave_train_only(copy):
    long = "가" * 201
    copy.add("train", TRAIN.format(3), long)
    copy.add("dev", DEV.format(620002), long)
    copy.add("eval_clean", EVAL.format("clean", 2), long)
    copy.add("train", TRAIN.format(4), "가" * 200)
    sets = read(copy.write())
    assert sets["train"].rejects == [
        ("KsponSpeech_000003", "excluded: 201 characters, maximum 200 in train")
    ]
    assert [len(sets[n]) for n in ("train", "dev", "test_clean")] == [3, 2, 2]
    assert len(read(copy.root, max_train_characters=0)["train"]) == 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_scripts_in_any_encoding(copy, encoding, newline):
    expected = texts(read(copy.write())["train"])
    assert texts(read(copy.write(encoding, newline))["train"]) == expected


def test_texts_beside_the_sounds_where_scripts_are_missing(copy, caplog):
    copy.write()
    for name in ("train", "dev"):
        (copy.root / copy.scripts / f"{name}.trn").unlink()
        for number, line in enumerate(copy.lines[name]):
            path, text = line.split(" :: ")
            code = "cp949" if number % 2 == 0 else "utf-8"
            target = (copy.root / path).with_suffix(".txt")
            target.write_bytes(f"{text}\r\n".encode(code))
    broken = (copy.root / TRAIN.format(3)).with_suffix(".txt")
    broken.write_bytes("가".encode("utf-16"))
    copy.sound(TRAIN.format(3))
    with caplog.at_level("INFO"):
        sets = read(copy.root)
    assert texts(sets["train"])["KsponSpeech_000001"] == "70% 확률이라니 뭐 뭔 소리야"
    assert list(sets["dev"].utterances) == ["KsponSpeech_620001"]
    assert count_kinds(sets["train"].rejects) == {"unknown encoding": 1}
    assert "no train.trn: 3 transcriptions from .txt files" in caplog.text


@pytest.mark.parametrize("scripts", ["scripts", "."])
@pytest.mark.parametrize("prefix", ["", "KsponSpeech/", "./", "/data/"])
def test_scripts_elsewhere_and_paths_that_begin_elsewhere(copy, scripts, prefix):
    expected = texts(read(copy.write())["train"])
    for path in (copy.root / copy.scripts).iterdir():
        path.unlink()
    copy.scripts = scripts
    copy.lines = {n: [prefix + x for x in rows] for n, rows in copy.lines.items()}
    assert texts(read(copy.write())["train"]) == expected


def test_of_two_sounds_the_one_in_the_script_is_taken(copy):
    copy.sound(f"A_backup/{TRAIN.format(1)}", samples=99)
    copy.sound("KsponSpeech_eval/backup/KsponSpeech_E00001.pcm", samples=99)
    sets = read(copy.write())
    assert {u.num_samples for u in sets["test_clean"]} == {8000}
    first = sets["train"].utterances["KsponSpeech_000001"]
    assert first.path.endswith(TRAIN.format(1))


def test_an_utterance_of_train_and_test_leaves_train(copy):
    copy.lines["train"].append(copy.lines["eval_clean"][0])
    sets = read(copy.write())
    assert "KsponSpeech_E00001" not in sets["train"].utterances
    assert count_kinds(sets["train"].rejects) == {"excluded": 1}
    assert len(sets["test_clean"]) == 1


def test_wrong_layouts_say_what_was_expected_and_found(tmp_path, copy):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "speech.wav").touch()
    for root, words in {
        tmp_path / "nothing": "no such folder",
        tmp_path / "other": "zero utterances found",
    }.items():
        with pytest.raises(DataError) as caught:
            read(root)
        assert words in str(caught.value)
        assert "KsponSpeech_0001/KsponSpeech_000001.pcm" in str(caught.value)
    assert "speech.wav" in str(caught.value)
    copy.lines["dev"] = []
    with pytest.raises(DataError, match="zero utterances of dev"):
        read(copy.write())
    again = copy.root / "scripts"
    again.mkdir()
    (again / "train.trn").touch()
    with pytest.raises(DataError, match="two places"):
        read(copy.root)


def test_a_copy_without_tests_is_said(copy, caplog):
    copy.lines["eval_clean"] = copy.lines["eval_other"] = []
    sets = read(copy.write())
    assert list(sets) == ["train", "dev"]
    assert "no set 'test_clean'" in caplog.text


def test_a_set_of_which_all_sounds_are_missing(copy):
    (copy.root / EVAL.format("clean", 1)).unlink()
    with pytest.raises(DataError, match="test_clean: 0 utterances are usable"):
        read(copy.write())


def test_options_are_checked():
    for wrong in ({"rule": "spelling"}, {"percent": "?"}, {"max_train_characters": -1}):
        with pytest.raises(ConfigError, match=f"--{next(iter(wrong))}"):
            KsponOptions(**wrong)


def test_names():
    assert file_number("KsponSpeech_087797") == "087797"
    assert script_of(DEV.format(620000)) == "train"
    assert script_of(DEV.format(620001)) == "dev"
    assert script_of(EVAL.format("other", 1)) == "eval_other"


def test_command_then_check_and_filter_keep_the_rule(copy, tmp_path, capsys):
    root, data, dump = copy.write(), tmp_path / "data", tmp_path / "dump"
    command = ["--corpus", str(root), "--out", str(data), "--rule", "phonetic"]
    assert prepare_ksponspeech.main(command) == 0
    for module, options in (
        (check_data, ["--out", str(dump / "check"), "--decode_share", "1"]),
        (filter_data, ["--check", str(dump / "check"), "--out", str(dump)]),
    ):
        sets = ["--sets", "train", "dev", "test_clean", "test_other"]
        assert module.main(["--data", str(data), *sets, *options]) == 0
    for folder in (data, dump):
        assert (folder / "train" / "text_rule").read_text() == (
            "phonetic max_train_characters=200 percent=reject\n"
        )
    kept = KaldiDir.read(dump / "test_clean")
    assert texts(kept) == {"KsponSpeech_E00001": "세 시 쯤"}
    copy.lines["train"] += [f"{TRAIN.format(n)} :: 없음" for n in range(10, 20)]
    copy.write()
    assert prepare_ksponspeech.main(command) == 1
    assert "10 missing file" in capsys.readouterr().err
    rows = (data / "train" / "reject.tsv").read_text().splitlines()
    assert len(rows) == 10
