import torch

from espnet2_dq.ssl.kmeans import kmeans, spread_choice, squared_distance


def blobs(per_blob=30):
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [9.0, 9.0]])
    return centres, centres.repeat(per_blob, 1) + 0.1 * torch.randn(4 * per_blob, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_finds_separated_blobs():
    centres, x = blobs()
    found = kmeans(x, 4, generator())
    assert squared_distance(centres, found).max() < 0.01


def test_is_deterministic_given_the_generator():
    _, x = blobs()
    assert torch.equal(kmeans(x, 3, generator(1)), kmeans(x, 3, generator(1)))


def test_lloyd_never_increases_the_error():
    torch.manual_seed(1)
    x = torch.randn(200, 3)
    errors = [
        squared_distance(x, kmeans(x, 7, generator(2), iterations=n)).sum().item()
        for n in range(6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_fewer_rows_than_clusters():
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    found = kmeans(x, 5, generator())
    assert found.shape == (5, 2)
    assert squared_distance(x, found).max() == 0


def test_choice_avoids_existing_centres():
    centres, x = blobs()
    chosen = x[spread_choice(x, 1, generator(3), start=centres[:3])]
    assert (chosen - centres[3]).norm() < 1.0


def test_choice_among_equal_rows():
    chosen = spread_choice(torch.ones(4, 2), 3, generator())
    assert chosen.shape == (3,)
