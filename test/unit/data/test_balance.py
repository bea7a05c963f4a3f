import json

import pytest

from espnet2_dq.data.balance import format_shares, language_shares, write_shares
from espnet2_dq.errors import DataError

# METHODS.md 2.9, from the paper's Table I: hours, p_l and repeats with power 0.5.
TABLE = {
    "en": (1350, 0.365, 0.56),
    "es": (168, 0.129, 1.59),
    "fr": (353, 0.187, 1.10),
    "it": (90, 0.094, 2.18),
    "ky": (17, 0.041, 5.01),
    "tt": (17, 0.041, 5.01),
    "nl": (29, 0.053, 3.84),
    "ru": (55, 0.074, 2.79),
    "sv": (3, 0.017, 11.9),
}
HOURS = {lang: float(row[0]) for lang, row in TABLE.items()}


def test_the_papers_hours_give_the_specified_table():
    shares = language_shares(HOURS, {})
    assert [s.lang for s in shares] == sorted(TABLE)
    for share in shares:
        _, expected, repeat = TABLE[share.lang]
        # The table rounds hours, too: fr is .1865 from these and .187 there.
        assert share.share == pytest.approx(expected, abs=6e-4)
        assert share.repeat == pytest.approx(repeat, rel=6e-3)
    assert sum(s.share for s in shares) == pytest.approx(1)


def test_an_epoch_keeps_its_hours():
    shares = language_shares(HOURS, {})
    assert sum(s.repeat * s.hours for s in shares) == pytest.approx(2082)


@pytest.mark.parametrize(("power", "ratio"), [(1.0, 450.0), (0.0, 1.0)])
def test_power_goes_from_the_corpus_to_uniform(power, ratio):
    shares = {s.lang: s.share for s in language_shares(HOURS, {}, power)}
    assert shares["en"] / shares["sv"] == pytest.approx(ratio)


def test_one_language_has_it_all():
    (share,) = language_shares({"de": 2.0}, {"de": 7})
    assert (share.share, share.repeat, share.utterances) == (1.0, 1.0, 7)


@pytest.mark.parametrize(
    ("hours", "power", "message"),
    [
        ({}, 0.5, "0 utterances"),
        ({"de": 1.0, "pl": 0.0}, 0.5, "no audio for pl"),
        ({"de": 1.0}, 2.0, r"power 2.0 is not in \[0, 1\]"),
    ],
)
def test_impossible_balance(hours, power, message):
    with pytest.raises(DataError, match=message):
        language_shares(hours, {}, power)


def test_table_and_file(tmp_path):
    shares = language_shares(HOURS, dict.fromkeys(HOURS, 10))
    row = next(x for x in format_shares(shares).splitlines() if x.startswith("en"))
    assert row.split() == ["en", "1350.00", "10", "0.648", "0.365", "0.56"]
    write_shares(tmp_path / "s.json", shares, 0.5)
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["power"] == 0.5
    assert content["languages"][0]["lang"] == "en"
