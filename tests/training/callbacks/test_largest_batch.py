"""The largest batch that fits into a memory that is made small here: the search, and the step that is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from featherpose.training.callbacks import largest_batch
from featherpose.training.callbacks.largest_batch import LargestBatch, largest
from featherpose.training.module import Batch, PoseModule

from .test_overfit import SMALL


@pytest.mark.parametrize("most", [8, 100, 4096])
@pytest.mark.parametrize("room", [0, 7, 8, 23, 24, 95, 99, 100, 1000, 5000])
def test_the_largest_is_found_in_few_tries(room: int, most: int) -> None:
    tried = []

    def fitting(people: int) -> bool:
        tried.append(people)
        return people <= room

    assert largest(fitting, most) == min(room, most) // 8 * 8
    assert max(tried) <= most and len(tried) == len(set(tried)) <= 20


def test_a_run_says_it_where_the_memory_is_a_gpus(
    typed: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped, of_size = [], largest_batch.of_size

    def small(batch: Batch, people: int) -> Batch:
        if people > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return of_size(batch, people)

    def step(self: PoseModule, batch: Batch, number: int) -> torch.Tensor:
        stepped.append((len(batch["image"]), len(batch["joints"]), self.network.training))
        return training_step(self, batch, number)

    training_step = PoseModule.training_step
    monkeypatch.setattr(largest_batch, "of_size", small)
    monkeypatch.setattr(PoseModule, "training_step", step)
    easy = "callbacks.overfit.share=0 callbacks.overfit.every=1 schedule.steps=2"
    assert "largest batch" not in typed(f"train {SMALL} {easy}").out  # a CPU's is not filled
    monkeypatch.setattr(LargestBatch, "devices", ("cpu",))
    done = typed(f"train {SMALL} {easy}")
    assert done.code == 0, done.text
    assert "The largest batch that fits into this GPU's memory is 16 people" in done.out
    assert stepped[-2:] == [(8, 8, True), (16, 16, True)]
