"""Sentences of installed translations: clean, many, never shared between sets."""

import itertools

import pytest

from espnet2_dq.data.sentences import (
    MAX_WORDS,
    MIN_WORDS,
    SPLITS,
    catalogue_sentences,
    clean_message,
    draw_sentences,
    has_acronym,
    names,
    split_of,
    words_of,
)
from espnet2_dq.text.alphabets import foreign_characters

NINE = ["en", "es", "fr", "it", "ky", "nl", "ru", "sv", "tt"]


@pytest.mark.parametrize(
    ("message", "language", "expected"),
    [
        ("Select %(name)s to change", "en", ["Select to change"]),
        ("Save <b>this</b> object", "en", ["Save this object"]),
        ("Delete {item} now&nbsp;or never", "en", ["Delete now or never"]),
        ("Delete now & forever", "en", []),
        ("Enter a valid value.", "en", ["Enter a valid value"]),
        ("One thing. Another thing!", "en", ["One thing", "Another thing"]),
        ("L’adresse n’est pas valide.", "fr", ["L'adresse n'est pas valide"]),
        ("Use 3 letters", "en", []),
        ("The API failed", "en", []),
        ("Hello", "en", []),
        ("Введите слово URL", "ru", []),
        ("Введите новое слово", "ru", ["Введите новое слово"]),
        (" ".join(["word"] * 15), "en", []),
        (
            "If this goes on and on for many words, the comma splits it, "
            "and so we keep the parts",
            "en",
            [
                "If this goes on and on for many words",
                "the comma splits it",
                "and so we keep the parts",
            ],
        ),
    ],
)
def test_cleaning(message: str, language: str, expected: list[str]) -> None:
    assert clean_message(message, language) == expected


def test_acronyms() -> None:
    assert has_acronym("the URL of it")
    assert has_acronym("АКШ-доллары")
    assert not has_acronym("I am")


def test_words() -> None:
    assert words_of("Côte d'Ivoire, Baden-Baden") == [
        "côte",
        "d'ivoire",
        "baden",
        "baden",
    ]


@pytest.mark.parametrize("language", NINE)
def test_there_is_enough_to_say(language: str) -> None:
    assert len(catalogue_sentences(language)) > 200
    assert len(names(language)) > 1000


@pytest.mark.parametrize("language", NINE)
def test_prompts_and_names_are_disjoint(language: str) -> None:
    drawn = {
        split: [
            s.text for s in itertools.islice(draw_sentences(language, split, 3), 300)
        ]
        for split in SPLITS
    }
    keys = {
        split: {tuple(words_of(t)) for t in texts} for split, texts in drawn.items()
    }
    assert all(len(keys[split]) == 300 for split in SPLITS)
    for a, b in itertools.combinations(SPLITS, 2):
        assert not keys[a] & keys[b]
    owners = {
        split: {n for n, _ in names(language) if split_of(n) == split}
        for split in SPLITS
    }
    assert sum(map(len, owners.values())) == len(names(language))
    assert all(len(owned) > 20 for owned in owners.values())


@pytest.mark.parametrize("language", NINE)
def test_sentences_are_of_the_language(language: str) -> None:
    for sentence in itertools.islice(draw_sentences(language, "train", 1), 300):
        words = words_of(sentence.text)
        assert MIN_WORDS <= len(words) <= MAX_WORDS
        assert not foreign_characters("".join(words), language), sentence
        assert not set(sentence.text) & set("%{}<>0123456789")


def test_draws_depend_on_the_seed_only() -> None:
    def draw(seed: int) -> list[str]:
        return [s.text for s in itertools.islice(draw_sentences("tt", "dev", seed), 50)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
