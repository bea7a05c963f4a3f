"""The speech engine: voices, times, errors."""

import numpy as np
import pytest

from espnet2_dq.data.espeak import SAMPLE_RATE_HZ, engine
from espnet2_dq.errors import ConfigError


def test_speech_and_phone_times() -> None:
    espeak = engine()
    espeak.set_voice("en-us", "f3")
    speech = espeak.speak("Hello world", words_per_minute=175, pitch=50)
    names = [p.name.strip("ˈˌ") for p in speech.phones if p.name]
    assert names == ["h", "ə", "l", "oʊ", "w", "ɜː", "l", "d"]
    ends = [p.start_s + p.duration_s for p in speech.phones]
    starts = [p.start_s for p in speech.phones]
    assert ends[:-1] == pytest.approx(starts[1:])
    assert ends[-1] == pytest.approx(len(speech.samples) / SAMPLE_RATE_HZ)
    assert np.abs(speech.samples).max() > 3000
    assert espeak.phonemes("Hello world")[0] == ["h", "ə", "l", "ˈoʊ"]


def test_rate_changes_length() -> None:
    espeak = engine()
    espeak.set_voice("ru", "m3")
    slow, fast = (
        len(espeak.speak("Добрый день", words_per_minute=wpm, pitch=50).samples)
        for wpm in (120, 240)
    )
    assert slow > 1.4 * fast


def test_one_engine() -> None:
    assert engine() is engine()
    assert {"en-us", "fr-fr", "ky", "tt", "ko"} <= set(engine().voices)


def test_unknown_voice_names_the_known() -> None:
    with pytest.raises(ConfigError, match="'xx'.*Known:.* ky "):
        engine().set_voice("xx")
    with pytest.raises(ConfigError, match="no voice variant 'nobody'.* f3 "):
        engine().set_voice("ky", "nobody")
