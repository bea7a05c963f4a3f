import json
import stat
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml
from stub_ctc import TOKENS, StubCTC, spell

from espnet2_dq.bin import decode, score
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.score.trn import read_trn

WORDS = {"es-1-u1": "a b c", "es-1-u2": "b b", "es-2-u3": "c", "fr-1-u4": "a c a b"}


def run(command, *options):
    return command.main([str(option) for option in options])


@pytest.fixture
def dump(tmp_path, monkeypatch):
    """A set whose sounds the stub model hears without a mistake; no sclite."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    utterances = []
    for utt, text in WORDS.items():
        sound = spell(*(TOKENS.index(token) for token in text.split()))
        path = tmp_path / "wav" / f"{utt}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(str(path), sound, 16000, subtype="FLOAT")
        speaker, _, _ = utt.rpartition("-")
        lang = utt[:2]
        utterances.append(Utterance(utt, str(path), text, speaker, lang, len(sound)))
    data = KaldiDir.from_utterances(utterances)
    data.extra["phn"] = dict(WORDS)
    data.write(tmp_path / "dump")
    return tmp_path / "dump"


@pytest.fixture
def stub(monkeypatch):
    """Decoding loads the stub model."""
    model = StubCTC()
    monkeypatch.setattr(
        "espnet2_dq.asr.build.load_ctc_model",
        lambda *_: (model, {"token_list": TOKENS}),
    )
    return model


def decode_to(out, dump, *options):
    return run(decode, "--model_dir", "exp", "--data_dir", dump, "--out", out, *options)


@pytest.mark.parametrize(
    "options",
    [(), ("--mode", "beam", "--beam_size", 5, "--nbest", 2)],
    ids=["greedy", "beam"],
)
def test_decode_then_score(tmp_path, dump, stub, options):
    out = tmp_path / "decode"
    assert decode_to(out, dump, *options) == 0
    assert (out / "hyp").read_text() == "".join(f"{u} {w}\n" for u, w in WORDS.items())
    rows = [json.loads(line) for line in (out / "hyp.jsonl").read_text().splitlines()]
    assert all(len(r["tokens"]) == len(r["start_s"]) for r in rows)
    assert all(r["end_s"] == sorted(r["end_s"]) for r in rows)
    assert ("nbest" in rows[0]) == bool(options)
    assert json.loads((out / "rtf.json").read_text())["failed"] == 0
    assert (out / "failed.tsv").read_text() == ""
    assert (
        run(
            score, "--hyp", out / "hyp", "--data_dir", dump, "--out", tmp_path / "score"
        )
        == 0
    )
    scores = json.loads((tmp_path / "score" / "scores.json").read_text())
    assert (scores["average"], scores["pooled"]) == (0.0, 0.0)


def test_jobs_and_merge_equal_one_job(tmp_path, dump, stub):
    assert decode_to(tmp_path / "one", dump) == 0
    for job in (1, 2, 3):
        parts = ("--num_jobs", 3, "--job", job)
        assert decode_to(tmp_path / "many", dump, *parts) == 0
        assert not (tmp_path / "many" / "hyp").exists()
    assert decode_to(tmp_path / "many", dump, "--num_jobs", 3, "--merge", "true") == 0
    for name in ("hyp", "hyp.jsonl", "failed.tsv"):
        texts = {(tmp_path / o / name).read_text() for o in ("one", "many")}
        assert len(texts) == 1


def test_merge_before_all_jobs_are_done(tmp_path, dump, stub, capsys):
    assert decode_to(tmp_path / "many", dump, "--num_jobs", 2, "--job", 1) == 0
    assert decode_to(tmp_path / "many", dump, "--num_jobs", 2, "--merge", "true") == 1
    assert "2of2" in capsys.readouterr().err


def test_failed_utterances_are_listed_and_limited(tmp_path, dump, stub, capsys):
    broken = tmp_path / "wav" / "es-2-u3.wav"
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "decode"
    assert decode_to(out, dump) == 1
    assert "1 of 4 utterances failed" in capsys.readouterr().err
    assert decode_to(out, dump, "--max_failed_ratio", 0.3) == 0
    assert "es-2-u3 \n" not in (out / "hyp").read_text()
    assert "es-2-u3\n" in (out / "hyp").read_text()
    assert (out / "failed.tsv").read_text().startswith("es-2-u3\t")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "beam", "--beam_size", 6), "beam_size: 6"),
        (("--job", 3, "--num_jobs", 2), "job 3 of 2"),
        (("--batch_seconds", 0), "--batch_seconds"),
        (("--ngpu", 4), "--ngpu 4"),
    ],
)
def test_bad_options(tmp_path, dump, stub, capsys, options, message):
    assert decode_to(tmp_path / "out", dump, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "hyp").exists()


def test_another_token_list_is_refused(tmp_path, dump, stub, capsys):
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("<blank>\n<unk>\na\nc\nb\n")
    assert decode_to(tmp_path / "out", dump, "--token_list", tokens) == 1
    assert "they differ from id 3 on" in capsys.readouterr().err


def test_a_saved_model_is_decoded(tmp_path, dump):
    from espnet2_dq.asr.build import build_ctc_model

    config = {
        "frontend": "waveform",
        "encoder_conf": {
            "output_size": 16,
            "attention_heads": 2,
            "linear_units": 32,
            "num_blocks": 1,
            "positional": {"kernel": 7, "groups": 2},
        },
        "token_list": TOKENS,
    }
    model = tmp_path / "exp" / "finetune"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(build_ctc_model(config).state_dict(), model / "checkpoint.pth")
    out = tmp_path / "out"
    assert run(decode, "--model_dir", model, "--data_dir", dump, "--out", out) == 0
    assert [line.split()[0] for line in (out / "hyp").read_text().splitlines()] == list(
        WORDS
    )


def write_hyp(tmp_path, **changes):
    path = tmp_path / "hyp"
    words = {**WORDS, **{k.replace("_", "-"): v for k, v in changes.items()}}
    path.write_text(
        "".join(f"{u} {w}".rstrip() + "\n" for u, w in words.items() if w is not None)
    )
    return path


def score_it(tmp_path, dump, hyp, *options):
    return run(
        score, "--hyp", hyp, "--data_dir", dump, "--out", tmp_path / "score", *options
    )


def test_score_files(tmp_path, dump, capsys):
    hyp = write_hyp(tmp_path, es_1_u1="a x c", fr_1_u4="a c")
    assert score_it(tmp_path, dump, hyp) == 0
    out = tmp_path / "score"
    scores = json.loads((out / "scores.json").read_text())
    assert (scores["unit"], scores["metric"], scores["sclite"]) == ("phn", "per", None)
    assert scores["languages"]["es"]["rate"] == pytest.approx(1 / 6)
    assert scores["languages"]["fr"]["rate"] == pytest.approx(2 / 4)
    assert scores["average"] == pytest.approx((1 / 6 + 1 / 2) / 2)
    assert scores["pooled"] == pytest.approx(3 / 10)
    assert len(scores["ci95"]) == 2
    assert read_trn(out / "hyp.trn")["es-1-u1"].tokens == ("a", "x", "c")
    assert read_trn(out / "ref.trn")["es-1-u1"].speaker == "es-1"
    assert "HYP:  a x c" in (out / "alignments.txt").read_text()
    assert "average" in (out / "summary.txt").read_text()


def test_score_of_chosen_languages_and_against_a_baseline(tmp_path, dump):
    baseline = write_hyp(tmp_path, fr_1_u4="").rename(tmp_path / "base")
    hyp = write_hyp(tmp_path, es_1_u1="")
    options = ("--average_langs", "fr", "--baseline", baseline)
    assert score_it(tmp_path, dump, hyp, *options) == 0
    scores = json.loads((tmp_path / "score" / "scores.json").read_text())
    assert scores["average"] == 0.0
    assert scores["baseline"]["difference"] == -1.0
    assert scores["baseline"]["ci95"] == [-1.0, -1.0]


def test_characters_give_wer_and_cer(tmp_path, dump):
    data = KaldiDir.read(dump)
    data.extra["char"] = dict.fromkeys(WORDS, "a b <space> c")
    data.write(dump)
    hyp = tmp_path / "hyp"
    hyp.write_text("".join(f"{utt} a b c\n" for utt in WORDS))
    assert score_it(tmp_path, dump, hyp, "--units", "char") == 0
    scores = json.loads((tmp_path / "score" / "scores.json").read_text())
    assert (scores["metric"], scores["average"]) == ("wer", 1.0)
    assert scores["other_metrics"]["cer"]["average"] == 0.25
    assert read_trn(tmp_path / "score" / "ref.trn")["es-1-u1"].tokens == ("ab", "c")
    assert (tmp_path / "score" / "hyp.cer.trn").exists()


def test_missing_and_extra_hypotheses_are_named(tmp_path, dump, capsys):
    hyp = write_hyp(tmp_path, es_1_u2=None, es_9_u9="a")
    assert score_it(tmp_path, dump, hyp) == 1
    error = capsys.readouterr().err
    assert "no hypothesis: es-1-u2" in error
    assert "no reference: es-9-u9" in error
    assert not (tmp_path / "score" / "scores.json").exists()


def test_references_of_other_units(tmp_path, dump, capsys):
    assert score_it(tmp_path, dump, write_hyp(tmp_path), "--units", "char") == 1
    assert "no file 'char'" in capsys.readouterr().err


@pytest.mark.parametrize(("substituted", "code"), [(1, 0), (2, 1)])
def test_sclite_on_path_is_asked_and_must_agree(tmp_path, dump, substituted, code):
    program = tmp_path / "bin" / "sclite"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        f"print('| Sum |  4  10 |  9  {substituted}  0  0  1  1 |')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    hyp = write_hyp(tmp_path, es_1_u1="a x c")
    assert score_it(tmp_path, dump, hyp) == code
    if code == 0:
        scores = json.loads((tmp_path / "score" / "scores.json").read_text())
        assert scores["sclite"]["pooled"] == 0.1


@pytest.mark.parametrize("command", [decode, score])
def test_help_shows_defaults(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    assert "default:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("espnet2_dq.bin.decode, espnet2_dq.bin.score", ["torch"]),
        (
            "espnet2_dq.decode.recogniser, espnet2_dq.decode.corpus, "
            "espnet2_dq.asr.build",
            ["espnet2.tasks", "espnet2.train.preprocessor", "transformers", "librosa"],
        ),
    ],
)
def test_what_is_not_imported(modules, absent):
    code = f"import sys, {modules}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_numbers_of_the_stub():
    """The tests above rely on it: padding garbage is heard by whoever looks."""
    model = StubCTC()
    sound = np.stack([spell(2), np.zeros_like(spell(2))])
    encoded, lengths = model.encode(torch.from_numpy(sound), torch.tensor([400, 400]))
    assert lengths.tolist() == [1, 1]
    assert model.ctc.log_softmax(encoded)[0, 1:].argmax(-1).tolist() == [4] * (
        encoded.size(1) - 1
    )
