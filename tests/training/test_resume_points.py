"""A run that dies anywhere and goes on ends with the undisturbed run's weights, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Callback
from torch.nn import functional as F


class Killed(BaseException):
    """Ends a run without a chance to save anything."""


class Kill(Callback):
    """Dies in the middle of a training batch, before its step, or within a validation."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        if (trainer.current_epoch, batch) == (self.epoch, self.batch):
            raise Killed

    def on_validation_batch_end(
        self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0
    ) -> None:
        if self.batch is None and trainer.current_epoch == self.epoch:
            raise Killed


class Seen(Callback):
    """Which persons were trained on, and random numbers that a network with dropout would draw."""

    def __init__(self) -> None:
        self.persons: dict[tuple[int, int], list[int]] = {}
        self.drawn: dict[tuple[int, int], float] = {}
        self.validated: list[int] = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.dropout = float(F.dropout(torch.ones(1000)).sum())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.persons[trainer.current_epoch, batch_idx] = batch["index"].tolist()
        self.drawn[trainer.current_epoch, batch_idx] = self.dropout

    def on_validation_end(self, trainer, pl_module) -> None:
        if (
            trainer.sanity_checking
        ):  # before the first step, resumed or not: no validation of the run
            return
        self.validated.append(trainer.current_epoch)


EMA = (
    "callbacks=ema",
    "callbacks.ema.decay=0.8",
    "callbacks.ema.update_every_n_steps=1",
    "callbacks.progress=null",
    "callbacks.previews=null",
)
EACH_STEP = ("callbacks.resume.every_minutes=0",)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The undisturbed runs, made once per recipe."""
    made = {}

    def of(fit, *overrides: str):
        if overrides not in made:
            seen, folder = Seen(), tmp_path_factory.mktemp("whole")
            module = fit(folder, *overrides, extra=(seen,))
            last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
            made[overrides] = module.state_dict(), seen, last
        return made[overrides]

    return of


@pytest.mark.parametrize(
    ("kill", "overrides"),
    [
        pytest.param(Kill(0, 3), EACH_STEP, id="frozen, within the epoch"),
        pytest.param(Kill(1, 0), EACH_STEP, id="first step of the ramp"),
        pytest.param(Kill(2, 4), EACH_STEP, id="ramp, last batch"),
        pytest.param(Kill(2, 2), (), id="ramp, back to the epoch's start"),
        pytest.param(Kill(3, 1), EACH_STEP, id="free"),
        pytest.param(Kill(1), (), id="in validation"),
        pytest.param(Kill(2, 3), (*EMA, *EACH_STEP), id="moving average, within the epoch"),
        pytest.param(Kill(1), EMA, id="moving average, in validation"),
        pytest.param(Kill(1, 3), (*EACH_STEP, "data.workers=2"), id="two workers"),
        pytest.param(
            Kill(2, 3),
            ("trainer.accumulate_grad_batches=2", *EACH_STEP),
            id="within an accumulated batch",
        ),
        pytest.param(
            Kill(2, 3),
            ("schedule.unit=step", "schedule.milestones=[7,12]", *EACH_STEP),
            id="rates by step",
        ),
    ],
)
def test_bit_for_bit(kill: Kill, overrides: tuple[str, ...], fit, whole, tmp_path: Path) -> None:
    steps = ("schedule.steps=20",) if "schedule.unit=step" in overrides else ()
    recipe = tuple(o for o in (*overrides, *steps) if o not in EACH_STEP)
    weights, seen, last = whole(fit, *recipe)

    before, after = Seen(), Seen()
    with pytest.raises(Killed):
        fit(tmp_path, *overrides, *steps, extra=(before, kill))
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    resumed = fit(tmp_path, *overrides, *steps, extra=(after,), checkpoint=checkpoint)

    assert before.persons | after.persons == seen.persons
    assert before.drawn | after.drawn == seen.drawn
    redone = set(before.persons) & set(after.persons)
    assert not redone or overrides != EACH_STEP, (
        "a checkpoint at every step leaves nothing to do again"
    )
    assert before.validated + after.validated == seen.validated
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, weights[name]), name

    end = torch.load(checkpoint, weights_only=True)
    assert end["global_step"] == last["global_step"]
    assert end["lr_schedulers"] == last["lr_schedulers"]
    for slot, moments in last["optimizer_states"][0]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, end["optimizer_states"][0]["state"][slot][name]), (slot, name)


def test_the_best_checkpoint_goes_on_too(fit, whole, tmp_path: Path) -> None:
    weights, seen, _ = whole(fit)
    with pytest.raises(Killed):
        fit(tmp_path, extra=(Kill(2, 1),))
    after = Seen()
    best = tmp_path / "checkpoints" / "best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    resumed = fit(tmp_path, extra=(after,), checkpoint=best)
    assert min(after.persons) == (epoch + 1, 0)
    assert all(seen.persons[key] == persons for key, persons in after.persons.items())
    assert all(torch.equal(value, weights[name]) for name, value in resumed.state_dict().items())


def test_a_finished_run_can_be_made_longer(fit, whole, tmp_path: Path) -> None:
    recipe = ("schedule.milestones=[3]",)
    weights, _, _ = whole(fit, *recipe)
    fit(tmp_path, *recipe, "schedule.epochs=2")
    longer = fit(tmp_path, *recipe, checkpoint=tmp_path / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, weights[name]) for name, value in longer.state_dict().items())


def test_another_batch_within_an_epoch_is_refused(fit, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, *EACH_STEP, extra=(Kill(1, 2),))
    with pytest.raises(Exception, match=r"keep schedule\.batch_size=4"):
        fit(tmp_path, "schedule.batch_size=2", checkpoint=tmp_path / "checkpoints" / "last.ckpt")
