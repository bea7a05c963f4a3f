"""Synthetic speech: speakers, alignments, agreement with the text's phonemes."""

import itertools
import json
import random
import subprocess
import sys

import numpy as np
import pytest

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.espeak import PhoneEvent, Speech
from espnet2_dq.data.sentences import SPLITS
from espnet2_dq.data.synthetic import (
    Studio,
    SyntheticUtterance,
    align_phones,
    speak_set,
    speakers,
)
from espnet2_dq.text.phonemes import phonemise

NINE = ["en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt"]


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(0)


@pytest.fixture(scope="module")
def spoken(studio: Studio) -> dict[str, list[SyntheticUtterance]]:
    return {
        lang: list(speak_set(studio, "train", lang, seconds=12, seed=0))
        for lang in NINE
    }


def test_sets_share_no_speaker() -> None:
    voices = {split: {s.variant for s in speakers(split, 0)} for split in SPLITS}
    assert len(voices["train"]) >= 16
    assert len(voices["dev"]) == len(voices["test"]) == 2
    for a, b in itertools.combinations(SPLITS, 2):
        assert not voices[a] & voices[b]
    names = [s.name for split in SPLITS for s in speakers(split, 0)]
    assert len(set(names)) == len(names)


def test_speakers_are_the_same_in_every_language(studio: Studio) -> None:
    heard = {
        lang: {u.speaker for u in speak_set(studio, "test", lang, seconds=9, seed=0)}
        for lang in ("ky", "nl")
    }
    assert heard["ky"] == heard["nl"] == {s.name for s in speakers("test", 0)}


@pytest.mark.parametrize("lang", NINE)
def test_alignments_lie_inside_the_audio(
    spoken: dict[str, list[SyntheticUtterance]], lang: str
) -> None:
    for item in spoken[lang]:
        previous_end = 0.0
        for phone in item.phones:
            assert phone.start_s >= previous_end - 1e-6, item.utt
            assert phone.duration_s > 0
            previous_end = phone.start_s + phone.duration_s
        assert previous_end <= len(item.samples) / SAMPLE_RATE_HZ + 1e-9


@pytest.mark.parametrize("lang", NINE)
def test_phones_of_the_audio_are_the_phones_of_the_text(
    spoken: dict[str, list[SyntheticUtterance]], lang: str
) -> None:
    texts = phonemise([item.text for item in spoken[lang]], lang)
    heard = [[p.phone for p in item.phones] for item in spoken[lang]]
    assert heard == texts


def test_audio_is_loud_where_phones_are(
    spoken: dict[str, list[SyntheticUtterance]],
) -> None:
    """Times survive resampling: speech outside the phones would show here."""
    for lang in NINE:
        for item in spoken[lang]:
            inside = np.zeros(len(item.samples), dtype=bool)
            for p in item.phones:
                end_s = p.start_s + p.duration_s
                inside[int(p.start_s * 16000) : int(end_s * 16000)] = True
            wave = item.samples.astype(float)
            outside = wave[~inside]
            assert np.mean(wave[inside] ** 2) > 20 * np.mean(outside**2), item.utt


def test_variation(spoken: dict[str, list[SyntheticUtterance]]) -> None:
    levels = [
        20 * np.log10(np.std(item.samples.astype(float)) / 32768)
        for item in spoken["en"] + spoken["fr"]
    ]
    assert max(levels) - min(levels) > 5
    assert all(-35 < level < -15 for level in levels)
    assert len({item.phones[0].start_s for item in spoken["en"]}) > 1


def test_events_are_merged_and_named_by_the_text() -> None:
    events = [
        PhoneEvent(0.0, 0.1, "p"),
        PhoneEvent(0.1, 0.02, ""),  # a closure: part of the phone before
        PhoneEvent(0.12, 0.05, "r"),
        PhoneEvent(0.17, 0.03, "ʲ"),  # a modifier apart
        PhoneEvent(0.2, 0.3, ""),  # a pause
        PhoneEvent(0.5, 0.2, "ˈɪ"),
        PhoneEvent(0.7, 0.0, "l"),  # glided into: half of the vowel
    ]
    speech = Speech(np.zeros(1), events)
    phones = align_phones(speech, ["p", "", "rʲ", "ˈɪː", "l"], "ru")
    assert [p.phone for p in phones] == ["p", "rʲ", "ɪː", "l"]
    assert [p.start_s for p in phones] == pytest.approx([0.0, 0.12, 0.5, 0.6])
    assert [p.duration_s for p in phones] == pytest.approx([0.12, 0.08, 0.1, 0.1])
    # a text that does not fit leaves the events' own names
    assert [p.phone for p in align_phones(speech, ["p"], "ru")][-2] == "ɪ"


_SCRIPT = """
import hashlib, json, sys
from espnet2_dq.data.synthetic import Studio, speak_set
studio, made = Studio(int(sys.argv[1])), []
for lang in ("tt", "en"):
    for u in speak_set(studio, "dev", lang, seconds=8, seed=int(sys.argv[1])):
        digest = hashlib.sha256(u.samples.tobytes()).hexdigest()
        made.append([u.utt, u.text, digest, [p.start_s for p in u.phones]])
print(json.dumps(made))
"""


def _run(seed: int) -> list[object]:
    command = [sys.executable, "-c", _SCRIPT, str(seed)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    result: list[object] = json.loads(done.stdout)
    return result


def test_same_seed_same_bytes_in_two_processes() -> None:
    first = _run(4)
    assert first == _run(4)
    assert first != _run(5)


def test_record_needs_a_known_language(studio: Studio) -> None:
    with pytest.raises(Exception, match="'xq'.*Allowed"):
        studio.record("a", "xq", speakers("dev", 0)[0], random.Random(0))
