"""Two gloo processes give what one gives."""

import subprocess
import sys

import pytest
import torch

from espnet2_dq.ssl.contrastive import gather_others, utterance_contrastive
from espnet2_dq.ssl.distributed import gather_rows
from espnet2_dq.ssl.health import spread
from espnet2_dq.ssl.quantizer import OnlineKMeans
from espnet2_dq.ssl.revival import Revival, RevivalConfig

WORKER = """
import sys
import torch
import torch.distributed as dist

folder, rank = sys.argv[1], int(sys.argv[2])
sys.path[:0] = sys.argv[3:]
torch.set_num_threads(1)
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
)
from espnet2_dq.ssl.contrastive import gather_others, utterance_contrastive
from espnet2_dq.ssl.distributed import gather_rows
from espnet2_dq.ssl.health import spread
from espnet2_dq.ssl.quantizer import OnlineKMeans
from espnet2_dq.ssl.revival import Revival, RevivalConfig

data = torch.load(f"{folder}/data.pt")
part = slice(0, 5) if rank == 0 else slice(5, 8)  # unequal on purpose
quantizer = OnlineKMeans(8, 6)
quantizer.load_state_dict(data["quantizer"])
revival = Revival(RevivalConfig(**data["config"]), 8, 6, 2)
for update, x in enumerate(data["batches"], 1):
    revival.observe(x[part], quantizer(x[part]).codes, pooled=x[part])
    revival.step(quantizer, update)
x, joint = data["batches"][0][part], data["joint"][part]
others = gather_others(x * 2 + 1, joint)
loss = utterance_contrastive(x, x * 2 + 1, joint, others=others)
torch.save(
    {
        "codebook": quantizer.codebook.detach(),
        "state": revival.state_dict(),
        "loss": loss.loss,
        "spread": spread(x, distributed=True),
        "rows": gather_rows(x),
    },
    f"{folder}/out{rank}.pt",
)
# Without it a finished rank aborts now and then when gloo's threads end.
dist.barrier()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    torch.manual_seed(0)
    config = {
        "init": "data",
        "init_update": 2,
        "queue": 40,
        "reseed_interval": 3,
        "centre_momentum": 0.2,
        "remove_directions": 1,
        "whiten_directions": 3,
    }
    data = {
        "batches": [torch.randn(8, 8) for _ in range(7)],
        "joint": torch.tensor([0, 1, 2, 0, 1, 2, 3, 3]),
        "quantizer": OnlineKMeans(8, 6).state_dict(),
        "config": config,
    }
    torch.save(data, folder / "data.pt")
    script = folder / "worker.py"
    script.write_text(WORKER)
    workers = [
        subprocess.Popen([sys.executable, script, folder, str(rank), *sys.path])
        for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    return data, [torch.load(folder / f"out{rank}.pt") for rank in range(2)]


def test_revival(results):
    data, (first, second) = results
    quantizer = OnlineKMeans(8, 6)
    quantizer.load_state_dict(data["quantizer"])
    revival = Revival(RevivalConfig(**data["config"]), 8, 6, 2)
    for update, x in enumerate(data["batches"], 1):
        revival.observe(x, quantizer(x).codes, pooled=x)
        revival.step(quantizer, update)
    assert torch.equal(first["codebook"], second["codebook"])
    torch.testing.assert_close(first["codebook"], quantizer.codebook.detach())
    for name, value in revival.state_dict().items():
        torch.testing.assert_close(first["state"][name], value)
        assert torch.equal(first["state"][name], second["state"][name])


def test_gathered_negatives(results):
    data, outs = results
    x = data["batches"][0]
    expected = utterance_contrastive(x, x * 2 + 1, data["joint"]).loss
    torch.testing.assert_close(torch.cat([out["loss"] for out in outs]), expected)


def test_spread_and_rows(results):
    data, outs = results
    for out in outs:
        torch.testing.assert_close(out["spread"], spread(data["batches"][0]))
        assert torch.equal(out["rows"], data["batches"][0])


def test_one_process_needs_no_group():
    x = torch.randn(3, 2)
    assert gather_rows(x) is x
    assert gather_others(x, torch.arange(3)) is None
    torch.testing.assert_close(spread(x, distributed=True), spread(x))
