"""Batches of an epoch: shares, coverage, size, reproducibility."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_dq.data.batches import (
    BalancedPlan,
    language_probabilities,
    sequential_batches,
)
from espnet2_dq.errors import ConfigError, DataError

TABLE_I = {
    "en": 1350.0,
    "es": 168.0,
    "fr": 353.0,
    "it": 90.0,
    "ky": 17.0,
    "tt": 17.0,
    "nl": 29.0,
    "ru": 55.0,
    "sv": 3.0,
}


def make_plan(**kwargs):
    lengths = {f"en-{i:03d}": 16000 + 160 * i for i in range(100)}
    lengths |= {f"sv-{i:03d}": 24000 + 160 * i for i in range(5)}
    languages = {utt: utt[:2] for utt in lengths}
    options = {
        "batch_samples": 200_000,
        "num_batches": 20,
        "power": 0.5,
        "seed": 3,
    }
    return BalancedPlan(lengths, languages, **(options | kwargs)), lengths, languages


def test_shares_of_the_papers_corpus():
    shares = language_probabilities(TABLE_I, 0.5)
    expected = {"en": 0.365, "fr": 0.187, "ky": 0.041, "sv": 0.017}
    for lang, share in expected.items():
        assert shares[lang] == pytest.approx(share, abs=1e-3)


def test_batches_hold_the_languages_share_of_audio_not_of_utterances():
    plan, lengths, languages = make_plan(num_batches=200)
    audio = Counter()
    for batch in plan.epoch(1):
        for draw in batch:
            audio[languages[draw.utt_id]] += lengths[draw.utt_id]
    share = audio["sv"] / sum(audio.values())
    assert share == pytest.approx(plan.shares["sv"], abs=0.02)


def test_padded_size_is_bounded_and_the_number_of_batches_exact():
    plan, lengths, _ = make_plan()
    for epoch in range(1, 6):
        batches = plan.epoch(epoch)
        assert len(batches) == 20
        for batch in batches:
            longest = max(lengths[d.utt_id] for d in batch)
            assert longest * len(batch) <= 200_000


def test_little_padding():
    plan, lengths, _ = make_plan()
    real = padded = 0
    for batch in plan.epoch(1):
        sizes = [lengths[d.utt_id] for d in batch]
        real, padded = real + sum(sizes), padded + max(sizes) * len(sizes)
    assert real / padded > 0.85


def test_every_utterance_is_used_before_any_is_used_again():
    plan, _, _ = make_plan(power=1.0, num_batches=4)
    uses = Counter()
    for epoch in range(1, 8):
        uses.update(d.utt_id for d in plan._pool(epoch) if d.utt_id.startswith("en"))
    assert max(uses.values()) - min(uses.values()) <= 2


def test_repeats_within_an_epoch_have_different_ordinals():
    plan, _, _ = make_plan(power=0.0, num_batches=50)
    draws = [d for batch in plan.epoch(1) for d in batch]
    assert len(set(draws)) == len(draws)


def test_same_seed_and_epoch_same_batches():
    first, second = make_plan()[0], make_plan()[0]
    assert first.epoch(4) == second.epoch(4)
    assert first.epoch(4) != first.epoch(5)
    assert first.epoch(4) != make_plan(seed=4)[0].epoch(4)


def test_an_utterance_longer_than_a_batch_is_named():
    with pytest.raises(ConfigError, match="en-099"):
        make_plan(batch_samples=20_000)


def test_no_utterances_and_missing_language():
    with pytest.raises(DataError, match="0 utterances"):
        BalancedPlan({}, {}, batch_samples=1, num_batches=1, power=1.0, seed=0)
    with pytest.raises(DataError, match="no language for utterance a"):
        BalancedPlan({"a": 1}, {}, batch_samples=1, num_batches=1, power=1.0, seed=0)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(1, 1000), min_size=1),
    st.integers(1, 3),
)
def test_sequential_batches_hold_everything_once(lengths, ranks):
    batches = sequential_batches(lengths, 1500, ranks)
    first_uses = [d.utt_id for batch in batches for d in batch if d.ordinal == 0]
    assert sorted(first_uses) == sorted(lengths)
    assert all(len(batch) >= ranks for batch in batches)
