"""How long a run is in epochs, however its length was given."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from featherpose.training.callbacks.gamma_warmup import run_length


@pytest.mark.parametrize(
    ("given", "epochs"),
    [
        ({"max_epochs": 7}, 7),
        ({"max_epochs": 7, "max_steps": 10}, 7),
        # an epoch of 7 batches makes 4 steps of 2 batches each, the last one of one
        ({"max_steps": 10}, 3),
        ({"max_steps": 10, "max_epochs": None}, 3),
        ({"max_steps": 12}, 3),
        ({"max_steps": 10, "accumulate_grad_batches": 1}, 2),
        ({"max_steps": 10, "accumulate_grad_batches": 50}, 10),
        ({"max_steps": 10, "num_training_batches": math.inf}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_runs_length_in_epochs(given: dict[str, Any], epochs: float) -> None:
    usual = {"max_epochs": -1, "max_steps": -1, "accumulate_grad_batches": 2}
    trainer = SimpleNamespace(**{**usual, "num_training_batches": 7, **given})
    assert run_length(trainer) == epochs  # ty: ignore[invalid-argument-type]
