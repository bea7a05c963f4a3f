"""Decoding a set in several modes, and single files, with the two-head model."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
import torch
import yaml
from hier_factories import SPLIT, hier_config, make_hier
from stub_hier import TEXTS, TOKEN_LISTS, StubHier, sing

from espnet2_dq.bin import decode_korean, transcribe
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.decode.posterior_files import (
    read_posteriors,
    read_token_lists,
    utterances,
)

__all__ = ["make_hier"]

MODES = ("greedy_syllable", "greedy_grapheme", "merge", "rescore", "joint")
UTTERANCES = {f"ko-s1-u{i}": text for i, text in enumerate(TEXTS)}
FILES = ("hyp", "hyp.jsonl", "failed.tsv")


@pytest.fixture
def dump(tmp_path):
    """A set whose sounds the stub model hears without a mistake."""
    rows = []
    for utt, text in UTTERANCES.items():
        path = tmp_path / "wav" / f"{utt}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(str(path), sing(text), 16000, subtype="FLOAT")
        rows.append(Utterance(utt, str(path), text, "ko-s1", "ko", len(sing(text))))
    KaldiDir.from_utterances(rows).write(tmp_path / "dump")
    return tmp_path / "dump"


@pytest.fixture
def stub(monkeypatch):
    model = StubHier()
    monkeypatch.setattr(
        "espnet2_dq.asr.hierarchical_build.load_hierarchical_model",
        lambda *_: (model, {}),
    )
    return model


def decode_to(out, dump, *options, modes=MODES):
    words = ["--model_dir", "exp", "--data_dir", dump, "--out", out, "--modes", *modes]
    words += ["--beam_size", 5, *options]
    return decode_korean.main([str(word) for word in words])


def rows_of(folder):
    lines = (folder / "hyp.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["utt"]: row for row in map(json.loads, lines)}


def test_all_modes_share_one_encoding(tmp_path, dump, stub):
    assert decode_to(tmp_path / "out", dump, "--nbest", 2) == 0
    assert sum(stub.batch_sizes) == len(UTTERANCES)
    expected = "".join(f"{utt} {text}\n" for utt, text in UTTERANCES.items())
    shared = set()
    for mode in MODES:
        folder = tmp_path / "out" / mode
        assert (folder / "hyp").read_text(encoding="utf-8") == expected, mode
        assert (folder / "failed.tsv").read_text() == ""
        rtf = json.loads((folder / "rtf.json").read_text())
        assert set(rtf["parts_s"]) == {"read", "encode", "search"}
        assert rtf["wall_s"] == pytest.approx(sum(rtf["parts_s"].values()), abs=2e-3)
        assert rtf["options"]["mode"] == mode
        shared.add(rtf["parts_s"]["encode"])
    assert len(shared) == 1


def test_tokens_and_words_have_times(tmp_path, dump, stub):
    assert decode_to(tmp_path / "out", dump) == 0
    for mode in MODES:
        row = rows_of(tmp_path / "out" / mode)["ko-s1-u0"]
        assert row["text"] == "가나 다"
        assert row["tokens"] == ["가", "나", "다"]
        assert len(row["tokens"]) == len(row["start_s"]) == len(row["end_s"])
        edges = [*row["start_s"], row["end_s"][-1]]
        assert edges == sorted(edges)
        assert [word["word"] for word in row["words"]] == ["가나", "다"]
        assert row["words"][0]["start_s"] == row["start_s"][0]
        assert row["words"][0]["end_s"] == row["end_s"][1]
    # 2 frames of silence, then the first syllable, 20 ms each
    first = rows_of(tmp_path / "out" / "greedy_syllable")["ko-s1-u0"]["start_s"][0]
    assert first == pytest.approx(0.04, abs=0.021)


def test_jobs_and_merge_equal_one_job(tmp_path, dump, stub):
    some = ("greedy_syllable", "rescore")
    assert decode_to(tmp_path / "one", dump, modes=some) == 0
    many = tmp_path / "many"
    for job in (1, 2, 3):
        parts = ("--num_jobs", 3, "--job", job)
        assert decode_to(many, dump, *parts, modes=some) == 0
        assert not (many / "rescore" / "hyp").exists()
    done = decode_to(many, dump, "--num_jobs", 3, "--merge", "true", modes=some)
    assert done == 0
    for mode in some:
        for name in FILES:
            texts = {(tmp_path / o / mode / name).read_text() for o in ("one", "many")}
            assert len(texts) == 1
        rtf = json.loads((many / mode / "rtf.json").read_text())
        assert set(rtf["parts_s"]) == {"read", "encode", "search"}


def test_merge_before_all_jobs_are_done(tmp_path, dump, stub, capsys):
    assert decode_to(tmp_path / "many", dump, "--num_jobs", 2) == 0
    options = ("--num_jobs", 2, "--merge", "true")
    assert decode_to(tmp_path / "many", dump, *options) == 1
    assert "2of2" in capsys.readouterr().err


def test_failed_utterances_are_listed_in_every_mode(tmp_path, dump, stub, capsys):
    broken = tmp_path / "wav" / "ko-s1-u1.wav"
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "out"
    assert decode_to(out, dump) == 1
    assert "1 of 4 utterances failed" in capsys.readouterr().err
    assert decode_to(out, dump, "--max_failed_ratio", 0.3) == 0
    for mode in MODES:
        assert "ko-s1-u1\n" in (out / mode / "hyp").read_text(encoding="utf-8")
        assert (out / mode / "failed.tsv").read_text().startswith("ko-s1-u1\t")


def test_posteriors_are_saved_for_tuning(tmp_path, dump, stub):
    folder = tmp_path / "posteriors"
    options = ("--save_posteriors", folder)
    assert decode_to(tmp_path / "out", dump, *options, modes=["merge"]) == 0
    assert utterances(folder) == sorted(UTTERANCES)
    assert read_token_lists(folder) == TOKEN_LISTS
    found, samples = read_posteriors(folder, "ko-s1-u0")
    sound = sing(UTTERANCES["ko-s1-u0"])
    assert samples == len(sound)
    expected, lengths = StubHier().posteriors(
        torch.from_numpy(sound)[None], torch.tensor([len(sound)])
    )
    for head in TOKEN_LISTS:
        assert found[head].dtype == np.float32
        assert np.array_equal(found[head], expected[head][0, : lengths[0]].numpy())


def test_tuned_values_win(tmp_path, dump, stub):
    tuned = tmp_path / "tuned.json"
    tuned.write_text('{"rescore": {"weight": 0.25, "combination": "mixture"}}')
    options = ("--tuned", tuned, "--weight", 0.75)
    assert decode_to(tmp_path / "out", dump, *options) == 0
    for mode, weight in (("rescore", 0.25), ("merge", 0.75)):
        text = (tmp_path / "out" / mode / "rtf.json").read_text()
        assert json.loads(text)["options"]["weight"] == weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--modes", "viterbi"), "mode 'viterbi'"),
        (("--weight", 1.5, "--modes", "merge"), "weight: 1.5"),
        (("--beam_size", 5000, "--modes", "joint"), "beam_size: 5000"),
        (("--job", 3, "--num_jobs", 2), "job 3 of 2"),
        (("--batch_seconds", 0), "--batch_seconds"),
        (("--tuned", "nowhere.json"), "--tuned nowhere.json"),
    ],
)
def test_bad_options(tmp_path, dump, stub, capsys, options, message):
    assert decode_to(tmp_path / "out", dump, *options) == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("hyp"))


def test_modes_that_a_single_head_has(tmp_path, dump, monkeypatch, capsys):
    monkeypatch.setattr(
        "espnet2_dq.asr.hierarchical_build.load_hierarchical_model",
        lambda *_: (StubHier(("syllable",)), {}),
    )
    some = ("greedy_syllable", "merge")
    assert decode_to(tmp_path / "out", dump, modes=some) == 0
    assert "가나 다" in (tmp_path / "out" / "merge" / "hyp").read_text(encoding="utf-8")
    assert decode_to(tmp_path / "out", dump, modes=["joint"]) == 1
    assert "choose from greedy_syllable, merge, rescore" in capsys.readouterr().err


def test_another_token_list_is_refused(tmp_path, dump, stub, capsys):
    for head, tokens in TOKEN_LISTS.items():
        path = tmp_path / "units" / head / "tokens.txt"
        path.parent.mkdir(parents=True)
        changed = tokens if head == "syllable" else [*tokens, "x"]
        path.write_text("".join(f"{token}\n" for token in changed), encoding="utf-8")
    options = ("--units_dir", tmp_path / "units")
    assert decode_to(tmp_path / "out", dump, *options) == 1
    assert f"differ from id {len(TOKEN_LISTS['grapheme'])}" in capsys.readouterr().err


@pytest.fixture
def saved_model(tmp_path, make_hier):
    """A directory as training leaves it."""
    folder = tmp_path / "exp"
    folder.mkdir()
    text = yaml.safe_dump(hier_config(), allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    model = make_hier()
    with torch.no_grad():  # untrained heads say nothing but blank or one token
        for ctc in model.ctc_heads.values():
            ctc.ctc_lo.weight.mul_(8.0)
    torch.save(model.state_dict(), folder / "valid.wer.best.pth")
    return folder


def noisy(seconds, seed):
    return np.random.default_rng(seed).standard_normal(int(16000 * seconds)) * 0.1


@pytest.mark.parametrize("mode", ["greedy_grapheme", "rescore", "joint"])
def test_api_and_recipe_agree_to_the_character(tmp_path, saved_model, mode):
    """Batches of the recipe hold several sounds, the API transcribes one by one."""
    from espnet2_dq.decode.transcriber import Transcriber

    rows = []
    for i, seconds in enumerate((0.9, 0.5, 0.7, 0.3)):
        path = tmp_path / f"ko-s-{i}.wav"
        soundfile.write(str(path), noisy(seconds, i), 16000, subtype="FLOAT")
        samples = int(16000 * seconds)
        rows.append(Utterance(f"ko-s-{i}", str(path), None, "ko-s", "ko", samples))
    KaldiDir.from_utterances(rows).write(tmp_path / "set")
    words = ["--model_dir", saved_model, "--data_dir", tmp_path / "set"]
    words += ["--out", tmp_path / "out", "--modes", mode, "--beam_size", 4]
    assert decode_korean.main([str(word) for word in words]) == 0
    model = Transcriber.load(saved_model, mode=mode, beam_size=4)
    found = rows_of(tmp_path / "out" / mode)
    texts = set()
    for row in rows:
        heard = model.transcribe(row.path)
        decoded = found[row.utt]
        assert heard.text == decoded["text"]
        assert heard.score == pytest.approx(decoded["score"], abs=1e-3)
        assert [t["token"] for t in heard.tokens] == decoded["tokens"]
        assert [t["end_s"] for t in heard.tokens] == decoded["end_s"]
        assert heard.words == decoded.get("words", [])
        for head, split in SPLIT.items():
            assert heard.units[head] == split(heard.text)
        texts.add(heard.text)
    assert len(texts) > 1  # not just empty


def test_transcribe_prints_lines_or_json(tmp_path, saved_model, capsys):
    sound = noisy(0.8, 5)
    mono, stereo = tmp_path / "a.wav", tmp_path / "b.flac"
    soundfile.write(str(mono), sound, 16000, subtype="FLOAT")
    fast = soxr.resample(sound, 16000, 44100)
    soundfile.write(str(stereo), np.stack([fast, fast], 1), 44100)
    base = ["--model", str(saved_model), str(mono), str(stereo)]
    assert transcribe.main(base) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(str(stereo))]
    assert any(line.startswith("  grapheme:") for line in lines)
    assert transcribe.main([*base, "--json", "--mode", "joint", "--verbose"]) == 0
    captured = capsys.readouterr()
    first, second = map(json.loads, captured.out.splitlines())
    assert (first["file"], second["file"]) == (str(mono), str(stereo))
    assert set(first["units"]) == {"grapheme", "syllable"}
    assert first["audio_s"] == pytest.approx(second["audio_s"], abs=1e-3)
    assert "import of torch" in captured.err


def test_unreadable_files_do_not_stop_the_others(tmp_path, saved_model, capsys):
    good, short = tmp_path / "good.wav", tmp_path / "short.wav"
    soundfile.write(str(good), noisy(0.5, 1), 16000)
    soundfile.write(str(short), noisy(0.01, 1), 16000)
    paths = [str(short), str(tmp_path / "none.wav"), str(good)]
    assert transcribe.main(["--model", str(saved_model), *paths]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(str(good))
    assert "160 samples" in captured.err
    assert "none.wav" in captured.err


@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_older_models_are_transcribed_too(tmp_path, mode, capsys):
    from asr_factories import TOKENS, tiny_config

    from espnet2_dq.asr.build import build_ctc_model
    from espnet2_dq.decode.transcriber import Transcriber

    sound = tmp_path / "a.wav"
    soundfile.write(str(sound), noisy(0.8, 2), 16000)
    for unit, tokens in (("phn", TOKENS), ("char", [*TOKENS[:-1], "<space>"])):
        folder = tmp_path / unit
        folder.mkdir()
        config = tiny_config(token_list=tokens)
        torch.manual_seed(3)
        model = build_ctc_model(config)
        with torch.no_grad():
            model.ctc.ctc_lo.weight.mul_(8.0)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        torch.save(model.state_dict(), folder / "valid.ter.best.pth")
        found = Transcriber.load(folder, mode=mode).transcribe(sound)
        assert list(found.units) == [unit]
        joined = "".join(found.units[unit]).replace("<space>", "")
        assert found.text.replace(" ", "") == joined != ""
        if unit == "char":
            assert [w["word"] for w in found.words] == found.text.split()
    assert transcribe.main(["--model", str(folder), str(sound), "--mode", "joint"]) == 1
    assert "mode 'joint'" in capsys.readouterr().err


def test_what_is_not_imported():
    absent = ["espnet2.tasks", "espnet2.train.preprocessor", "transformers", "librosa"]
    code = (
        "import sys, espnet2_dq.decode.korean_corpus, espnet2_dq.decode.transcriber,"
        " espnet2_dq.asr.hierarchical_build;"
        f" print([m for m in {absent} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
