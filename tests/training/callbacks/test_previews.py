"""When a preview is due; what it shows is tested with the report."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from featherpose.training.callbacks.previews import Previews


@pytest.mark.parametrize(
    ("every", "apart", "length", "expected"),
    [
        (5, 1, {"max_epochs": 12}, [0, 5, 10, 11]),
        (5, 10, {"max_epochs": 120}, [9, 59, 109, 119]),
        (1, 5, {"max_epochs": 17}, [4, 9, 14]),  # the last validation is before the last epoch
        (5, 2, {"max_steps": 100}, [1, 9]),  # ten epochs of ten steps
        (0, 1, {"max_epochs": 3}, [2]),
    ],
)
def test_every_counts_validations(
    every: int, apart: int, length: dict[str, int], expected: list[int]
) -> None:
    previews = Previews("nowhere", every=every)
    run = {"max_epochs": -1, "max_steps": -1, "num_training_batches": 10} | length
    epochs = run["max_epochs"] if run["max_epochs"] > 0 else 10
    trainers = [
        SimpleNamespace(
            current_epoch=epoch, check_val_every_n_epoch=apart, accumulate_grad_batches=1, **run
        )
        for epoch in range(epochs)
        if (epoch + 1) % apart == 0  # where Lightning validates
    ]
    assert [t.current_epoch for t in trainers if previews.due(t)] == expected
