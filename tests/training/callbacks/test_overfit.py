"""One batch until it is learned: what ends the run, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.skeletons import LSP
from featherpose.training.callbacks.overfit import describe, diagnose, which

SMALL = (
    "debug=overfit logger=none trainer=cpu callbacks.progress=null model.stages=1 model.channels=16 "
    "data.input_size=[64,64] schedule.batch_size=4 data.people={train:12,val:4,test:2}"
)
Typed = Callable[[str], Any]


def test_the_run_ends_as_soon_as_the_batch_is_learned(typed: Typed) -> None:
    easy = "callbacks.overfit.within=0.25 callbacks.overfit.share=0.4"
    done = typed(f"train {SMALL} {easy} schedule.learning_rate=3e-3")
    assert done.code == 0, done.text
    assert "one batch: 4 people" in done.out
    assert "The batch is learned after" in done.out


def test_a_batch_that_is_not_learned_is_a_failure(typed: Typed) -> None:
    done = typed(f"train {SMALL} schedule.learning_rate=1e-7 schedule.steps=4")
    assert done.code == 1
    assert "The batch is not learned. The rate 1e-07 is too low" in done.err


FALLING, RISING = np.linspace(1, 0.1, 40), np.linspace(1, 3, 40)


@pytest.mark.parametrize(
    ("losses", "moved", "says"),
    [
        ([1.0, float("nan")], 0.5, "The loss is nan at step 2: the rate 0.1 is too high"),
        (RISING, 0.5, "The rate 0.1 is too high: the loss went from 1 to 2.77 in 40 steps, and it"),
        (FALLING, 0.5, "It is still learning"),
        ([1.0] * 40, 0.001, "The rate 0.1 is too low"),
        ([1.0, *[0.5] * 39], 0.5, "It has stopped learning"),
    ],
)
def test_the_course_of_the_loss_says_what_is_wrong(
    losses: list[float], moved: float, says: str
) -> None:
    assert diagnose(list(losses), moved, 0.1).startswith(says)


def test_the_worst_joints_are_named() -> None:
    found = np.array([[1, 0, np.nan], [1, 1, np.nan]])
    assert which(found, ("a", "b", "c")) == (
        "Found: 75% of the joints; least of all b 1 of 2, a 2 of 2."
    )


def batch_of(visible: torch.Tensor, at: float = 20.0) -> dict[str, torch.Tensor]:
    people = len(visible)
    joints = torch.full((people, 14, 2), at)
    return {"image": torch.zeros(people, 3, 64, 64), "joints": joints, "visible": visible}


def test_what_the_batch_lacks_is_said() -> None:
    visible = torch.ones(3, 14)
    visible[0], visible[:, 12:] = 0, 0
    module: Any = SimpleNamespace(skeleton=LSP)
    assert describe(batch_of(visible), module) == [
        "one batch: 3 people, 24 of 42 joints have a target",
        "1 of them have no joint in their crop at all: empty targets",
        "never seen in this batch, so not learned: neck, head_top",
    ]
    for nothing in (batch_of(torch.zeros(2, 14)), batch_of(torch.ones(2, 14), at=64.0)):
        with pytest.raises(PoseError, match=r"None of the 2 people .* there is nothing to learn"):
            describe(nothing, module)
