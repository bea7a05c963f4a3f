"""Synthetic speech with shared speakers, exact phone times and mild variation.

A simulated speaker is a voice variant of eSpeak NG with its own pitch, pace and
vocal-tract factor. Every speaker speaks every language, so that language and speaker
can be told apart: a code that follows the speaker cannot pass for a language code.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.espeak import SAMPLE_RATE_HZ as ESPEAK_RATE_HZ
from espnet2_dq.data.espeak import PhoneEvent, Speech, engine
from espnet2_dq.data.sentences import draw_sentences
from espnet2_dq.text.languages import espeak_code
from espnet2_dq.text.phonemes import is_modifier, normalise_phone

_MIN_DURATION_S, _MAX_DURATION_S = 0.8, 12.0
_SHORT_PAUSE_S = 0.06  # shorter unnamed events are closures, part of the phone before
_NOISE_BANK_S = 60

# Voice variants that eSpeak NG ships; no set shares one with another. Andy, whose
# third formant is switched off, was a test voice before antonio (PER 39 %, RESULTS.md).
_VARIANTS = {
    "train": (
        "m1 m2 m3 m4 m6 m7 m8 f1 f2 f4 f5 klatt klatt3 klatt5 Alex Annie Lee Michael "
        "Alicia shelby linda edward grandpa aunty"
    ),
    "dev": "m5 belinda",
    "test": "f3 antonio",
}


@dataclass(frozen=True)
class Speaker:
    """A simulated speaker.

    ``tract`` scales all resonances (and shortens time by as much); ``pitch`` is
    eSpeak's 0-99 scale, 50 being the variant's own.
    """

    name: str
    variant: str
    pitch: int
    words_per_minute: int
    tract: float


@dataclass(frozen=True)
class SyntheticUtterance:
    """``samples`` (S,) int16 at 16 kHz, the text as written, and its phones."""

    utt: str
    speaker: str
    language: str
    text: str
    source: str
    samples: np.ndarray
    phones: list[PhoneSegment]


def speakers(split: str, seed: int) -> list[Speaker]:
    """The speakers of a set; sets share no voice variant."""
    people: list[Speaker] = []
    for variant in _VARIANTS[split].split():
        rng = random.Random(f"speaker/{seed}/{variant}")
        people.append(
            Speaker(
                name=f"syn-{variant.lower()}",
                variant=variant,
                pitch=rng.randint(42, 58),
                words_per_minute=rng.randint(150, 180),
                tract=rng.uniform(0.97, 1.03),
            )
        )
    return people


class Studio:
    """Records sentences: speaks, aligns, varies. One call order, one result."""

    def __init__(self, seed: int) -> None:
        """Noise banks of a minute each, white and pink, unit power."""
        self._engine = engine()
        rng = np.random.default_rng([seed, 77])
        count = _NOISE_BANK_S * SAMPLE_RATE_HZ
        white = rng.standard_normal(count).astype(np.float32)
        spectrum = np.fft.rfft(white)
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
        pink = np.fft.irfft(spectrum, count).astype(np.float32)
        self._banks = [white, pink / pink.std()]

    def record(
        self, text: str, language: str, speaker: Speaker, rng: random.Random
    ) -> tuple[np.ndarray, list[PhoneSegment]]:
        """``text`` spoken by ``speaker``: (S,) int16 at 16 kHz, and phones."""
        code = espeak_code(language, tuple(self._engine.voices))
        self._engine.set_voice(code, speaker.variant)
        written = [p for word in self._engine.phonemes(text) for p in word]
        speech = self._engine.speak(
            text,
            words_per_minute=round(speaker.words_per_minute * rng.uniform(0.95, 1.05)),
            pitch=min(99, max(0, speaker.pitch + rng.randint(-6, 6))),
            pitch_range=rng.randint(35, 70),
        )
        lead = rng.randint(SAMPLE_RATE_HZ // 20, SAMPLE_RATE_HZ * 3 // 10)
        samples = self._vary(speech.samples, speaker.tract, lead, rng)
        phones = [
            _place(phone, lead / SAMPLE_RATE_HZ, speaker.tract, len(samples))
            for phone in align_phones(speech, written, language)
        ]
        return samples, phones

    def _vary(
        self, samples: np.ndarray, tract: float, lead: int, rng: random.Random
    ) -> np.ndarray:
        """Resample to 16 kHz with the tract factor; lead, tilt, level, noise."""
        import soxr

        wave = soxr.resample(
            samples.astype(np.float32) / 32768, ESPEAK_RATE_HZ * tract, SAMPLE_RATE_HZ
        )
        wave = np.concatenate([np.zeros(lead, "f4"), wave])
        tilt = rng.uniform(-0.3, 0.3)  # first-order filter: darker or brighter
        wave[1:] += tilt * wave[:-1].copy()
        level = 10 ** (rng.uniform(-32, -18) / 20)  # dB below full scale
        wave *= level / max(float(np.sqrt(np.mean(wave**2))), 1e-5)
        bank = self._banks[rng.randrange(2)]
        offset = rng.randrange(len(bank))
        noise = np.take(bank, np.arange(offset, offset + len(wave)), mode="wrap")
        wave += noise * level * 10 ** (-rng.uniform(30, 50) / 20)
        return np.clip(np.round(wave * 32767), -32768, 32767).astype(np.int16)


def align_phones(
    speech: Speech, written: list[str], language: str
) -> list[PhoneSegment]:
    """Phones with times, as our symbols.

    Events carry exact times but lack some length marks, and split a few phones into
    letter and modifier; ``written`` (eSpeak's phonemes of the text) has the full
    names. Where both agree in number, the full names are used.
    """
    merged = _share_time(_merge_events(speech.phones))
    spoken = [normalise_phone(event.name, language) for event in merged]
    named = [p for p in (normalise_phone(w, language) for w in written) if p]
    if len(named) == len(spoken) and all(
        s.rstrip("ː") == n.rstrip("ː") for s, n in zip(spoken, named, strict=True)
    ):
        spoken = named
    return [
        PhoneSegment(event.start_s, event.duration_s, phone)
        for event, phone in zip(merged, spoken, strict=True)
        if phone and event.duration_s > 0
    ]


def _place(
    phone: PhoneSegment, lead_s: float, tract: float, samples: int
) -> PhoneSegment:
    """Times of the final audio; its last sample is rounded, so the end is clipped."""
    start_s = lead_s + phone.start_s / tract
    end_s = min(start_s + phone.duration_s / tract, samples / SAMPLE_RATE_HZ)
    return PhoneSegment(start_s, max(0.0, end_s - start_s), phone.phone)


def _merge_events(events: list[PhoneEvent]) -> list[PhoneEvent]:
    """Give closures and separate modifiers to the phone before; drop pauses."""
    merged: list[PhoneEvent] = []
    adjacent = False  # a pause between keeps a phone from growing over it
    for event in events:
        closure = not event.name and event.duration_s < _SHORT_PAUSE_S
        if merged and adjacent and (closure or is_modifier(event.name)):
            last = merged.pop()
            merged.append(
                PhoneEvent(
                    last.start_s,
                    event.start_s + event.duration_s - last.start_s,
                    last.name + event.name,
                )
            )
        elif event.name:
            merged.append(event)
            adjacent = True
        else:
            adjacent = False
    return merged


def _share_time(events: list[PhoneEvent]) -> list[PhoneEvent]:
    """Give phones without length (0.3 % of all) half of the phone before.

    They are final /l/ and /w/, which eSpeak glides into from the vowel: such vowels
    last 1.5 to 1.8 times their usual time, while the phones after last theirs.
    """
    shared = list(events)
    for i in range(1, len(shared)):
        first, second = shared[i - 1], shared[i]
        if second.duration_s == 0:
            half = first.duration_s / 2
            shared[i - 1] = PhoneEvent(first.start_s, half, first.name)
            shared[i] = PhoneEvent(first.start_s + half, half, second.name)
    return shared


def speak_set(
    studio: Studio, split: str, language: str, *, seconds: float, seed: int
) -> Iterator[SyntheticUtterance]:
    """Utterances of one language and set, ``seconds`` of audio or slightly more.

    Speakers take turns in an order drawn anew for each round.
    """
    rng = random.Random(f"speech/{seed}/{split}/{language}")
    people = speakers(split, seed)
    turn: list[Speaker] = []
    total, made = 0.0, 0
    for sentence in draw_sentences(language, split, seed):
        if total >= seconds:
            return
        if not turn:
            turn = rng.sample(people, len(people))
        speaker = turn.pop()
        samples, phones = studio.record(sentence.text, language, speaker, rng)
        duration_s = len(samples) / SAMPLE_RATE_HZ
        if phones and _MIN_DURATION_S <= duration_s <= _MAX_DURATION_S:
            yield SyntheticUtterance(
                f"{speaker.name}-{language}-{made:05d}",
                speaker.name,
                language,
                sentence.text,
                sentence.source,
                samples,
                phones,
            )
            total += duration_s
            made += 1
