import math

import pytest
import torch

from espnet2_dq.errors import CollapseError, ConfigError
from espnet2_dq.ssl.health import (
    HealthConfig,
    HealthRule,
    UsageTracker,
    dead_codes,
    effective_rank,
    mean_pair_cosine,
    sequence_similarity,
    spread,
)
from espnet2_dq.ssl.quantizer import code_usage, perplexity

TOTAL = 1000


def healthy_gauges(**changed):
    """Gauges computed from healthy tensors, some of them replaced."""
    torch.manual_seed(0)
    x = torch.randn(300, 16)
    codes = torch.randint(0, 9, (60, 2))
    language = perplexity(code_usage(codes, 9))
    same, _ = sequence_similarity(torch.randint(0, 50, (4, 80)), torch.full((4,), 80))
    gauges = {"loss": 3.0, "grad_norm": 1.0}
    for block in ("target", "prediction", "frontend"):
        gauges[f"{block}_spread"] = spread(x).item()
        gauges[f"{block}_rank"] = effective_rank(x).item()
        gauges[f"{block}_cosine"] = mean_pair_cosine(x).item()
    for quantizer in ("language", "phoneme"):
        gauges[f"{quantizer}_perplexity_g1"] = language[0].item()
        gauges[f"{quantizer}_perplexity_g2"] = language[1].item()
    gauges["phoneme_code_similarity"] = same.item()
    return {**gauges, **changed}


def run(gauges, updates=range(0, TOTAL + 1, 50), config=None):
    rule, warnings = HealthRule(config), []
    for update in updates:
        warnings += rule.check(update, TOTAL, gauges)
    return warnings


constant = torch.ones(300, 16) + 1e-6 * torch.randn(300, 16)
line = torch.randn(300, 1) * torch.randn(1, 16)
one_code = perplexity(code_usage(torch.zeros(60, 2, dtype=torch.long), 9))
same_sequence = sequence_similarity(
    torch.arange(80).repeat(4, 1), torch.full((4,), 80)
)[0]

COLLAPSES = [
    ({"target_spread": spread(constant).item()}, "teacher target: target_spread"),
    ({"target_rank": effective_rank(line).item()}, "teacher target: target_rank"),
    ({"prediction_spread": spread(constant).item()}, "student prediction"),
    ({"prediction_cosine": mean_pair_cosine(constant).item()}, "student prediction"),
    ({"frontend_spread": spread(constant).item()}, "frontend: frontend_spread"),
    (
        {"language_perplexity_g1": one_code[0].item()},
        r"language quantizer group 1: uses 1 code \(perplexity 1.00\)",
    ),
    ({"phoneme_perplexity_g2": one_code[1].item()}, "phoneme quantizer group 2"),
    (
        {"phoneme_code_similarity": same_sequence.item()},
        "phoneme quantizer: phoneme_code_similarity",
    ),
    ({"loss": math.nan}, "loss is nan"),
    ({"grad_norm": math.inf}, "grad_norm is inf"),
]


def test_healthy_run_neither_warns_nor_stops():
    assert run(healthy_gauges()) == []


@pytest.mark.parametrize(("changed", "message"), COLLAPSES)
def test_collapse_in_each_block_is_named(changed, message):
    with pytest.raises(CollapseError, match=message):
        run(healthy_gauges(**changed))
    warnings = run(healthy_gauges(**changed), config=HealthConfig(stop=False))
    assert warnings
    assert all(message.replace("\\", "") in w for w in warnings)


DEAD = healthy_gauges(language_perplexity_g1=1.0)


def stop_update(total, interval, gauges=DEAD):
    rule = HealthRule()
    for update in range(0, total + 1, interval):
        try:
            rule.check(update, total, gauges)
        except CollapseError:
            return update
    return None


@pytest.mark.parametrize(("total", "interval"), [(100, 5), (1000, 20), (400_000, 200)])
def test_short_and_long_runs_are_both_stopped(total, interval):
    update = stop_update(total, interval)
    assert update is not None
    assert update <= max(0.6 * total, 6000)
    assert update >= min(0.3 * total, 5000)


def test_early_dips_only_warn_after_the_first_updates():
    rule = HealthRule()
    assert rule.check(10, TOTAL, DEAD) == []
    assert len(rule.check(60, TOTAL, DEAD)) == 1


def test_an_interrupted_series_does_not_stop():
    rule = HealthRule(HealthConfig(patience=3))
    for step in range(30):
        gauges = healthy_gauges() if step % 3 == 2 else DEAD
        rule.check(500 + step, TOTAL, gauges)


