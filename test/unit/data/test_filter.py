import pytest

from espnet2_dq.data.filter import FilterRules, filter_dir
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.errors import DataError


def directory(**seconds_and_text):
    return KaldiDir.from_utterances(
        Utterance(utt, f"/{utt}.wav", text, "s", "es", round(seconds * 16000))
        for utt, (seconds, text) in seconds_and_text.items()
    )


def test_each_rule_drops_its_utterance_and_says_so():
    data = directory(
        short=(0.1, "a"), long=(40.0, "a"), empty=(2.0, " "), fast=(1.0, "a" * 51),
        broken=(2.0, "a"), good=(2.0, "a" * 50),
    )  # fmt: skip
    data.rejects = [("gone", "missing file: x")]
    kept = filter_dir(data, FilterRules(), [("broken", "truncated: y")], "train")
    assert [u.utt for u in kept] == ["good"]
    assert dict(kept.rejects) == {
        "gone": "missing file: x",
        "broken": "truncated: y",
        "short": "too short: 0.10 s, minimum 0.4 s",
        "long": "too long: 40.00 s, maximum 30.0 s",
        "empty": "empty transcript: no text",
        "fast": "transcript too long: 51 characters per second, maximum 50",
    }


def test_bounds_of_zero_are_off():
    data = directory(short=(0.1, "a" * 90), long=(1e4, "a"))
    assert len(filter_dir(data, FilterRules(0, 0, 0), [], "test")) == 2


def test_bounds_belong_to_what_is_kept():
    data = directory(a=(0.4, "a"), b=(30.0, "a"))
    assert len(filter_dir(data, FilterRules(), [], "train")) == 2


def test_unlabelled_audio_may_stay_for_pretraining():
    data = directory(a=(1.0, ""), b=(1.0, "x"))
    assert len(filter_dir(data, FilterRules(keep_unlabelled=True), [], "train")) == 2


def test_a_set_without_transcripts_loses_nothing():
    assert len(filter_dir(directory(a=(1.0, None)), FilterRules(), [], "train")) == 1


def test_nothing_left_lists_the_counts_by_rule():
    data = directory(a=(0.1, "a"), b=(0.2, "a"), c=(1.0, ""))
    with pytest.raises(DataError) as caught:
        filter_dir(data, FilterRules(), [], "train")
    message = str(caught.value)
    assert "train: 0 utterances left of 3" in message
    assert "2 too short, 1 empty transcript" in message


def test_rejects_of_unknown_utterances_do_not_count():
    data = directory(a=(1.0, "a"))
    assert len(filter_dir(data, FilterRules(), [("b", "x: y")], "train")) == 1
