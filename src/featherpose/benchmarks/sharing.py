"""What workers that share people add: their start, and memory of their own. Imports what a worker needs, no more."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from featherpose.data.dataset import CropDataset, calm_worker
from featherpose.data.sampler import PersonSampler
from featherpose.person import People, Person, Persons
from featherpose.skeletons import Skeleton

EPOCHS = 2
BATCH = 64
SIZE = (64, 48)  # of the crops
PICTURE = np.zeros((64, 64, 3), np.uint8)


@dataclass(frozen=True)
class Sharing:
    """Of one worker; what was measured is the largest of all."""

    seconds: float  # of CPU until it is ready
    wait: float  # on the clock, until all are ready
    idle: float  # MB of its own when it has nothing to do, with the same imports
    added: float  # MB beyond that, when all people were seen twice


def measure(persons: Persons, skeleton: Skeleton, workers: int, method: str) -> Sharing:
    """Starts workers by `method` (fork, spawn, forkserver), which make crops of blank pictures."""
    idle = _worked(persons[:1], skeleton, workers, method, epochs=0)
    busy = _worked(persons, skeleton, workers, method, EPOCHS)
    nothing = min(ready.megabytes for ready in idle.ready)
    return Sharing(
        seconds=max(ready.seconds for ready in busy.ready),
        wait=busy.wait,
        idle=nothing,
        added=max(busy.megabytes) - nothing,
    )


@dataclass(frozen=True)
class _Ready:
    pid: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class _Worked:
    ready: Sequence[_Ready]
    wait: float
    megabytes: Sequence[float]


def _worked(
    persons: Persons, skeleton: Skeleton, workers: int, method: str, epochs: int
) -> _Worked:
    dataset = CropDataset(People(persons), _blank, skeleton, SIZE)
    context = get_context(method)
    told = context.SimpleQueue()
    sampler = PersonSampler(dataset) if epochs else ()
    loader = DataLoader(
        dataset,
        BATCH,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=partial(_tell, told),
        persistent_workers=True,
        multiprocessing_context=context,
    )
    start = time.perf_counter()
    batches = iter(loader)
    ready = [told.get() for _ in range(workers)]
    wait = time.perf_counter() - start
    for epoch in range(epochs):
        for _ in batches if epoch == 0 else loader:
            pass
    return _Worked(ready, wait, [_own(each.pid) for each in ready])


def _blank(person: Person) -> np.ndarray:
    return PICTURE


def _tell(told: Any, number: int) -> None:
    calm_worker(number)
    told.put(_Ready(os.getpid(), time.process_time(), _own(os.getpid())))


def _own(pid: int) -> float:
    """Megabytes that this process shares with no other."""
    return psutil.Process(pid).memory_full_info().uss / 2**20


def report(console: Console, workers: int, shared: dict[tuple[int, str], Sharing]) -> None:
    table = Table(title=f"the dearest of {workers} workers, after {EPOCHS} epochs")
    for column in ("people", "by", "CPU to start", "all ready", "idle", "beyond that"):
        table.add_column(column, justify="right")
    for (count, method), one in shared.items():
        table.add_row(
            f"{count:,}", method, f"{one.seconds:.2f} s", f"{one.wait:.2f} s",
            f"{one.idle:.0f} MB", f"{one.added:.0f} MB",
        )  # fmt: skip
    console.print(table)
