"""Language codes of corpora, and what eSpeak NG calls the same languages."""

from collections.abc import Sequence

from espnet2_dq.errors import ConfigError

# Codes that corpora use and eSpeak does not: CommonVoice's, ISO 639-1 and 639-3.
_ESPEAK_CODES = {
    "en": "en-us",
    "fr": "fr-fr",
    "no": "nb",
    "nn": "nb",
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-tw": "cmn",
    "zh-hk": "yue",
    "eng": "en-us",
    "fra": "fr-fr",
    "spa": "es",
    "ita": "it",
    "kir": "ky",
    "nld": "nl",
    "rus": "ru",
    "swe": "sv",
    "tat": "tt",
    "kor": "ko",
    "deu": "de",
    "por": "pt",
    "jpn": "ja",
    "zho": "cmn",
    "tur": "tr",
    "ukr": "uk",
    "pol": "pl",
}


def base_language(language: str) -> str:
    """Language without its region (``sv-SE`` -> ``sv``), lower case."""
    return language.lower().partition("-")[0]


def espeak_code(language: str, known: Sequence[str]) -> str:
    """Find eSpeak's name of a language code.

    >>> espeak_code("sv-SE", ["en-us", "sv"]), espeak_code("en", ["en-us", "sv"])
    ('sv', 'en-us')

    Args:
        language: ISO 639 code, with or without a region, or eSpeak's own code.
        known: The codes of the eSpeak NG in use.

    Raises:
        ConfigError: eSpeak does not speak it; the allowed codes are named.
    """
    low = language.lower()
    base = base_language(language)
    for code in (_ESPEAK_CODES.get(low, low), low, _ESPEAK_CODES.get(base, base), base):
        if code in known:
            return code
    raise ConfigError(
        f"language '{language}': eSpeak NG cannot turn it into phonemes. Allowed: "
        f"{' '.join(sorted({*known, 'en', 'fr', 'zh', 'no'}))}. Correct utt2lang, "
        "leave the language out, or use characters as units"
    )
