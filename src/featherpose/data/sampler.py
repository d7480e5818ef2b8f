"""In which order people are seen: a function of seed and epoch, so that a run can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch
from torch.utils.data import DistributedSampler


class PersonSampler(DistributedSampler):
    """Keys (epoch, index) of this process, in the order that (seed, epoch) gives.

    It is a DistributedSampler so that Lightning leaves it in place and calls `set_epoch`. Under several processes the
    order is padded by its own start and dealt out in turn. `len` is the length of the whole
    epoch even where a resumed one starts late: Lightning counts batches by it.

    A last training batch of a single person is left out, another one each epoch: batch norm after global pooling has
    nothing to take a deviation of.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int = 0,
        shuffle: bool = True,
        ranks: int = 1,
        rank: int = 0,
        batch_size: int = 1,
    ) -> None:
        super().__init__(
            dataset,  # ty: ignore[invalid-argument-type]
            num_replicas=ranks,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=False,
        )
        self.count = len(dataset)
        self.batch_size = batch_size
        self._position = (0, 0)

    def __len__(self) -> int:
        several = self.shuffle and 1 < self.batch_size < self.num_samples
        alone = several and self.num_samples % self.batch_size == 1
        return self.num_samples - alone

    def set_position(self, epoch: int, batches_done: int) -> None:
        """Epoch `epoch` starts after `batches_done` batches; every other epoch starts at its beginning."""
        self.epoch = epoch
        self._position = (epoch, batches_done)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, batches_done = self._position
        start = batches_done * self.batch_size if epoch == self.epoch else 0
        order, epoch = self._order()[start:], self.epoch
        return ((epoch, int(index)) for index in order)

    def _order(self) -> np.ndarray:
        if self.shuffle:
            word = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0]
            mix = torch.Generator().manual_seed(int(word) >> 1)
            order = torch.randperm(self.count, generator=mix).numpy()
        else:
            order = np.arange(self.count)
        order = np.resize(order, self.total_size)  # filled up with its own start
        mine = order[self.rank : self.total_size : self.num_replicas]
        return mine[: len(self)]
