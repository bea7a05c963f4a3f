"""Texts of any shape: total functions, stable results."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.data.prompts import parse_prompts
from espnet2_dq.data.sentences import clean_message, words_of
from espnet2_dq.text.alphabets import foreign_characters
from espnet2_dq.text.characters import (
    TextRejected,
    join_characters,
    normalise_text,
    split_characters,
)
from espnet2_dq.text.phonemes import normalise_phone
from espnet2_dq.text.units import build_inventory

languages = st.sampled_from(
    ["en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt", "ko"]
)
scraps = st.text(
    st.sampled_from("aéß ЖңXı'’-—.,¿[](){}<>%s19&\u00ad\u200b\ufeff한\n\t"), max_size=30
)


@given(st.one_of(scraps, st.text(max_size=30)), languages)
def test_normalised_text_is_clean_and_a_fixed_point(text: str, lang: str) -> None:
    reason, clean = "", ""
    try:
        clean = normalise_text(text, lang)
    except TextRejected as rejected:
        reason = rejected.reason
    if reason:
        assert re.match(r"(empty transcript|foreign characters): .", reason)
        return
    assert clean
    assert clean == " ".join(clean.split())
    assert not foreign_characters(clean.replace(" ", ""), lang)
    assert normalise_text(clean, lang) == clean
    assert join_characters(split_characters(clean)) == clean


@given(scraps, languages)
def test_phone_names_are_normalised_once(name: str, lang: str) -> None:
    once = normalise_phone(name, lang)
    assert "ˈ" not in once
    assert normalise_phone(once, lang) in (once, once.rstrip(":ː-"))


@given(st.one_of(scraps, st.text(max_size=60)), languages)
def test_messages_never_keep_markup(message: str, lang: str) -> None:
    for sentence in clean_message(message, lang):
        assert not set(sentence) & set("%{}<>&0123456789\n")
        assert 2 <= len(words_of(sentence)) <= 14


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=80), scraps.map(str.encode)))
def test_prompt_files_of_any_content_are_read(raw: bytes) -> None:
    prompts = parse_prompts(raw, "en")
    for text in prompts.texts.values():
        assert not set(text) & set("[]<>()0123456789")


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=8))
def test_encoding_round_trip(texts: list[list[str]]) -> None:
    if not any(texts):
        return
    units = build_inventory(texts, "char")
    for text in texts:
        assert units.decode(units.encode(text)) == text
