"""Phonemes: eSpeak's names made into one IPA inventory for all languages."""

import re
import unicodedata

_STRESS = re.compile("[ˈˌ]")
_LANGUAGE_SWITCH = re.compile(r"\([a-z]{2,3}(-[a-zA-Z0-9-]+)*\)")

# eSpeak writes Kyrgyz (and a few Tatar phones) in its own ASCII mnemonics; without
# this table those phones would merge with nobody's.
_MNEMONICS = {
    "tS": "tʃ",
    "dZ": "dʒ",
    "d[": "d",
    "t[": "t",
    "oe": "œ",
    "X": "χ",
    "N": "ŋ",
    "S": "ʃ",
    "Z": "ʒ",
    "R": "ʀ",
    "Q": "ʁ",
}

ESPEAK_CODES = {"en": "en-us", "fr": "fr-fr"}


def espeak_code(language: str) -> str:
    """eSpeak's name of a language code (``en`` -> ``en-us``)."""
    return ESPEAK_CODES.get(language, language)


def normalise_phone(phone: str, language: str, *, strip_stress: bool = True) -> str:
    """One phone in eSpeak's notation -> our symbol; "" when nothing is spoken."""
    phone = _LANGUAGE_SWITCH.sub("", phone)
    if strip_stress:
        phone = _STRESS.sub("", phone)
    phone = unicodedata.normalize("NFD", phone).replace("ɡ", "g").rstrip("-")
    length = "ː" if phone.endswith((":", "ː")) else ""
    base = phone.rstrip(":ː")
    return _MNEMONICS.get(base, base) + length if base else ""


def is_modifier(name: str) -> bool:
    """Whether an event holds only modifiers, as the ``ʲ`` that Russian splits off."""
    letters = _STRESS.sub("", name)
    return bool(letters) and all(unicodedata.category(c) in "Lm Mn Sk" for c in letters)
