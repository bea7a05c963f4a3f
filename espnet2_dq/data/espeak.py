"""eSpeak NG inside this process: speech, exact phone times, phoneme strings.

The library and its data come with the package ``espeakng-loader``: no root, no
system package. It keeps its state in globals, hence three rules that this module
follows: one engine per process; it is never terminated; and the result of a call
depends on the calls before it, so whoever needs the same bytes twice makes the same
calls in the same order in a fresh process (the random seed is set once, at start).
"""

import ctypes
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.errors import ConfigError, DataError

SAMPLE_RATE_HZ = 22050
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 1, 2, 0x8000
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_UTF8 = 1
_PHONEMES_AS_IPA_WITH_SEPARATOR = 2 | (ord("_") << 8)
ENGINE_SEED = 1


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class _Voice(ctypes.Structure):
    """``espeak_VOICE`` of speak_lib.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class PhoneEvent:
    """One phone as eSpeak names it (stress marks included; "" is a pause)."""

    start_s: float
    duration_s: float
    name: str


@dataclass(frozen=True)
class Speech:
    """A spoken text: ``samples`` (S,) int16 at 22,050 Hz, and its phones."""

    samples: np.ndarray
    phones: list[PhoneEvent]


class Espeak:
    """The one engine of this process; get it from :func:`engine`."""

    def __init__(self) -> None:
        """Load the library; phoneme events with IPA names; fixed random seed."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise ConfigError(
                "eSpeak NG is missing: install the package 'espeakng-loader' "
                "(extra 'mini')"
            ) from error
        data_path = Path(espeakng_loader.get_data_path())
        self.variants = {path.name for path in (data_path / "voices/!v").iterdir()}
        self._lib: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self._lib.espeak_Initialize(
            _SYNCHRONOUS,
            0,
            str(data_path).encode(),
            _PHONEME_EVENTS | _IPA | _DONT_EXIT,
        )
        if rate != SAMPLE_RATE_HZ:
            raise ConfigError(
                f"eSpeak NG did not start (returned {rate}, expected {SAMPLE_RATE_HZ}):"
                f" reinstall 'espeakng-loader' ({espeakng_loader.get_library_path()})"
            )
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(ENGINE_SEED))
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._chunks: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._collect)  # the library keeps the pointer
        self._lib.espeak_SetSynthCallback(self._callback)
        self.voices = self._list_voices()

    def _list_voices(self) -> dict[str, str]:
        """Language code -> voice identifier; the library lists the best voice first."""
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        listed = self._lib.espeak_ListVoices(None)
        voices: dict[str, str] = {}
        for index in itertools.count():
            if not listed[index]:  # a null pointer ends the list
                return voices
            voice = listed[index].contents
            identifier = voice.identifier.decode()
            if identifier.startswith("mb/"):
                continue  # needs the separate program mbrola
            # ``languages`` is a list of (priority byte, code, 0)
            code = voice.languages[1:].split(b"\0")[0].decode()
            voices.setdefault(code, identifier)
        raise AssertionError("unreachable: itertools.count does not end")

    def _collect(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END_OF_LIST:
            event = events[index]
            if event.type == _EVENT_PHONEME:
                # 8 bytes without room for an end mark: a cut character is dropped
                name = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
                self._events.append((event.sample, name.decode("utf-8", "ignore")))
            index += 1
        return 0

    def set_voice(self, language: str, variant: str | None = None) -> None:
        """Choose an eSpeak language (``en-us``) and a voice variant (``f3``).

        Raises:
            ConfigError: eSpeak has no such language or variant.
        """
        if language not in self.voices:
            raise ConfigError(
                f"eSpeak NG does not know the language '{language}'. Known: "
                f"{' '.join(sorted(self.voices))}"
            )
        # an unknown variant would be ignored in silence
        if variant and variant not in self.variants:
            raise ConfigError(
                f"eSpeak NG has no voice variant '{variant}'. Known: "
                f"{' '.join(sorted(self.variants))}"
            )
        name = self.voices[language] + (f"+{variant}" if variant else "")
        if self._lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise ConfigError(f"eSpeak NG has no voice '{name}'")

    def speak(
        self, text: str, *, words_per_minute: int, pitch: int, pitch_range: int = 50
    ) -> Speech:
        """Speak ``text`` with the voice set before.

        Args:
            text: Plain text of the voice's language.
            words_per_minute: 80 to 450; eSpeak's default is 175.
            pitch: Base pitch, 0 to 99; 50 is the variant's own.
            pitch_range: Liveliness of the intonation, 0 to 99.
        """
        self._chunks.clear()
        self._events.clear()
        set_parameter = self._lib.espeak_SetParameter
        set_parameter(_PARAMETER_RATE, words_per_minute, 0)
        set_parameter(_PARAMETER_PITCH, pitch, 0)
        set_parameter(_PARAMETER_RANGE, pitch_range, 0)
        data = text.encode("utf-8")
        code = self._lib.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
        if code != 0 or not self._chunks:
            raise DataError(f"eSpeak NG spoke nothing (code {code}) for text {text!r}")
        samples = np.concatenate(self._chunks)
        starts = [start for start, _ in self._events] + [len(samples)]
        phones = [
            PhoneEvent(
                start / SAMPLE_RATE_HZ, (starts[i + 1] - start) / SAMPLE_RATE_HZ, name
            )
            for i, (start, name) in enumerate(self._events)
        ]
        return Speech(samples, phones)

    def phonemes(self, text: str) -> list[list[str]]:
        """Words of ``text`` as raw IPA phonemes, with the voice set before."""
        pointer = ctypes.pointer(ctypes.c_char_p(text.encode("utf-8")))
        words: list[list[str]] = []
        while pointer.contents.value is not None:  # one clause per call
            clause = self._lib.espeak_TextToPhonemes(
                pointer, _UTF8, _PHONEMES_AS_IPA_WITH_SEPARATOR
            )
            words += [word.split("_") for word in clause.decode("utf-8").split()]
        return words


@functools.cache
def engine() -> Espeak:
    """The engine of this process, started at the first call."""
    return Espeak()
