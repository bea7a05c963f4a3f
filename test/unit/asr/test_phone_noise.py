"""Errors put into phoneme sequences: the right ones, as many as asked for."""

import pytest
import torch

from espnet2_dq.asr.phone_noise import PhoneNoise, add_phone_noise
from espnet2_dq.config import from_mapping
from espnet2_dq.errors import ConfigError

OFF = {"substitution": 0.0, "deletion": 0.0, "insertion": 0.0}


def sentences(batch=64, longest=40, seed=0):
    """Tag 1, then the row's own range of phonemes (10 b .. 10 b + 9), padding -1."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.arange(batch).unsqueeze(1)
    phones = 10 * (rows + 1) + torch.randint(10, (batch, longest), generator=rng)
    phones[:, 0] = 1
    lengths = torch.randint(1, longest + 1, (batch,), generator=rng)
    lengths[0] = longest
    padding = torch.arange(longest) >= lengths.unsqueeze(1)
    return phones.masked_fill(padding, -1), lengths


def noisy(**rates):
    phones, lengths = sentences()
    noise = PhoneNoise(**{**OFF, **rates})
    rng = torch.Generator().manual_seed(5)
    return phones, lengths, *add_phone_noise(phones, lengths, noise, rng)


def test_no_noise_changes_nothing():
    phones, lengths, got, got_lengths = noisy()
    assert torch.equal(got, phones)
    assert torch.equal(got_lengths, lengths)
    assert PhoneNoise(**OFF).off
    assert not PhoneNoise().off


@pytest.mark.parametrize("kind", ["substitution", "deletion", "insertion"])
def test_each_kind_at_its_rate(kind):
    _, lengths, _, _ = noisy()
    phonemes = int((lengths - 1).sum())
    before, _, got, got_lengths = noisy(**{kind: 0.25})
    grown = int((got_lengths - lengths).sum()) / phonemes
    expected = {"substitution": 0.0, "deletion": -0.25, "insertion": 0.25}[kind]
    assert grown == pytest.approx(expected, abs=0.08)
    if kind == "substitution":
        changed = int((got != before).sum()) / phonemes
        # one in ten replacements is the phoneme itself
        assert changed == pytest.approx(0.225, abs=0.06)
        assert torch.equal(got_lengths, lengths)


def test_sentences_get_levels_of_their_own():
    _, lengths, _, got_lengths = noisy(deletion=0.25)
    long = lengths > 20
    rates = 1 - (got_lengths[long] - 1) / (lengths[long] - 1)
    assert rates.min() < 0.1
    assert rates.max() > 0.35


@pytest.mark.parametrize("seed", range(3))
def test_tag_stays_phonemes_are_the_sentence_s_and_padding_is_minus_one(seed):
    phones, lengths = sentences(seed=seed)
    rng = torch.Generator().manual_seed(seed)
    noise = PhoneNoise(0.25, 0.25, 0.25)
    got, got_lengths = add_phone_noise(phones, lengths, noise, rng)
    assert got.shape == (len(phones), int(got_lengths.max()))
    assert (got[:, 0] == 1).all()
    for row, length, before, old in zip(got, got_lengths, phones, lengths):
        assert set(row[1:length].tolist()) <= set(before[1:old].tolist())
        assert (row[length:] == -1).all()


def test_a_sentence_of_one_tag_stays():
    phones = torch.tensor([[7], [8]])
    noise = PhoneNoise(0.25, 0.25, 0.5)
    got, lengths = add_phone_noise(phones, torch.tensor([1, 1]), noise)
    assert got.tolist() == [[7], [8]]
    assert lengths.tolist() == [1, 1]


def test_order_of_the_kept_phonemes_stays():
    phones = torch.arange(50).unsqueeze(0)
    noise = PhoneNoise(0.0, 0.4, 0.0)
    got, _ = add_phone_noise(phones, torch.tensor([50]), noise)
    assert got[0].tolist() == sorted(got[0].tolist())


def test_seeds_decide():
    phones, lengths = sentences()
    draws = [
        add_phone_noise(phones, lengths, PhoneNoise(), torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    assert draws[0][0].shape != draws[2][0].shape or not torch.equal(
        draws[0][0], draws[2][0]
    )


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"deletion": -0.1}, r"noise\.deletion: -0\.1"),
        ({"substitution": 0.4, "deletion": 0.2}, "at most 0.5"),
        ({"insertion": 0.6}, "at most 0.5"),
        ({"insertions": 0.1}, "Did you mean 'insertion'"),
    ],
)
def test_rates_that_cannot_be(rates, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(PhoneNoise, rates, "model_conf.noise")
