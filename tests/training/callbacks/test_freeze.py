"""Frozen parts stay as they are to the bit, thaw at their epoch, and a run that goes on is the undisturbed one."""

from __future__ import annotations

import pytest
import torch
from lightning import Callback

from featherpose.errors import PoseError

from ..test_resume_points import EACH_STEP, Kill, Killed

FROZEN = ("freeze.parts=[stem,stages.0.heatmaps.bias]", "freeze.norms=true", "freeze.until=2")


class Stem(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def _look(self, trainer, pl_module) -> None:
        state = pl_module.network.state_dict()
        self.seen.append({name: value.clone() for name, value in state.items()})

    on_train_start = on_train_epoch_end = _look

    def moved(self, epoch: int) -> set[str]:
        before, after = self.seen[epoch], self.seen[epoch + 1]
        return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_part_stays_to_the_bit_and_thaws(fit, tmp_path) -> None:
    stem = Stem()
    fit(tmp_path, *FROZEN, "schedule.epochs=3", extra=(stem,))
    for epoch in (0, 1):
        moved = stem.moved(epoch)
        assert not any(name.startswith("stem.") for name in moved)
        assert "stages.0.heatmaps.weight" in moved
        assert "stages.0.heatmaps.bias" not in moved
    assert {"stem.conv.0.weight", "stem.conv.1.running_mean"} <= stem.moved(2)


def test_a_run_killed_before_the_thaw_goes_on_bit_for_bit(fit, tmp_path) -> None:
    words = (*FROZEN, "schedule.epochs=3")
    whole = fit(tmp_path / "whole", *words)
    with pytest.raises(Killed):
        fit(tmp_path / "dies", *words, *EACH_STEP, extra=(Kill(1, 2),))
    last = tmp_path / "dies" / "checkpoints" / "last.ckpt"
    again = fit(tmp_path / "dies", *words, checkpoint=last)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_part_that_is_not_there_is_told(fit, tmp_path) -> None:
    with pytest.raises(PoseError, match=r"freeze\.parts: this Hourglass has no part 'body'"):
        fit(tmp_path, "freeze.parts=[body]")
