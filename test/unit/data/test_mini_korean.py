"""The Korean mini corpus: its sentences, its layout, and the real parser over it."""

import dataclasses
import itertools
import json

import pytest

from espnet2_dq.bin import prepare_mini_korean
from espnet2_dq.data import mini_korean
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.korean_lexicon import SETS, held_out, lexicon, messages, owner
from espnet2_dq.data.korean_phrases import fixed_syllables
from espnet2_dq.data.korean_sentences import Writer
from espnet2_dq.data.mini_korean import (
    KoreanOptions,
    build_mini_korean,
    fingerprint,
    smoke_options,
)
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.kspon_transcription import clean_transcription

TINY = KoreanOptions(25 / 3600, 0.1, 0.2, 0.2)


@pytest.fixture(scope="module")
def drawn():
    return {
        name: list(itertools.islice(Writer(name, 0).sentences(), count))
        for name, count in zip(SETS, (1500, 150, 200, 200), strict=True)
    }


def test_there_is_enough_to_say():
    assert len(messages()) > 1000
    assert all(len(items) > 100 for items in lexicon().values())
    assert {owner(item) for item in messages()} == set(SETS)


def test_sets_share_no_sentence_and_train_has_no_held_out_syllable(drawn):
    spoken = {name: {s.spoken for s in rows} for name, rows in drawn.items()}
    assert sum(map(len, spoken.values())) == len(set().union(*spoken.values()))
    assert all(len(spoken[name]) == len(drawn[name]) for name in SETS)
    assert not held_out().keys() & set("".join(spoken["train"]))
    tests = "".join([*spoken["test_clean"], *spoken["test_other"]])
    assert sum(c in held_out() for c in tests) >= 150
    # dev's own syllables tune what the tests then measure on others
    of_dev = {c for c, name in held_out().items() if name == "dev"}
    assert of_dev & set("".join(spoken["dev"]))
    assert not set(held_out()) - of_dev & set("".join(spoken["dev"]))
    assert not held_out().keys() & fixed_syllables()


def test_both_readings_of_a_transcription(drawn):
    sentences = [s for rows in drawn.values() for s in rows]
    dual = [s for s in sentences if ")/(" in s.transcription]
    assert len(dual) > 100
    for sentence in sentences:
        said = clean_transcription(sentence.transcription, "phonetic")
        assert said == " ".join(sentence.spoken.replace(",", "").split())
        written = clean_transcription(sentence.transcription)
        assert (written == said) == (")/(" not in sentence.transcription)
        assert sentence.transcription.encode("cp949")
    assert any("%" in clean_transcription(s.transcription) for s in dual)
    tagged = [s for s in sentences if s.transcription[:2] in ("b/", "n/", "o/")]
    assert tagged


def test_drawing_is_repeatable():
    one, two, other = (
        list(itertools.islice(Writer("dev", seed).sentences(), 20))
        for seed in (3, 3, 4)
    )
    assert one == two != other


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("korean")
    command = ["--out", str(out / "data"), "--english_hours", "0"]
    sizes = dataclasses.asdict(TINY)
    for name, value in sizes.items():
        command += [f"--{name}", str(value)]
    assert prepare_mini_korean.main(command) == 0
    return out / "data"


def test_the_layout_is_that_of_the_corpus(built):
    corpus = built / "corpora" / "KsponSpeech_mini"
    first = corpus / "KsponSpeech_01" / "KsponSpeech_0001" / "KsponSpeech_000001.pcm"
    line = (corpus / "KsponSpeech_scripts" / "train.trn").read_text("utf-8")
    path, text = line.split("\n")[0].split(" :: ")
    assert corpus / path == first
    assert first.with_suffix(".txt").read_text("cp949").strip() == text
    odd = [p for p in corpus.rglob("*.pcm") if p.stat().st_size % 2]
    names = sorted(path.name for path in odd)
    assert names == ["KsponSpeech_E00002.pcm", "KsponSpeech_E03002.pcm"]
    assert not list((corpus / "KsponSpeech_eval").rglob("*.txt"))


def test_the_real_parser_reads_all_of_it(built):
    rows = (built / "corpora/KsponSpeech_mini/utterances.tsv").read_text().splitlines()
    voices = {}
    for row in rows:
        path, size, voice, _ = row.split("\t")
        voices[path.rpartition("/")[2].removesuffix(".pcm")] = voice, int(size) // 2
    sets = {name: KaldiDir.read(built / name) for name in SETS}
    assert sum(map(len, sets.values())) == len(rows)
    for name, data in sets.items():
        assert data.rejects == []
        assert data.text_rule.startswith("orthographic")
        assert sum(data.hours().values()) > 0.9 * TINY.seconds("dev") / 3600
        assert all(voices[u.utt][1] == u.num_samples for u in data), name
    heard = {name: {voices[u.utt][0] for u in data} for name, data in sets.items()}
    assert not heard["train"] & (heard["dev"] | heard["test_clean"])
    assert not heard["dev"] & heard["test_clean"]


def test_a_second_run_does_nothing(built, monkeypatch, caplog):
    corpus = built / "corpora" / "KsponSpeech_mini"
    before = json.loads((corpus / "corpus.json").read_text("utf-8"))

    def fail(*args):
        raise AssertionError("built again")

    monkeypatch.setattr(mini_korean, "_speak_set", fail)
    with caplog.at_level("INFO"):
        assert build_mini_korean(corpus, TINY) == before
    assert "up to date" in caplog.text
    victim = next(corpus.rglob("*.pcm"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-2])
    with caplog.at_level("INFO"), pytest.raises(AssertionError, match="built again"):
        build_mini_korean(corpus, TINY)
    assert f"{victim.relative_to(corpus)} was changed" in caplog.text


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "KsponSpeech_01").mkdir()
    with pytest.raises(DataError, match="not a mini corpus"):
        build_mini_korean(tmp_path, TINY)
    assert (tmp_path / "KsponSpeech_01").is_dir()


def test_options_decide_the_fingerprint():
    assert fingerprint(TINY) != fingerprint(dataclasses.replace(TINY, seed=1))
    assert smoke_options(KoreanOptions()).seconds("train") < 120
    with pytest.raises(ConfigError, match="> 0"):
        KoreanOptions(train_hours=0)


def test_english_for_the_source_model(tmp_path, monkeypatch):
    calls = []
    run = prepare_mini_korean.subprocess.run

    def count(command, **options):
        calls.append(command)
        return run(command, **options)

    monkeypatch.setattr(prepare_mini_korean.subprocess, "run", count)
    monkeypatch.setattr(prepare_mini_korean, "smoke_options", lambda _: TINY)
    command = ["--out", str(tmp_path / "data"), "--scale", "smoke"]
    assert prepare_mini_korean.main(command) == 0
    assert len(calls) == 1
    for name in ("train", "dev"):
        assert KaldiDir.read(tmp_path / "data" / "english" / name).languages == ["en"]
    assert len(KaldiDir.read(tmp_path / "data" / "train")) > 0
