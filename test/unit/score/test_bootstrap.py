import numpy as np
import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.bootstrap import interval95, paired_difference, resample
from espnet2_dq.score.error_rates import ErrorCounts


def groups(seed, rate, langs=("es", "fr"), utterances=60):
    rng = np.random.default_rng(seed)
    return {
        lang: {
            f"{lang}-{i}": ErrorCounts(int(rng.binomial(20, rate)), 0, 0, 20)
            for i in range(utterances)
        }
        for lang in langs
    }


def mean_rate(system):
    return float(
        np.mean(
            [
                sum(c.errors for c in utts.values())
                / sum(c.reference for c in utts.values())
                for utts in system.values()
            ]
        )
    )


def test_interval_matches_the_normal_approximation():
    system = groups(0, 0.3, utterances=400)
    samples = resample(system, samples=2000, seed=1)
    for lang, utts in system.items():
        errors = np.array([c.errors for c in utts.values()]) / 20
        spread = 1.96 * errors.std() / np.sqrt(len(errors))
        low, high = interval95(samples.languages[lang])
        assert low == pytest.approx(errors.mean() - spread, abs=0.002)
        assert high == pytest.approx(errors.mean() + spread, abs=0.002)


def test_same_seed_same_draws_whatever_the_order_of_utterances():
    system = groups(0, 0.3)
    turned = {
        lang: dict(reversed(system[lang].items())) for lang in reversed(list(system))
    }
    a, b = (resample(s, samples=50, seed=3) for s in (system, turned))
    np.testing.assert_array_equal(a.pooled, b.pooled)
    assert not np.array_equal(a.pooled, resample(system, samples=50, seed=4).pooled)


def test_average_weighs_languages_equally_and_pooled_by_tokens():
    system = {
        "es": {"u1": ErrorCounts(1, 0, 0, 1)},
        "fr": {"u2": ErrorCounts(0, 0, 0, 99)},
    }
    samples = resample(system, samples=5, seed=0)
    assert samples.average().tolist() == [0.5] * 5
    assert samples.average(["es"]).tolist() == [1.0] * 5
    assert samples.pooled.tolist() == [0.01] * 5


def test_draws_do_not_depend_on_the_chunk_size(monkeypatch):
    whole = resample(groups(0, 0.2), samples=30, seed=0)
    monkeypatch.setattr("espnet2_dq.score.bootstrap._CHUNK", 100)
    parts = resample(groups(0, 0.2), samples=30, seed=0)
    np.testing.assert_array_equal(whole.pooled, parts.pooled)


def test_empty_references_are_drawn_with_the_others():
    system = {"es": {"u1": ErrorCounts(0, 0, 2, 0), "u2": ErrorCounts(0, 0, 0, 4)}}
    rates = resample(system, samples=200, seed=0).pooled
    # both u2: 0; one of each: 2 / 4; both u1: 4 errors over one assumed token
    assert set(rates.tolist()) == {0.0, 0.5, 4.0}


def test_language_without_reference_tokens():
    with pytest.raises(DataError, match="'es' has no reference tokens"):
        resample({"es": {"u1": ErrorCounts(0, 0, 1, 0)}}, samples=2, seed=0)


@pytest.mark.parametrize(("system", "samples"), [({}, 5), (groups(0, 0.1), 0)])
def test_nothing_to_resample(system, samples):
    with pytest.raises(DataError, match="nothing to resample"):
        resample(system, samples=samples, seed=0)


def compare(a, b):
    return paired_difference(
        a, b, mean_rate, lambda samples: samples.average(), samples=500, seed=0
    )


def test_pairing_finds_a_small_steady_gain():
    """The gain is far below the spread of either system alone."""
    base = groups(0, 0.3)
    better = {
        lang: {
            utt: ErrorCounts(c.substitutions - (utt[-1] in "02468"), 0, 0, 20)
            for utt, c in utts.items()
        }
        for lang, utts in base.items()
    }
    got = compare(better, base)
    assert got.rate == pytest.approx(mean_rate(better) - mean_rate(base))
    assert got.low < got.rate < got.high < 0
    assert got.share_above_zero == 0.0
    low, high = interval95(resample(base, samples=500, seed=0).average())
    assert high - low > 2 * (got.high - got.low)


def test_a_system_does_not_differ_from_itself():
    system = groups(0, 0.3)
    got = compare(system, system)
    assert (got.rate, got.low, got.high, got.share_above_zero) == (0.0, 0.0, 0.0, 0.0)


def test_systems_on_other_utterances_cannot_be_compared():
    a, b = groups(0, 0.3), groups(0, 0.3)
    b["fr"].pop("fr-0")
    with pytest.raises(DataError, match="same utterances"):
        compare(a, b)
