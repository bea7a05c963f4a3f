"""Iterator factory for ESPnet's trainer: our batch plans over ESPnet's dataset."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset

from espnet2_dq.data.batches import Draw
from espnet2_dq.tasks.collate import Collate


class DrawnDataset(Dataset[Any]):
    """Looks an utterance up by its :class:`Draw`, so that the collate sees both."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, draw: Draw) -> tuple[Draw, dict[str, np.ndarray]]:
        _, streams = self.dataset[draw.utt_id]
        return draw, streams


class PlannedIterFactory(AbsIterFactory):
    """Build the loader of an epoch from ``plan(epoch)``.

    Every rank computes the same global batches and takes its own utterances of
    each, so that two ranks together see what one process would see.

    Args:
        dataset: ESPnet dataset, indexed by utterance id.
        plan: Batches of an epoch, as ``[[Draw, ...], ...]``.
        collate: Told the epoch before it is handed to the loader.
        rank: This process.
        world_size: All processes.
        num_workers: Loader processes.
        fixed_epoch: Epoch that crops and masks are drawn for (validation), or
            ``None`` for the running one.
    """

    def __init__(
        self,
        dataset: Any,
        plan: Callable[[int], list[list[Draw]]],
        collate: Collate,
        *,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        fixed_epoch: int | None = None,
    ) -> None:
        self.dataset = DrawnDataset(dataset)
        self.plan = plan
        self.collate = collate
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.fixed_epoch = fixed_epoch

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Iterator[Any]:
        """Return the loader of ``epoch``; ``shuffle`` is part of the plan already."""
        batches = self.plan(epoch)
        shares = [batch[self.rank :: self.world_size] for batch in batches]
        self.collate.epoch = epoch if self.fixed_epoch is None else self.fixed_epoch
        return DataLoader(  # type: ignore[return-value]
            self.dataset,
            batch_sampler=shares,
            collate_fn=self.collate,
            num_workers=self.num_workers,
        )
