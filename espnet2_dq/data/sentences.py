"""Sentences to speak, gathered from the translations that PyPI packages ship.

Nothing is downloaded and no text is stored here: the packages of the extra ``mini``
are read where they are installed. Two kinds of sentences exist: *catalogue* (an
interface message of Django, cleaned) and *list* (names of places, languages, money,
numbers and dates of Babel's CLDR and of iso-codes, joined in the language's way).
Every message and every name belongs to exactly one of train, dev and test, by its
hash, so no prompt, and no name, is shared between sets.
"""

import functools
import html
import random
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from espnet2_dq.data.number_words import spell_number
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.alphabets import foreign_characters, plain_apostrophes

SPLITS = ("train", "dev", "test")
MIN_WORDS, MAX_WORDS = 2, 14
_PLACEHOLDER = re.compile(r"%\([^)]*\)[a-z]|%[a-z]|\{[^}]*\}|<[^>]*>|&[a-z]+;")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_OUTER_MARKS = " \t.,;:!?…\"'«»„“”()[]-–—"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?")


@dataclass(frozen=True)
class Sentence:
    """``text`` as written (case and inner commas kept) and the package it is from."""

    text: str
    source: str


def split_of(text: str) -> str:
    """The set that owns a message or name: 1/20 dev, 2/20 test, the rest train."""
    bucket = zlib.crc32(" ".join(words_of(text)).encode("utf-8")) % 20
    return "dev" if bucket == 0 else "test" if bucket <= 2 else "train"


def words_of(text: str) -> list[str]:
    """Lower-case words of ``text``; hyphens separate, apostrophes do not."""
    return _WORD.findall(text.lower())


def clean_message(message: str, language: str) -> list[str]:
    """Speakable sentences of one interface message.

    Placeholders and markup go; pieces with digits, foreign letters, abbreviations in
    capitals, or fewer than 2 or more than 14 words are dropped.
    """
    message = unicodedata.normalize("NFC", _PLACEHOLDER.sub(" ", message))
    message = plain_apostrophes(html.unescape(message))
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(message):
        long = len(sentence.split()) > MAX_WORDS
        pieces += re.split(r"[,;:]\s", sentence) if long else [sentence]
    cleaned = (" ".join(piece.split()).strip(_OUTER_MARKS) for piece in pieces)
    return [piece for piece in cleaned if _is_speakable(piece, language)]


def _is_speakable(text: str, language: str) -> bool:
    """Only words of the language, with commas and hyphens between them at most."""
    words = words_of(text)
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return False
    if any(not c.isalpha() and c not in " ,-'" for c in text):
        return False
    return not has_acronym(text) and not any(
        foreign_characters(word, language) for word in words
    )


def has_acronym(text: str) -> bool:
    """Words in capitals are spelt out, partly in English: nothing to learn from."""
    return any(len(word) > 1 and word.isupper() for word in re.split(r"[\s-]", text))


@functools.cache
def catalogue_sentences(language: str) -> tuple[Sentence, ...]:
    """Distinct sentences of Django's message catalogues, in a fixed order."""
    found: dict[tuple[str, ...], Sentence] = {}
    for message in _django_messages(language):
        for text in clean_message(message, language):
            found.setdefault(tuple(words_of(text)), Sentence(text, "django"))
    return tuple(found.values())


def _django_messages(language: str) -> Iterator[str]:
    """Messages of all Django catalogues; English messages are the keys themselves."""
    try:
        import django
        from babel.messages.mofile import read_mo
        from babel.messages.pofile import read_po
    except ImportError as error:
        raise ConfigError(f"{error}: install the extra 'mini'") from error
    # compiled catalogues are read where they say enough: they are smaller, and
    # Babel prints a warning for each plural form that it does not expect in a .po
    suffix, read = (".po", read_po) if language == "en" else (".mo", read_mo)
    pattern = f"**/locale/{language}/LC_MESSAGES/*{suffix}"
    for path in sorted(Path(django.__file__).parent.glob(pattern)):
        with path.open("rb") as stream:
            for message in read(stream):
                texts = message.id if language == "en" else message.string
                for text in texts if isinstance(texts, list | tuple) else (texts,):
                    yield text or ""


@functools.cache
def names(language: str) -> tuple[tuple[str, str], ...]:
    """Distinct ``(name, package)`` of places, languages and money."""
    found: dict[str, str] = {}
    for text, package in [*_babel_names(language), *_iso_names(language)]:
        text = " ".join(plain_apostrophes(text).split())
        if _is_plain_name(text, language):
            found.setdefault(text, package)
    return tuple(found.items())


