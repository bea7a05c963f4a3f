"""Korean sentences to speak, written as KsponSpeech writes its transcriptions.

A sentence is a message of a package, a list of names, or a phrase with names in it. It
has a *transcription*, as in the corpus (noise tags, ``아/`` for a filler, marks, dual
forms such as ``(3시)/(세 시)`` wherever digits or Latin stand), and what is *spoken*.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from espnet2_dq.data.korean_lexicon import (
    CATEGORIES,
    holds_unseen,
    lexicon,
    messages,
    owner,
)
from espnet2_dq.data.korean_phrases import (
    ACRONYMS,
    FILLERS,
    LETTER_NAMES,
    NATIVE_NUMBERS,
    PHRASES,
    TAGS,
    UNITS,
)
from espnet2_dq.data.number_words import spell_number

# Share of name slots that dev and the tests fill with held-out syllables.
UNSEEN_SHARE = 0.25
_MESSAGE_SHARE = 0.5
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class KoreanSentence:
    """``transcription`` as in a script, what is ``spoken``, and the ``source``."""

    transcription: str
    spoken: str
    source: str


class Writer:
    """Draws the sentences of one set, never the same one twice."""

    def __init__(self, name: str, seed: int) -> None:
        """Items that the set ``name`` owns; own random stream."""
        self._rng = random.Random(f"korean/{seed}/{name}")
        self._messages = [m for m in messages() if owner(m) == name]
        self._rng.shuffle(self._messages)
        self._known: dict[str, list[str]] = {}
        self._unseen: dict[str, list[str]] = {}
        for category, items in lexicon().items():
            owned = [item for item in items if owner(item) == name]
            self._known[category] = [i for i in owned if not holds_unseen(i)]
            self._unseen[category] = [i for i in owned if holds_unseen(i)]

    def sentences(self) -> Iterator[KoreanSentence]:
        """Endless; messages come once each, then names alone go on."""
        seen: set[str] = set()
        while True:
            if self._messages and self._rng.random() < _MESSAGE_SHARE:
                text = self._messages.pop()
                sentence = self._decorate(text, text, messages()[text])
            elif self._rng.random() < 0.5:
                sentence = self._list()
            else:
                sentence = self._phrase()
            if sentence.spoken not in seen:
                seen.add(sentence.spoken)
                yield sentence

    def _name(self, category: str) -> str:
        """A name of the set; in dev and the tests sometimes one with a new syllable."""
        unseen = self._unseen[category]
        if unseen and self._rng.random() < UNSEEN_SHARE:
            return self._rng.choice(unseen)
        return self._rng.choice(self._known[category] or unseen)

    def _list(self) -> KoreanSentence:
        """Three to five names, as in reading out a list."""
        category = self._rng.choice(("noun", "noun", "noun", *CATEGORIES))
        chosen = [self._name(category) for _ in range(self._rng.randint(3, 5))]
        return self._decorate(", ".join(chosen), ", ".join(chosen), "list")

    def _phrase(self) -> KoreanSentence:
        """A phrase with its slots filled: names, and numbers in dual form."""
        phrase = self._rng.choice(PHRASES)
        written, spoken, end = [], [], 0
        for slot in _SLOT.finditer(phrase):
            fixed = phrase[end : slot.start()]
            form, sound = self._fill(slot[1])
            written += [fixed, form if form == sound else f"({form})/({sound})"]
            spoken += [fixed, sound]
            end = slot.end()
        tail = phrase[end:]
        return self._decorate("".join(written) + tail, "".join(spoken) + tail, "phrase")

    def _fill(self, slot: str) -> tuple[str, str]:
        """How a slot is written, and how it is spoken."""
        if slot in self._known:
            name = self._name(slot)
            return name, name
        rng = self._rng
        if slot == "acronym":
            letters = rng.choice(ACRONYMS)
            return letters, "".join(LETTER_NAMES[letter] for letter in letters)
        if slot == "hours":
            number = rng.randint(1, 12)
            return f"{number}시간", f"{NATIVE_NUMBERS[number - 1]} 시간"
        if slot == "clock":
            hour, minute = rng.randint(1, 12), rng.choice((0, 10, 15, 20, 30, 40, 50))
            past = f" {minute}분" if minute else ""
            said = f" {spell_number(minute, 'ko')} 분" if minute else ""
            return f"{hour}시{past}", f"{NATIVE_NUMBERS[hour - 1]} 시{said}"
        low, high = {"portions": (2, 9), "year": (1950, 2025), "percent": (1, 100)}[
            slot
        ]
        number, unit = rng.randint(low, high), UNITS[slot]
        mark = "%" if slot == "percent" else unit
        return f"{number}{mark}", f"{spell_number(number, 'ko')} {unit}"

    def _decorate(self, written: str, spoken: str, source: str) -> KoreanSentence:
        """Add what a transcription of talk has: a filler, a noise tag, an end mark."""
        rng = self._rng
        if rng.random() < 0.1:
            filler = rng.choice(FILLERS)
            written, spoken = f"{filler}/ {written}", f"{filler}, {spoken}"
        if rng.random() < 0.15:
            written = f"{rng.choice(TAGS)} {written}"
        mark = rng.choice((".", ".", "?", ""))
        return KoreanSentence(f"{written}{mark}", spoken, source)
