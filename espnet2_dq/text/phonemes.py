"""Phonemes: text to IPA through phonemizer, one inventory for all languages.

eSpeak NG (the voice behind phonemizer) has no single notation. Kyrgyz comes partly in
ASCII mnemonics (``tS d[ oe``), French with reduction marks (``ə-``), and words that
eSpeak takes for English come between flags (``(en)w iː k(fr)``). Left alone, these
would make phones of their own that merge with nobody's; the public UniSpeech list
holds such non-phones. :func:`normalise_phone` maps them all, for texts and for the
aligned phones of synthetic speech alike.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from espnet2_dq.errors import ConfigError
from espnet2_dq.text.alphabets import plain_apostrophes
from espnet2_dq.text.languages import base_language, espeak_code

_STRESS = re.compile("[ˈˌ]")
_LANGUAGE_SWITCH = re.compile(r"\([a-z]{2,3}(-[a-zA-Z0-9-]+)*\)")

# eSpeak's mnemonics without an IPA name of their own: Kyrgyz, and two of Russian.
_MNEMONICS = {
    "tS": "tʃ",
    "dZ": "dʒ",
    "d[": "d",
    "t[": "t",
    "l-": "ɫ",
    "X": "χ",
    "N": "ŋ",
    "S": "ʃ",
    "Z": "ʒ",
    'u"': "ʉ",
    "ɪ^": "ɪ",
}
# Names that are right in other languages and wrong in these.
_MNEMONICS_OF: dict[str, dict[str, str]] = {
    "it": {"ss": "sː"},  # a long consonant, written like the others
    "ky": {"oe": "œ"},
    "sv": {"sx": "ɧ"},
}


def normalise_phone(phone: str, language: str, *, keep_stress: bool = False) -> str:
    """One phone in eSpeak's notation -> our symbol; ``""`` when nothing is spoken.

    >>> [normalise_phone(p, "ky") for p in ("tS", "ˈoe:", "(en)", "d[")]
    ['tʃ', 'œː', '', 'd']
    """
    phone = _LANGUAGE_SWITCH.sub("", unicodedata.normalize("NFC", phone))
    marks = "".join(_STRESS.findall(phone)) if keep_stress else ""
    phone = _STRESS.sub("", phone)
    base = phone.rstrip(":ː")
    length = "ː" if base != phone else ""
    base = _MNEMONICS_OF.get(base_language(language), {}).get(base, base)
    base = _MNEMONICS.get(base, base).rstrip("-")  # ``ə-``: the reduced French vowel
    return marks + base + length if base else ""


def is_modifier(name: str) -> bool:
    """Whether an event holds only modifiers, as the ``ʲ`` that Russian splits off."""
    letters = _STRESS.sub("", name)
    return bool(letters) and all(unicodedata.category(c) in "Lm Mn Sk" for c in letters)


def phonemise(
    texts: Sequence[str], language: str, *, keep_stress: bool = False
) -> list[list[str]]:
    """Phones of each text, without word boundaries; ``[]`` where nothing is spoken.

    Punctuation is left to eSpeak, which phrases by it. Digits and foreign words are
    spoken as eSpeak does. The result of a text does not depend on the others.

    >>> phonemise(["Hello!", ""], "en")
    [['h', 'ə', 'l', 'oʊ'], []]

    Args:
        texts: Sentences as written.
        language: ISO 639 or eSpeak code; see :func:`espeak_code`.
        keep_stress: Keep the marks ``ˈ ˌ`` in front of vowels.

    Raises:
        ConfigError: Unknown language, or no eSpeak NG library.
    """
    wrapper = _wrapper()
    known = tuple(voice.language for voice in wrapper.available_voices())
    wrapper.set_voice(espeak_code(language, known))
    return [
        [
            symbol
            for raw in _raw_phones(wrapper, text)
            if (symbol := normalise_phone(raw, language, keep_stress=keep_stress))
        ]
        for text in texts
    ]


def _raw_phones(wrapper: Any, text: str) -> list[str]:
    """Phones of one text as eSpeak names them; flags stand alone or in front."""
    text = plain_apostrophes(unicodedata.normalize("NFC", text)).strip()
    if not text:
        return []
    spoken = wrapper.text_to_phonemes(text)
    return [phone for phone in re.split(r"[_\s]+", spoken) if phone]


@functools.cache
def _wrapper() -> Any:
    """EspeakWrapper of phonemizer, with espeakng-loader's library where installed.

    One object for the process: it copies and loads the library (40 ms, 21 MB).
    """
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    try:
        import espeakng_loader
    except ImportError:
        pass  # phonemizer looks for an installation of the system
    else:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(str(espeakng_loader.get_data_path()))
    try:
        return EspeakWrapper()
    except RuntimeError as error:
        raise ConfigError(
            f"phonemizer found no eSpeak NG ({error}): install 'espeakng-loader'"
        ) from error
