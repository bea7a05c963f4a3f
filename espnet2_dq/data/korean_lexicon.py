"""Korean messages and names from PyPI packages, and which set owns each.

Nothing is downloaded and no text is stored here: the packages of the extra ``mini``
are read where they are installed (Django, JupyterLab's Korean language pack, mimesis,
Babel, pycountry). Every *item*, a message or a name, belongs to one set by its hash.

Some rare syllables are *held out*: every item that holds one belongs to dev or to the
tests, hence these syllables never occur in training. That is the case of the syllable
that a syllable vocabulary lacks and a grapheme vocabulary can spell (S0, METHODS 7.6).
"""

import functools
import importlib.util
import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from espnet2_dq.data.korean_phrases import fixed_syllables
from espnet2_dq.data.sentences import catalogue_sentences, clean_message, names
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import is_syllable

SETS = ("train", "dev", "test_clean", "test_other")
_HANGUL = re.compile(r"[가-힣]+(?:,? [가-힣]+)*")
_JUPYTER = "jupyterlab_language_pack_ko_KR"
_RAREST, _HELD_OUT_PERCENT, _DEV_PERCENT = 6, 50, 15
# mimesis' lists by what a sentence needs.
_CATEGORIES = {
    "noun": (("text", "words"), ("text", "color")),
    "dish": (("food", "dishes"), ("food", "fruits"), ("food", "vegetables")),
    "city": (("address", "city"), ("address", "state", "name")),
    "occupation": (("person", "occupation"),),
    "university": (("person", "university"),),
    "given": (("person", "names", "female"), ("person", "names", "male")),
}
CATEGORIES = (*_CATEGORIES, "place")


@functools.cache
def messages() -> dict[str, str]:
    """Sentences of one to some twenty words, each with the package it is from."""
    found: dict[str, str] = {}
    for sentence in catalogue_sentences("ko"):
        found.setdefault(sentence.text, sentence.source)
    for text in _jupyter_messages():
        found.setdefault(text, "jupyterlab")
    for name in ("quotes", "text"):
        for quote in _mimesis("text")[name]:
            for text in clean_message(quote, "ko"):
                found.setdefault(text, "mimesis")
    return {text: source for text, source in found.items() if _HANGUL.fullmatch(text)}


@functools.cache
def lexicon() -> dict[str, tuple[str, ...]]:
    """Names by category (``noun``, ``dish``, ``city``, ...), sorted, Hangul only."""
    found = {
        category: _plain(text for keys in lists for text in _listed(*keys))
        for category, lists in _CATEGORIES.items()
    }
    found["place"] = _plain(text for text, _ in names("ko"))
    return found


def _plain(texts: Iterable[str]) -> tuple[str, ...]:
    """Distinct names of up to four words."""
    normal = {" ".join(unicodedata.normalize("NFC", text).split()) for text in texts}
    return tuple(
        sorted(t for t in normal if _HANGUL.fullmatch(t) and len(t.split()) <= 4)
    )


def _listed(file: str, *keys: str) -> list[str]:
    """One list of mimesis."""
    value: Any = _mimesis(file)
    for key in keys:
        value = value[key]
    return list(value)


@functools.cache
def _mimesis(file: str) -> dict[str, Any]:
    """One of mimesis' Korean files, which are plain json."""
    path = _package("mimesis") / "datasets" / "ko" / f"{file}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read; install the extra 'mini' again"
        ) from error
    return content


def _jupyter_messages() -> Iterator[str]:
    from babel.messages.mofile import read_mo

    folder = _package(_JUPYTER) / "locale" / "ko_KR" / "LC_MESSAGES"
    for path in sorted(folder.glob("*.mo")):
        with path.open("rb") as stream:
            for message in read_mo(stream):
                text = message.string
                for form in text if isinstance(text, list | tuple) else (text,):
                    yield from clean_message(form or "", "ko")


def _package(name: str) -> Path:
    """The folder of an installed package; it is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"the Korean mini corpus needs the package '{name.replace('_', '-')}': "
            "install the extra 'mini' (pip install '.[mini]')"
        )
    return Path(spec.origin).parent


@functools.cache
def held_out() -> dict[str, str]:
    """Syllables that training never sees: syllable -> ``dev`` or ``test``.

    Half of those that at most six items hold and no phrase does.
    """
    counts = Counter(
        syllable
        for item in {*messages(), *(n for texts in lexicon().values() for n in texts)}
        for syllable in set(filter(is_syllable, item))
    )
    chosen = {}
    for syllable, count in sorted(counts.items()):
        rare = count <= _RAREST and syllable not in fixed_syllables()
        if rare and _hash(syllable) % 100 < _HELD_OUT_PERCENT:
            dev = _hash(f"set of {syllable}") % 100 < _DEV_PERCENT
            chosen[syllable] = "dev" if dev else "test"
    return chosen


def holds_unseen(item: str) -> bool:
    """Whether an item holds a syllable that training never sees."""
    return not held_out().keys().isdisjoint(item)


def owner(item: str) -> str:
    """The set that owns an item: 1/20 dev, 2/20 each test, the rest train.

    Items with held-out syllables are shared out between dev and the tests.
    """
    groups = {held_out()[c] for c in item if c in held_out()}
    bucket = _hash(item) % 20
    if "test" in groups:
        return "test_clean" if bucket % 2 else "test_other"
    if groups:
        return "dev"
    if bucket == 0:
        return "dev"
    return "test_clean" if bucket <= 2 else "test_other" if bucket <= 4 else "train"


def _hash(text: str) -> int:
    """The same number everywhere and always."""
    return zlib.crc32(text.encode("utf-8")) >> 4
