"""The bar's words."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from featherpose.training.callbacks.progress import ProgressBar


@pytest.mark.parametrize(
    ("epochs", "steps", "batches", "words"),
    [
        (5, -1, 10, "Epoch 2/4"),
        (-1, 35, 10, "Epoch 2/3"),  # Lightning alone: 2/-2
        (-1, -1, 10, "Epoch 2"),  # a run that the clock ends
        (-1, 35, math.inf, "Epoch 2"),
    ],
)
def test_a_run_in_steps_has_epochs_too(epochs: int, steps: int, batches: float, words: str) -> None:
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(
        max_epochs=epochs, max_steps=steps, num_training_batches=batches, accumulate_grad_batches=1
    )
    assert bar._get_train_description(2).rstrip() == words