def test_bad_checks_before_stopping_is_allowed_do_not_count():
    rule = HealthRule(HealthConfig(patience=2))
    for update in (100, 200, 299, 300):
        rule.check(update, TOTAL, DEAD)
    with pytest.raises(CollapseError):
        rule.check(301, TOTAL, DEAD)


def test_nan_stops_before_any_other_bound_counts():
    rule = HealthRule(HealthConfig(patience=2))
    assert rule.check(1, TOTAL, {"loss": math.nan})
    with pytest.raises(CollapseError, match="learning rate"):
        rule.check(2, TOTAL, {"loss": math.nan})


def test_resumed_run_does_not_stop_at_once_but_does_stop():
    rule = HealthRule()
    for update in range(300, 304):
        rule.check(update, TOTAL, DEAD)
    state = rule.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    resumed = HealthRule()
    resumed.load_state_dict(state)
    assert resumed.check(900, TOTAL, DEAD)
    with pytest.raises(CollapseError):
        resumed.check(901, TOTAL, DEAD)


def test_message_says_what_to_do():
    with pytest.raises(CollapseError, match="reseed_interval"):
        run(DEAD)
    with pytest.raises(CollapseError, match="EMA decay"):
        run(healthy_gauges(target_spread=0.001))


def test_unknown_gauges_must_only_be_finite():
    gauges = {"acc": 0.0, "lr": 1e-9, "other_spread": 0.0}
    assert run(gauges) == []


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="patience"):
        HealthConfig(patience=0)
    with pytest.raises(ConfigError, match="stop_fraction"):
        HealthConfig(stop_fraction=2.0)


def test_spread_equals_fairseq_formula():
    x = torch.randn(40, 8) * torch.arange(1.0, 9.0)
    expected = (x.var(0) + 1e-6).sqrt().mean()
    torch.testing.assert_close(spread(x), expected)
    torch.testing.assert_close(spread(x + 1e3), expected, rtol=1e-3, atol=0)
    assert spread(x[:1]).item() == pytest.approx(1e-3)
    assert spread(x[:0]).item() == pytest.approx(1e-3)


def test_effective_rank():
    assert effective_rank(torch.ones(20, 4)).item() == pytest.approx(1.0)
    assert effective_rank(line).item() == pytest.approx(1.0, abs=1e-3)
    plus_minus = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(plus_minus).item() == pytest.approx(6.0)
    wide = torch.cat([torch.eye(3, 50), -torch.eye(3, 50)])
    assert effective_rank(wide).item() == pytest.approx(3.0, abs=1e-3)
    assert 15 < effective_rank(torch.randn(5000, 16)).item() <= 16


def test_mean_pair_cosine_equals_all_pairs():
    x = torch.randn(30, 5) + 1
    pairs = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    off_diagonal = ~torch.eye(30, dtype=torch.bool)
    torch.testing.assert_close(mean_pair_cosine(x), pairs[off_diagonal].mean())
    assert mean_pair_cosine(x[:1]) == 0


def test_sequence_similarity_tells_position_from_usage():
    lengths = torch.full((6,), 640)
    sequence = torch.randint(0, 20, (640,))
    same, chance = sequence_similarity(sequence.repeat(6, 1), lengths)
    assert same == pytest.approx(1.0)
    assert chance < 0.2
    joint = torch.randint(0, 20, (6, 640))
    same, chance = sequence_similarity(joint, lengths)
    assert same.item() == pytest.approx(chance.item(), abs=0.05)
    same, chance = sequence_similarity(torch.zeros(6, 640, dtype=torch.long), lengths)
    assert (same, chance) == (1.0, 1.0)


def test_sequence_similarity_compares_relative_positions():
    short = torch.arange(10).repeat_interleave(10)
    long = torch.arange(10).repeat_interleave(30)
    joint = torch.full((2, 300), -1)
    joint[0, :100], joint[1] = short, long
    same, _ = sequence_similarity(joint, torch.tensor([100, 300]), points=50)
    assert same == pytest.approx(1.0)


def test_sequence_similarity_needs_two_utterances():
    same, chance = sequence_similarity(torch.zeros(1, 5).long(), torch.tensor([5]))
    assert (same, chance) == (0.0, 0.0)


def test_dead_codes():
    assert dead_codes(torch.tensor([[3, 0, 0], [1, 1, 1]])).tolist() == [2, 0]


def test_usage_tracker_sees_over_small_batches():
    tracker = UsageTracker(1, 9, decay=0.9)
    for step in range(60):  # one utterance per batch, but all codes in turn
        tracker.observe(torch.tensor([[step % 9]]))
    assert tracker.perplexity().item() > 7
    assert tracker.used().tolist() == [9]
    for _ in range(80):
        tracker.observe(torch.tensor([[4]]))
    assert tracker.perplexity().item() < 1.1
    assert tracker.used().tolist() == [1]
