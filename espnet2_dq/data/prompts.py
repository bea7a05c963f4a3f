"""Transcript files of the Asterisk core sounds: ``id: text`` lines, cleaned.

The files describe beeps in brackets beside speech, hold remarks for the voice actor,
write small numbers as digits, and differ from the sound files in a few places.
Everything that leaves doubt about what was said is rejected, with the reason.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from espnet2_dq.data.number_words import spell_number
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.characters import TextRejected, normalise_text

_BRACKETED = re.compile(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)")
# Remarks for the speaker ("with emphasis", "a date"), not words to say.
_REMARKS = frozenset({"emphase", "enfatico", "data"})
_NUMBER = re.compile(r"\d+")
# The Spanish file is written without accents; without its tilde a word has other
# phones ("contrasena"). Only words that occur there.
_SPANISH_TILDES = {
    "contrasena": "contraseña",
    "contrasenas": "contraseñas",
    "manana": "mañana",
}


@dataclass
class Prompts:
    """Texts by prompt id (``digits/7``), and what was left out."""

    texts: dict[str, str] = field(default_factory=dict)
    rejects: list[tuple[str, str]] = field(default_factory=list)


def parse_prompts(raw: bytes, language: str) -> Prompts:
    """Read a transcript file; total: any bytes give texts and rejects.

    Args:
        raw: The file, UTF-8 with or without a byte order mark.
        language: ISO 639 code, for numbers and letters.
    """
    entries: list[tuple[str, str]] = []
    for line in raw.decode("utf-8-sig", "replace").splitlines():
        line = line.strip()
        if line and not line.startswith(";"):
            prompt, _, text = line.partition(":")
            entries.append((prompt.strip(), text.strip()))
    clashing = clashing_ids(prompt for prompt, _ in entries)
    prompts = Prompts()
    for prompt, text in entries:
        if prompt in clashing:
            prompts.rejects.append((prompt, f"ambiguous id: {clashing[prompt]}"))
            continue
        try:
            prompts.texts[prompt] = clean_prompt(text, prompt, language)
        except TextRejected as rejected:
            prompts.rejects.append((prompt, rejected.reason))
    return prompts


def clashing_ids(ids: Iterable[str]) -> dict[str, str]:
    """Ids that occur twice or differ in case only, with the reason."""
    counts = Counter(ids)
    folded = Counter(name.casefold() for name in counts)
    reasons = dict.fromkeys(counts, "differs from another in case only")
    return {
        name: "occurs twice" if count > 1 else reasons[name]
        for name, count in counts.items()
        if count > 1 or folded[name.casefold()] > 1
    }


def clean_prompt(text: str, prompt: str, language: str) -> str:
    """The words that are spoken.

    >>> clean_prompt("Pulse 2 (enfatico) o [@] 11.", "x", "es")
    'Pulse dos o once.'

    Raises:
        TextRejected: No speech, or doubt about what is said.
    """
    text = unicodedata.normalize("NFC", text).removeprefix(f"{prompt}:").strip()
    if not text:
        raise TextRejected("empty transcript: no text")
    spoken = _BRACKETED.sub(_resolve_brackets, text).strip()
    if not any(c.isalnum() for c in spoken):
        raise TextRejected(f"no speech: {text[:60]!r}")
    if "\0" in spoken or any(c in "[]<>()" for c in spoken):
        raise TextRejected(f"unclear brackets: {text[:60]!r}")
    spoken = " ".join(_NUMBER.sub(lambda m: _spell(m, language), spoken).split())
    if language == "es":
        spoken = re.sub(r"\w+", _add_tilde, spoken)
    letters = normalise_text(spoken, language)  # foreign letters are rejected here
    if len(letters) == 1:
        raise TextRejected(f"letter name: {spoken!r} may be read in several ways")
    return spoken


def _resolve_brackets(match: re.Match[str]) -> str:
    """Drop signs and known remarks; mark the rest (U+0000) as unclear.

    A text that is nothing but a bracket is a tone: the mark alone says so.
    """
    content = match.group()[1:-1].strip()
    if content.lower() in _REMARKS or not any(c.isalpha() for c in content):
        return ""
    return "\0"


def _spell(match: re.Match[str], language: str) -> str:
    """One- and two-digit numbers in words; longer ones may be read digit by digit."""
    text, start, end = match.string, match.start(), match.end()
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    if len(match.group()) > 2 or any(c.isalpha() for c in around):
        raise TextRejected(f"unclear number: {text[max(0, start - 10) : end + 10]!r}")
    try:
        return spell_number(int(match.group()), language)
    except ConfigError as error:
        raise TextRejected(f"unclear number: {error}") from error


def _add_tilde(match: re.Match[str]) -> str:
    """Spanish words that lost their ñ; capitals at the start are kept."""
    word = match.group()
    mended = _SPANISH_TILDES.get(word.lower(), word.lower())
    if mended == word.lower():
        return word
    return mended.capitalize() if word[0].isupper() else mended
