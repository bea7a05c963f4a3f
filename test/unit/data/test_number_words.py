"""Numbers in words."""

import pytest

from espnet2_dq.data.number_words import spell_number
from espnet2_dq.errors import ConfigError


@pytest.mark.parametrize(
    ("number", "language", "words"),
    [
        (0, "ky", "нөл"),
        (10, "ky", "он"),
        (100, "ky", "жүз"),
        (2024, "ky", "эки миң жыйырма төрт"),
        (1999, "tt", "мең тугыз йөз туксан тугыз"),
        (305_017, "tt", "өч йөз биш мең ун җиде"),
        (73, "nl", "drieënzeventig"),
        (21, "ru", "двадцать один"),
        (80, "fr", "quatre-vingts"),
    ],
)
def test_spelling(number: int, language: str, words: str) -> None:
    assert spell_number(number, language) == words


def test_distinct_numbers_have_distinct_words() -> None:
    for language in ("ky", "tt"):
        assert len({spell_number(n, language) for n in range(2000)}) == 2000


def test_errors() -> None:
    with pytest.raises(ConfigError, match="cannot spell numbers of 'xx'.*Known.* ky"):
        spell_number(3, "xx")
    with pytest.raises(ConfigError, match="-1: 0 to 999999"):
        spell_number(-1, "tt")
