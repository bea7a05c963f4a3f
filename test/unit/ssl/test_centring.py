import torch

from espnet2_dq.ssl.centring import RunningCentre, RunningNorm


def test_mean_is_plain_at_first_and_exponential_then():
    centre = RunningCentre(2, 0.5)
    centre.update(torch.tensor([[1.0, 3.0], [3.0, 5.0]]))
    assert centre.mean.tolist() == [2.0, 4.0]
    centre.update(torch.tensor([[6.0, 0.0]]))
    assert centre.mean.tolist() == [4.0, 2.0]
    centre.update(torch.tensor([[0.0, 0.0]]))
    assert centre.mean.tolist() == [2.0, 1.0]
    centre.update(torch.zeros(0, 2))
    assert centre.mean.tolist() == [2.0, 1.0]
    assert centre(torch.tensor([[4.0, 5.0]])).tolist() == [[2.0, 4.0]]


def speakers_and_languages(count, generator):
    """Features in which the speaker (axis 0) is ten times as loud as the language."""
    speaker = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1
    language = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1
    rows = 0.1 * torch.randn(count, 6, generator=generator)
    rows[:, 0] += 10 * speaker + 3
    rows[:, 1] += language
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator()))[0]
    return rows @ turn, speaker, language


def test_the_loudest_direction_goes_and_the_next_stays():
    generator = torch.Generator().manual_seed(0)
    centre = RunningCentre(6, 0.05, remove=1)
    rows, _, _ = speakers_and_languages(800, generator)
    for batch in rows.split(8):
        centre.update(batch)
    rows, speaker, language = speakers_and_languages(400, generator)
    out = centre(rows)

    def spread(labels):
        return (out[labels > 0].mean(0) - out[labels < 0].mean(0)).norm()

    assert spread(language) > 1.8
    assert spread(speaker) < 0.5


def taken_in(rows, **directions):
    """What a centre leaves of the rows it has seen, and their principal directions."""
    centre = RunningCentre(rows.shape[1], 1.0, **directions)
    for _ in range(10):
        centre.update(rows)
    principal = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2]
    return centre(rows) @ principal.T, (rows - rows.mean(0)) @ principal.T


def test_removed_directions_are_those_of_a_singular_value_decomposition():
    rows = torch.randn(50, 5) * torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    kept, all_of_it = taken_in(rows, remove=2)
    assert kept[:, :2].abs().max() < 1e-4
    torch.testing.assert_close(kept[:, 2:], all_of_it[:, 2:], atol=1e-4, rtol=1e-4)


def test_whitened_directions_have_equal_variance_and_the_rest_is_gone():
    rows = torch.randn(50, 5) * torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    kept, _ = taken_in(rows, remove=1, whiten=3)
    covariance = kept.T @ kept / len(kept)
    expected = torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(covariance, expected, atol=1e-4, rtol=1e-4)


def test_state_is_in_buffers():
    centre, other = RunningCentre(4, 0.5, 1, 2), RunningCentre(4, 0.5, 1, 2)
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        centre.update(torch.randn(3, 4, generator=generator))
    other.load_state_dict(centre.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(other(x), centre(x))
    assert not torch.equal(centre(x), x - centre.mean)


def test_running_norm_approaches_mean_and_deviation():
    torch.manual_seed(0)
    norm = RunningNorm(3, momentum=0.01)
    scale, shift = torch.tensor([1.0, 5.0, 0.1]), torch.tensor([0.0, 20.0, -3.0])
    for _ in range(400):
        norm.observe(torch.randn(6, 3) * scale + shift)
        norm.step()
    rows = norm(torch.randn(1000, 3) * scale + shift)
    assert rows.mean(0).abs().max() < 0.3
    assert ((rows.std(0) > 0.85) & (rows.std(0) < 1.25)).all()


def test_running_norm_changes_between_updates_only():
    norm = RunningNorm(3, momentum=0.1)
    x = torch.randn(4, 3) + 2.0
    before = norm(x)
    norm.observe(x)
    assert torch.equal(norm(x), before)
    halves = RunningNorm(3, momentum=0.1)
    for part in (x[:1], x[1:]):
        halves.observe(part)
    for one in (norm, halves):
        one.step()
    assert not torch.equal(norm(x), before)
    assert torch.equal(norm.mean, halves.mean)
    norm.step()  # nothing observed: nothing changes
    assert torch.equal(norm.mean, halves.mean)
