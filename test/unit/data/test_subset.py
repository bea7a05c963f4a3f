import pytest

from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.subset import (
    describe,
    labelled,
    match_glob,
    match_list,
    spread_over_speakers,
    take_minutes,
)
from espnet2_dq.errors import DataError


def rows(lang="es", speakers=(8, 2, 2), seconds=6.0, text="x"):
    return [
        Utterance(f"{lang}-{s}-{n}", f"/c/clip_{lang}_{s}_{n}.mp3", text,
                  f"{lang}-{s}", lang, round(seconds * 16000))
        for s, count in enumerate(speakers) for n in range(count)
    ]  # fmt: skip


def test_rounds_take_every_speaker_once_before_any_twice():
    order = spread_over_speakers(rows(), 0, "es")
    assert {u.speaker for u in order[:3]} == {"es-0", "es-1", "es-2"}
    assert {u.speaker for u in order[3:6]} == {"es-0", "es-1", "es-2"}
    assert sorted(u.utt for u in order) == sorted(u.utt for u in rows())


def test_order_depends_on_the_seed_and_not_on_the_input_order():
    assert spread_over_speakers(rows(), 1, "es") == spread_over_speakers(
        rows()[::-1], 1, "es"
    )
    assert spread_over_speakers(rows(), 1, "es") != spread_over_speakers(
        rows(), 2, "es"
    )


def test_an_utterance_less_leaves_the_order_of_the_others():
    order = spread_over_speakers(rows(speakers=(1,) * 8), 0, "es")
    dropped = order[3]
    rest = [u for u in rows(speakers=(1,) * 8) if u != dropped]
    assert spread_over_speakers(rest, 0, "es") == [u for u in order if u != dropped]


def test_minutes_are_never_exceeded_and_missed_by_less_than_one_utterance():
    chosen = take_minutes([*rows(), *rows("fr")], 0.55, seed=0)
    for lang in ("es", "fr"):
        total = sum(u.duration_s for u in chosen if u.lang == lang)
        assert 33 - 6 < total <= 33


def test_a_smaller_subset_is_part_of_the_larger():
    small = take_minutes(rows(), 0.3, seed=3)
    large = take_minutes(rows(), 0.9, seed=3)
    assert large[: len(small)] == small
    assert len(large) > len(small)


def test_all_there_is_can_be_asked_for_exactly():
    assert len(take_minutes(rows(), 1.2, seed=0)) == 12


def test_too_little_speech_is_an_error_unless_allowed(caplog):
    data = [*rows(), *rows("fr", (1,))]
    with pytest.raises(DataError, match=r"'fr' has 0.10 minutes.*1 asked.*allow_less"):
        take_minutes(data, 1.0, seed=0)
    chosen = take_minutes(data, 1.0, seed=0, allow_less=True)
    assert sum(u.lang == "fr" for u in chosen) == 1
    assert "'fr' has 0.10 minutes" in caplog.text


def test_lists_match_utterance_ids_and_clip_ids():
    found, missing = match_list(rows(), ["es-0-1", "clip_es_1_0", "nothing", "es-0-1"])
    assert [u.utt for u in found] == ["es-0-1", "es-1-0"]
    assert missing == ["nothing"]


def test_glob():
    assert {u.speaker for u in match_glob(rows(), "es-1-*")} == {"es-1"}


def test_only_confirmed_transcripts_serve_as_labels():
    data = KaldiDir.from_utterances([*rows(speakers=(4,)), *rows("fr", (1,), text="")])
    data.extra["utt2source"] = {"es-0-0": "other", "es-0-1": "invalidated",
                                "es-0-2": "validated", "es-0-3": "train"}  # fmt: skip
    assert [u.utt for u in labelled(data, "d")] == ["es-0-2", "es-0-3"]


def test_without_transcripts_there_is_nothing_to_choose():
    data = KaldiDir.from_utterances(rows(text=None))
    with pytest.raises(DataError, match="no file 'text'.*pretraining only"):
        labelled(data, "dump/train")


def test_summary_line():
    assert describe(rows()) == "  es: 12 utterances, 3 speakers, 1.20 min"
