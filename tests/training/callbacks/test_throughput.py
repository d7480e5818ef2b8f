"""What `Throughput` says of a machine whose cores are busy."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from featherpose.training.callbacks import throughput


class Clock:
    """Time that passes as a test says: on the wall, and on this process's threads."""

    def __init__(self) -> None:
        self.wall = self.threads = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.threads


@pytest.mark.parametrize(
    ("threads", "cores", "waited", "said"),
    [
        (2, 1.9, 0.0, ""),  # alone
        (2, 0.8, 0.0, "2 threads get 0.8 cores"),
        (
            2,
            0.8,
            6.0,
            "",
        ),  # it waits for data: that is another matter, and too little is left to judge by
        (1, 0.5, 0.0, ""),  # a single thread waits for no other
        (4, 1.2, 0.0, "OMP_NUM_THREADS=3"),
    ],
)
def test_threads_that_hold_each_other_up_are_told_once(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: float, waited: float, said: str
) -> None:
    clock, messages = Clock(), []
    monkeypatch.setattr(throughput, "time", clock)
    monkeypatch.setattr("builtins.print", messages.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    trainer = SimpleNamespace(world_size=1, is_global_zero=True)
    module = SimpleNamespace(device=torch.device("cpu"))
    callback = throughput.Throughput()
    callback.on_train_epoch_start(trainer, module)
    for step in range(10):  # of four seconds each
        clock.wall += waited
        callback.on_train_batch_start(trainer, module, None, step)
        clock.wall += 4.0 - waited / 2
        clock.threads += cores * (4.0 - waited / 2)
        callback.on_train_batch_end(trainer, module, None, {"index": [0]}, step)
    assert len(messages) == (1 if said else 0)
    assert said in "".join(messages)


def test_somebody_who_trains_reads_it(
    typed: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went to a logger that every run silences."""
    monkeypatch.setattr(throughput, "JUDGED_AFTER", 0.0)
    monkeypatch.setattr(throughput, "CROWDED", 100.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = typed("train debug=tiny model=lapx_fast logger=none")
    assert done.code == 0, done.text
    assert done.text.count("OMP_NUM_THREADS=1") == 1
