"""G2P: one inventory, no flags, no mnemonics, clear errors."""

import itertools
import re

import pytest

from espnet2_dq.data.sentences import draw_sentences
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.languages import espeak_code
from espnet2_dq.text.phonemes import is_modifier, normalise_phone, phonemise

NINE = ["en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt"]


@pytest.mark.parametrize(
    ("raw", "language", "expected"),
    [
        ("tS", "ky", "tʃ"),
        ("d[", "ky", "d"),
        ("t[", "ky", "t"),
        ("u:", "ky", "uː"),
        ("ˈoe:", "ky", "œː"),
        ("oe", "nl", "oe"),
        ("X", "ky", "χ"),
        ("N", "ky", "ŋ"),
        ("S", "ky", "ʃ"),
        ("l-", "ky", "ɫ"),
        ("ə-", "fr", "ə"),
        ("a-", "fr", "a"),
        ("-", "fr", ""),
        ("ss", "it", "sː"),
        ("sx", "sv-SE", "ɧ"),
        ("sx", "nl", "sx"),
        ("ˈˌaɪ", "en", "aɪ"),
        ("(en)", "fr", ""),
        ("(fr-fr)k", "en", "k"),
        ("", "en", ""),
        ("tʃː", "it", "tʃː"),
    ],
)
def test_normalise_phone(raw: str, language: str, expected: str) -> None:
    assert normalise_phone(raw, language) == expected


def test_stress_is_kept_on_request() -> None:
    assert normalise_phone("ˈoe", "ky", keep_stress=True) == "ˈœ"
    assert phonemise(["hello"], "en", keep_stress=True) == [["h", "ə", "l", "ˈoʊ"]]


def test_modifier() -> None:
    assert is_modifier("ʲ")
    assert is_modifier("ˈʰ")
    assert not is_modifier("rʲ")
    assert not is_modifier("ˈ")


@pytest.mark.parametrize("language", NINE)
def test_phones_are_ipa(language: str) -> None:
    """No stress, flag, digit, capital or ASCII mark in any phone of 60 sentences."""
    sentences = itertools.islice(draw_sentences(language, "train", 0), 60)
    converted = phonemise([s.text for s in sentences], language)
    assert all(converted)
    inventory = {phone for phones in converted for phone in phones}
    assert 20 < len(inventory) < 70
    bad = {p for p in inventory if re.search(r"[ˈˌ()\[\]\-:\"^0-9A-Z\s_]", p)}
    assert not bad


def test_language_switches_leave_only_phones() -> None:
    """eSpeak takes "weekend" for English in French and says so in the middle."""
    (phones,) = phonemise(["le week-end à New York"], "fr")
    assert "w" in phones
    assert not [p for p in phones if "(" in p or p in ("en", "fr")]


def test_empty_texts_and_order() -> None:
    texts = ["", "  ", "...", "Ciao.", "a"]
    together = phonemise(texts, "it")
    assert together[:3] == [[], [], []]
    assert together == [phonemise([text], "it")[0] for text in texts]


def test_languages_take_turns() -> None:
    first = phonemise(["Chat"], "fr")
    assert phonemise(["Chat"], "en") != first
    assert phonemise(["Chat"], "fr") == first


@pytest.mark.parametrize("code", ["ko", "de", "pt-BR", "sv-SE", "zh-CN", "kir"])
def test_other_codes_work(code: str) -> None:
    text = {"ko": "안녕", "kir": "салам", "zh-CN": "你好"}.get(code, "hallo")
    assert phonemise([text], code)[0]


def test_unknown_language_names_the_allowed() -> None:
    with pytest.raises(ConfigError, match="'xq'.*Allowed.* ky .*utt2lang"):
        phonemise(["a"], "xq")


def test_codes_prefer_the_exact_name() -> None:
    known = ["pt", "pt-br", "en-us", "cmn"]
    assert espeak_code("pt-BR", known) == "pt-br"
    assert espeak_code("pt-PT", known) == "pt"
    assert espeak_code("en", known) == "en-us"
    assert espeak_code("en-GB", known) == "en-us"
    assert espeak_code("zh-TW", known) == "cmn"