def _is_plain_name(text: str, language: str) -> bool:
    """One to four words of the language's letters, no abbreviation."""
    words = words_of(text)
    return (
        all(c.isalpha() or c in " -'" for c in text)
        and not has_acronym(text)
        and 1 <= len(words) <= 4
        and sum(map(len, words)) > 2
        and not any(foreign_characters(word, language) for word in words)
    )


def _babel_names(language: str) -> list[tuple[str, str]]:
    from babel import Locale

    locale = Locale.parse(language)
    texts = [text for _, text in sorted(locale.territories.items())]
    texts += [text for _, text in sorted(locale.languages.items())]
    texts += [text for _, text in sorted(locale.currencies.items())]
    texts += [z["city"] for _, z in sorted(locale.time_zones.items()) if "city" in z]
    return [(unicodedata.normalize("NFC", text), "babel") for text in texts]


def _iso_names(language: str) -> list[tuple[str, str]]:
    """Names of countries and languages in pycountry's iso-codes catalogues."""
    import pycountry
    from babel.messages.mofile import read_mo

    texts: list[tuple[str, str]] = []
    for domain in ("iso3166-1", "iso3166-2", "iso639-3"):
        path = Path(pycountry.LOCALES_DIR) / language / "LC_MESSAGES" / f"{domain}.mo"
        if path.is_file():
            with path.open("rb") as stream:
                messages = [str(m.string) for m in read_mo(stream) if m.id]
            texts += [(text, "pycountry") for text in sorted(messages)[:2000]]
    return texts


class Composer:
    """Draws list sentences of one language and set, never the same one twice."""

    def __init__(self, language: str, split: str, seed: int) -> None:
        """Names of ``language`` owned by ``split``; own random stream."""
        from babel import Locale

        self._language, self._split = language, split
        self._rng = random.Random(f"{seed}/{language}/{split}")
        self._locale = Locale.parse(language)
        self._names = [(n, p) for n, p in names(language) if split_of(n) == split]
        days = self._locale.days["format"]["wide"]
        months = self._locale.months["format"]["wide"]
        self._days, self._months = sorted(days.values()), sorted(months.values())

    def draw(self) -> Sentence:
        """One sentence: names, a date, or numbers."""
        kind = self._rng.random()
        if kind < 0.6:
            return self._list_of_names()
        return self._date() if kind < 0.75 else self._numbers()

    def _list_of_names(self) -> Sentence:
        from babel.lists import format_list

        chosen = self._rng.sample(self._names, self._rng.randint(2, 4))
        style: Literal["standard", "or"] = self._rng.choice(("standard", "or"))
        text = format_list([n for n, _ in chosen], style=style, locale=self._locale)
        return Sentence(text, "+".join(sorted({p for _, p in chosen})))

    def _number(self) -> int:
        """A number owned by this set."""
        while True:
            number = self._rng.randint(1, 10 ** self._rng.randint(2, 4) - 1)
            if split_of("number" + "x" * number) == self._split:
                return number

    def _date(self) -> Sentence:
        day, month = self._rng.choice(self._days), self._rng.choice(self._months)
        number = spell_number(self._number(), self._language)
        return Sentence(f"{day}, {number} {month}", "babel+num2words")

    def _numbers(self) -> Sentence:
        numbers = [self._number() for _ in range(self._rng.randint(1, 3))]
        words = ", ".join(spell_number(n, self._language) for n in numbers)
        name, package = self._rng.choice(self._names)
        return Sentence(f"{name}, {words}", f"{package}+num2words")


def draw_sentences(language: str, split: str, seed: int) -> Iterator[Sentence]:
    """Endless distinct sentences of a set: catalogue and list sentences in turn.

    Catalogue sentences come in a shuffled order, each once; when they are used up,
    list sentences go on alone.
    """
    catalogue = [s for s in catalogue_sentences(language) if split_of(s.text) == split]
    random.Random(f"{seed}/{language}").shuffle(catalogue)
    composer = Composer(language, split, seed)
    seen: set[tuple[str, ...]] = set()
    while True:
        sources = [catalogue.pop()] if catalogue else []
        for sentence in [*sources, composer.draw()]:
            key = tuple(words_of(sentence.text))
            if key not in seen and MIN_WORDS <= len(key) <= MAX_WORDS:
                seen.add(key)
                yield sentence
