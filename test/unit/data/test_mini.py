"""The mini corpus as a whole."""

import dataclasses
import json
from pathlib import Path

import pytest

from espnet2_dq.bin import prepare_mini
from espnet2_dq.data import mini
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.mini import LANGUAGES, MiniOptions, build_mini, smoke_options
from espnet2_dq.data.recorded import RecordedSource, RecordedUnavailableError
from espnet2_dq.data.sentences import words_of
from espnet2_dq.errors import ConfigError

TINY = MiniOptions(
    langs=("en", "tt"),
    train_hours=20 / 3600,
    dev_minutes=0.1,
    test_minutes=0.1,
    recorded="no",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mini")
    build_mini(out, TINY)
    return out


def test_directories_are_valid_and_disjoint(corpus: Path) -> None:
    sets = {name: KaldiDir.read(corpus / name) for name in ("train", "dev", "test")}
    for data in sets.values():
        assert data.languages == ["en", "tt"]
        assert data.has_text
        assert set(data.phones) == set(data.utterances)
    texts = [{tuple(words_of(u.text or "")) for u in d} for d in sets.values()]
    speakers = [{u.speaker for u in d} for d in sets.values()]
    for groups in (texts, speakers):
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_train_is_unbalanced_and_the_rest_is_not() -> None:
    options = MiniOptions(train_hours=3, test_minutes=12)
    train, test = options.seconds("train"), options.seconds("test")
    assert sum(train.values()) == pytest.approx(3 * 3600)
    assert train["en"] / train["sv"] == pytest.approx(4)
    assert set(test.values()) == {80.0}
    assert dataclasses.replace(options, langs=("ky",)).seconds("train") == {
        "ky": pytest.approx(3 * 3600)
    }


def test_second_run_does_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("built again")

    before = json.loads((corpus / "corpus.json").read_text())
    monkeypatch.setattr(mini, "_build_synthetic", fail)
    with caplog.at_level("INFO"):
        assert build_mini(corpus, TINY) == before
    assert "up to date (synthetic)" in caplog.text
    with pytest.raises(AssertionError, match="built again"):
        build_mini(corpus.parent / "other", TINY)


def test_other_options_build_anew(tmp_path: Path) -> None:
    one = MiniOptions(("sv",), 4 / 3600, 0.05, 0.05, recorded="no")
    first = build_mini(tmp_path, one)
    (tmp_path / "test_rec").mkdir()  # of an earlier corpus with recorded speech
    second = build_mini(tmp_path, dataclasses.replace(one, seed=1))
    assert first["fingerprint"] != second["fingerprint"]
    assert not (tmp_path / "test_rec").exists()


@pytest.mark.parametrize("victim", ["dev/text", "audio", "corpus.json", "test/phn.ctm"])
def test_damage_is_repaired(
    tmp_path: Path, victim: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = MiniOptions(("ky",), 4 / 3600, 0.05, 0.05, recorded="no")
    build_mini(tmp_path, options)
    path = tmp_path / victim
    if victim == "audio":
        path = next(path.rglob("*.wav"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with caplog.at_level("INFO"):
        build_mini(tmp_path, options)
    assert "is built again: " in caplog.text
    if victim == "dev/text":  # samples and times differ at a second build in a process
        assert path.read_bytes() == whole
    caplog.clear()
    with caplog.at_level("INFO"):
        build_mini(tmp_path, options)
    assert "up to date" in caplog.text


def test_recorded_prompts_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stand-in prompts: the real ones come from a registry."""

    def build(sources: list[RecordedSource], audio: Path) -> dict[str, KaldiDir]:
        assert sources[0].lang == "en"
        wav = corpus_path / "one.wav"
        sets = {}
        for name in ("train", "dev", "test"):
            utt = mini.Utterance(f"rec_en_{name}", str(wav), name, "rec_en", "en", 99)
            sets[name] = KaldiDir.from_utterances([utt], rejects=[("rec_en_x", "a: b")])
        return sets

    corpus_path = tmp_path
    source = RecordedSource("en", tmp_path, tmp_path)
    monkeypatch.setattr(mini, "obtain_recorded", lambda *args: [source])
    monkeypatch.setattr(mini, "build_recorded", build)
    options = MiniOptions(("en",), 3 / 3600, 0.03, 0.03, recorded="auto")
    with caplog.at_level("INFO"):
        summary = build_mini(tmp_path / "out", options)
    assert summary["source"] == "synthetic+recorded"
    assert summary["recorded_langs"] == ["en"]
    assert caplog.messages[0] == "mini: synthetic speech and recorded prompts (en)"
    for name, has in [("train", True), ("dev", True), ("test", False)]:
        assert (
            f"rec_en_{name}" in KaldiDir.read(tmp_path / "out" / name).utterances
        ) is has
    assert list(KaldiDir.read(tmp_path / "out/test_rec").utterances) == ["rec_en_test"]


def test_unreachable_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(*args: object) -> None:
        raise RecordedUnavailableError("no network here")

    monkeypatch.setattr(mini, "obtain_recorded", offline)
    auto = MiniOptions(("es",), 3 / 3600, 0.03, 0.03, recorded="auto")
    with caplog.at_level("INFO"):
        assert build_mini(tmp_path, auto)["source"] == "synthetic"
    assert (
        "synthetic speech only; no recorded prompts: no network" in caplog.messages[0]
    )
    with pytest.raises(RecordedUnavailableError):
        build_mini(tmp_path, dataclasses.replace(auto, recorded="yes"))


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "_PACKAGES", ("no-such-package",))
    with pytest.raises(ConfigError, match="'no-such-package'.*extra 'mini'"):
        build_mini(tmp_path, TINY)


def test_languages_are_checked() -> None:
    with pytest.raises(ConfigError, match="ko.*expected distinct languages among en"):
        MiniOptions(langs=("en", "ko"))
    with pytest.raises(ConfigError, match="distinct"):
        MiniOptions(langs=("en", "en"))


def test_smoke_is_small() -> None:
    small = smoke_options(MiniOptions())
    assert small.recorded == "no"
    assert sum(small.seconds("train").values()) == pytest.approx(20 * len(LANGUAGES))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_mini.main(["--out", str(tmp_path), "--langs", "xx"]) == 1
    arguments = ["--out", str(tmp_path / "c"), "--langs", "ky it", "--scale", "smoke"]
    assert prepare_mini.main(arguments) == 0
    assert json.loads((tmp_path / "c/corpus.json").read_text())["source"] == "synthetic"
