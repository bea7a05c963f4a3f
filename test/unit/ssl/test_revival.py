import copy

import pytest
import torch

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.quantizer import OnlineKMeans, code_usage
from espnet2_dq.ssl.revival import (
    FeatureQueue,
    Revival,
    RevivalConfig,
    clear_moments,
    evenly_spaced,
    initialise_codebook,
    reseed_dead_codes,
)

EVERYTHING = RevivalConfig(
    init="data",
    init_update=2,
    queue=40,
    reseed_interval=3,
    centre_momentum=0.2,
    remove_directions=1,
    whiten_directions=3,
)


def make_quantizer(clusters=6):
    torch.manual_seed(0)
    return OnlineKMeans(8, clusters)


def features(seed, batch=5):
    return torch.randn(batch, 8, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_queue_keeps_the_newest_rows():
    queue = FeatureQueue(5, 1)
    assert queue.content().shape == (0, 1)
    queue.push(torch.arange(3.0)[:, None])
    assert queue.content().flatten().tolist() == [0, 1, 2]
    queue.push(torch.arange(3.0, 7.0)[:, None])
    assert sorted(queue.content().flatten().tolist()) == [2, 3, 4, 5, 6]
    queue.push(torch.arange(7.0, 30.0)[:, None])
    assert sorted(queue.content().flatten().tolist()) == [25, 26, 27, 28, 29]
    queue.push(torch.zeros(0, 1))
    assert len(queue.content()) == 5


def test_data_initialisation_uses_all_codes():
    quantizer, rows = make_quantizer(), features(1, 60)
    with torch.no_grad():  # the dead state of CALIBRATION: all codewords equal
        quantizer.codebook[:] = quantizer.codebook[:, :1]
    before = code_usage(quantizer(rows).codes, 6)
    assert (before > 0).sum(-1).tolist() == [1, 1]
    initialise_codebook(quantizer, rows, generator())
    after = code_usage(quantizer(rows).codes, 6)
    assert (after > 0).all()


def test_dead_codes_move_and_living_ones_stay():
    quantizer, rows = make_quantizer(), features(2, 60)
    old = quantizer.codebook.detach().clone()
    usage = torch.tensor([[10, 0, 5, 5, 5, 5], [6, 6, 6, 6, 6, 0]])
    moved = reseed_dead_codes(quantizer, rows, usage, generator())
    assert moved.nonzero().tolist() == [[0, 1], [1, 5]]
    assert torch.equal(quantizer.codebook[~moved], old[~moved])
    encoded = quantizer.encode(rows).view(60, 2, 4)
    for group, code in moved.nonzero().tolist():
        distance = (encoded[:, group] - quantizer.codebook[group, code]).norm(dim=-1)
        assert distance.min() == 0


def test_threshold_is_a_share_of_the_uniform_count():
    quantizer, rows = make_quantizer(4), features(3, 30)
    usage = torch.tensor([[94, 3, 2, 1], [25, 25, 25, 25]])
    moved = reseed_dead_codes(quantizer, rows, usage, generator(), threshold=0.1)
    assert moved.tolist() == [[False, False, True, True], [False] * 4]


def test_nothing_observed_means_nothing_dead():
    quantizer = make_quantizer()
    usage = torch.zeros(2, 6, dtype=torch.long)
    assert not reseed_dead_codes(quantizer, features(4), usage, generator()).any()


def test_defaults_change_nothing():
    config = RevivalConfig()
    assert not config.active
    quantizer = make_quantizer()
    revival = Revival(config, 8, 6, 2)
    old = quantizer.codebook.detach().clone()
    for update in range(1, 5):
        x = features(update)
        revival.observe(x, quantizer(x).codes, pooled=x)
        assert not revival.step(quantizer, update).any()
    assert torch.equal(quantizer.codebook, old)
    assert revival.centre is None


def run(revival, quantizer, updates, micro_batches=1, optimizer=None):
    replaced = {}
    for update in updates:
        x = features(update, batch=8)
        for part in x.chunk(micro_batches):
            revival.observe(part, quantizer(part).codes, pooled=part + 1)
        replaced[update] = int(revival.step(quantizer, update, optimizer).sum())
    return replaced


def test_schedule_of_initialisation_and_reseeding():
    quantizer = make_quantizer()
    replaced = run(Revival(EVERYTHING, 8, 6, 2), quantizer, range(1, 7))
    assert replaced[1] == 0
    assert replaced[2] == 12  # initialised from data
    assert replaced[4] == replaced[5] == 0


def test_micro_batches_equal_one_batch():
    results = []
    for parts in (1, 4):
        quantizer, revival = make_quantizer(), Revival(EVERYTHING, 8, 6, 2)
        run(revival, quantizer, range(1, 10), micro_batches=parts)
        results.append((quantizer.codebook, revival.centre.mean, revival.usage))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_resume_is_exact():
    quantizer, revival = make_quantizer(), Revival(EVERYTHING, 8, 6, 2)
    run(revival, quantizer, range(1, 6))
    resumed_quantizer, resumed = make_quantizer(), Revival(EVERYTHING, 8, 6, 2)
    resumed_quantizer.load_state_dict(copy.deepcopy(quantizer.state_dict()))
    resumed.load_state_dict(copy.deepcopy(revival.state_dict()))
    run(revival, quantizer, range(6, 13))
    run(resumed, resumed_quantizer, range(6, 13))
    assert torch.equal(quantizer.codebook, resumed_quantizer.codebook)
    for name, value in revival.state_dict().items():
        assert isinstance(value, torch.Tensor)
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_frames_enter_without_padding():
    config = RevivalConfig(reseed_interval=5, queue=50)
    quantizer, revival = make_quantizer(), Revival(config, 8, 6, 2)
    x = torch.randn(2, 7, 8)
    valid = torch.arange(7)[None] < torch.tensor([7, 3])[:, None]
    out = quantizer(x, valid)
    revival.observe(x, out.codes, valid)
    revival.step(quantizer, 1)
    assert torch.equal(revival.queue.content(), x[valid])
    assert revival.usage.sum(-1).tolist() == [10, 10]


def test_revival_revives_a_dead_quantizer():
    quantizer = make_quantizer()
    with torch.no_grad():
        quantizer.codebook[:, 1:] += 100.0  # one living code per group
    revival = Revival(RevivalConfig(reseed_interval=2), 8, 6, 2)
    run(revival, quantizer, range(1, 5))
    counts = code_usage(quantizer(features(9, 200)).codes, 6)
    assert (counts > 0).sum(-1).min() >= 4


def test_usage_counts_since_the_last_reseeding():
    quantizer, revival = make_quantizer(), Revival(EVERYTHING, 8, 6, 2)
    counted = []
    for update in range(1, 7):
        run(revival, quantizer, [update])
        counted.append(int(revival.usage[0].sum()) // 8)
    assert counted == [1, 0, 0, 1, 2, 0]  # initialised at 2, reseeded at 3 and 6


def test_moments_of_replaced_codes_are_cleared():
    quantizer = make_quantizer()
    optimizer = torch.optim.Adam(quantizer.parameters())
    quantizer(features(5)).kmeans_loss.backward()
    optimizer.step()
    state = optimizer.state[quantizer.codebook]
    state["exp_avg"].fill_(1.0)
    rows = torch.zeros(2, 6, dtype=torch.bool)
    rows[1, 3] = True
    clear_moments(optimizer, quantizer.codebook, rows)
    assert state["exp_avg"][1, 3].abs().max() == 0
    assert state["exp_avg"][~rows].min() == 1.0
    clear_moments(torch.optim.SGD([quantizer.codebook]), quantizer.codebook, rows)


def test_evenly_spaced():
    rows = torch.arange(10)[:, None]
    assert evenly_spaced(rows, 20) is rows
    assert evenly_spaced(rows, 5).flatten().tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    "bad",
    [
        {"queue": 0},
        {"reseed_interval": -1},
        {"centre_momentum": 1.5},
        {"dead_threshold": -0.1},
        {"remove_directions": 2},
        {"whiten_directions": 2},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        RevivalConfig(**bad)
