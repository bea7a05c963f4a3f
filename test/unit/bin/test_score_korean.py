import json
import stat
import subprocess
import sys
import unicodedata

import pytest

from espnet2_dq.bin import score_korean
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.score.trn import read_trn

TEXTS = {"u1": "뷁이 70%", "u2": "가 나 다", "u3": "ㅋㅋ 그래"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A set, the training text, and no sclite."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    data = KaldiDir.from_utterances(
        Utterance(u, "/a.wav", t, u, "ko", 16000) for u, t in TEXTS.items()
    )
    data.text_rule = "orthographic max_train_characters=200"
    data.write(tmp_path / "dump")
    (tmp_path / "train_text").write_text("t1 이가 나다 그래\nt2\n")
    return tmp_path


def write_hyp(work, name="hyp", **changes):
    texts = {**TEXTS, **changes}
    (work / name).write_text(
        "".join(f"{u} {t}".strip() + "\n" for u, t in texts.items() if t is not None)
    )
    return work / name


def run(work, *options):
    command = ["--data_dir", work / "dump", "--out", work / "out", "--resamples", 20]
    return score_korean.main([str(o) for o in (*command, *options)])


def scores_of(work):
    return json.loads((work / "out" / "scores.json").read_text())


def test_files_and_numbers(work):
    hyp = write_hyp(work, u1="뷁이  70", u2="가나 다")
    assert run(work, "--hyp", hyp, "--train_text", work / "train_text") == 0
    scores = scores_of(work)
    assert scores["text_rule"] == "orthographic max_train_characters=200"
    assert (scores["utterances"], scores["empty_hypotheses"]) == (3, 0)
    rates = {m: (s["rate"], s["ref"]) for m, s in scores["metrics"].items()}
    assert rates == {
        "cer": (2 / 16, 16),
        "cer_no_space": (1 / 12, 12),
        "wer": (3 / 7, 7),
        "swer_kwav2vec": (1 / 7, 7),
        "swer_ksponspeech": (1 / 7, 7),
    }
    unseen = scores["unseen_syllables"]
    assert (unseen["recall"], unseen["reference"], unseen["types"]) == (1.0, 1, 1)
    assert scores["sclite"] is None
    out = work / "out"
    assert read_trn(out / "hyp.trn")["u1"].tokens == ("뷁이", "70")
    assert read_trn(out / "ref.cer.trn")["u3"].tokens == (
        "ㅋ", "ㅋ", "<space>", "그", "래"
    )  # fmt: skip
    assert "HYP:" in (out / "alignments.txt").read_text()
    assert "id: u1" in (out / "alignments.cer.txt").read_text()
    summary = (out / "summary.txt").read_text()
    assert "text rule: orthographic" in summary
    assert "swer_ksponspeech    14.29" in summary
    assert "recall 100.00 % (100.00-100.00), 1 of 1 running" in summary


def test_an_empty_hypothesis_counts_as_deleted(work):
    hyp = write_hyp(work, u1="", u2="", u3="")
    assert run(work, "--hyp", hyp) == 0
    scores = scores_of(work)
    assert scores["empty_hypotheses"] == 3
    assert {s["rate"] for s in scores["metrics"].values()} == {1.0}
    assert {s["del"] for s in scores["metrics"].values()} == {16, 12, 7}
    assert scores["unseen_syllables"] is None


def test_decomposed_texts_and_wide_spaces_are_the_same_texts(work):
    hyp = write_hyp(work, u2=unicodedata.normalize("NFD", "가\u3000나 다"))
    assert run(work, "--hyp", hyp) == 0
    assert {s["rate"] for s in scores_of(work)["metrics"].values()} == {0.0}


def test_baseline(work):
    baseline = write_hyp(work, "base", u1="")
    options = ("--hyp", write_hyp(work), "--baseline", baseline)
    assert run(work, *options) == 0
    difference = scores_of(work)["metrics"]["wer"]["baseline"]
    assert difference["difference"] == pytest.approx(-2 / 7)
    assert "wer minus baseline: -28.57" in (work / "out" / "summary.txt").read_text()


def test_wrong_input(work, capsys):
    assert run(work, "--hyp", write_hyp(work, u2=None, u9="가")) == 1
    error = capsys.readouterr().err
    assert "no hypothesis: u2" in error
    assert "no reference: u9" in error
    assert not (work / "out" / "scores.json").exists()
    (work / "train_text").write_text("t1 hello\n")
    options = ("--hyp", write_hyp(work), "--train_text", work / "train_text")
    assert run(work, *options) == 1
    assert "no Hangul syllable" in capsys.readouterr().err
    (work / "dump" / "text").unlink()
    assert run(work, "--hyp", write_hyp(work)) == 1
    assert "no file 'text'" in capsys.readouterr().err


@pytest.mark.parametrize(("reference", "code"), [(16, 0), (7, 1)])
def test_sclite_on_path_must_agree(work, reference, code):
    program = work / "bin" / "sclite"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"n = {reference} if 'cer' in sys.argv[2] else 7\n"
        "print(f'| Sum |  3  {n} |  9  0  0  0  0  0 |')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert run(work, "--hyp", write_hyp(work)) == code
    if code == 0:
        assert scores_of(work)["sclite"]["cer"]["ref"] == 16


def test_nothing_heavy_is_imported():
    code = (
        "import sys, espnet2_dq.bin.score_korean; "
        "print([m for m in ('torch', 'librosa', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
