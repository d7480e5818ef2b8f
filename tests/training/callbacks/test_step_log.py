"""Rows between two epochs: what they hold, when they come, and that they agree with the epoch's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from featherpose.training.loggers.metrics_file import MetricsFile


def steps_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "steps.csv")


def test_rows_every_few_steps_agree_with_the_epochs(fit, tmp_path: Path) -> None:
    words = ("trainer.log_every_n_steps=5", "model.stages=2")
    rates = ("schedule.learning_rate=1e-3", "schedule.part_rates={stem: 0.1}")
    fit(tmp_path, *words, *rates, logger=MetricsFile(tmp_path))
    steps, epochs = steps_of(tmp_path), pd.read_csv(tmp_path / "metrics.csv")
    assert steps["step"].tolist() == [5, 10, 15, 20]  # epochs have five steps
    for name in ("loss", "loss/stage1", "loss/stage2"):
        assert steps[f"train/step/{name}"].tolist() == pytest.approx(epochs[f"train/{name}"])
    assert steps["train/step/gamma/stage1"].tolist() == pytest.approx(epochs["gamma/stage1"])
    assert (steps["train/step/images_per_s"] > 0).all()
    assert steps["train/step/lr"].iloc[0] == pytest.approx(1e-3), "the stem's is a tenth of it"
    assert "train/step/gradient_norm" not in steps


class Rates(Callback):
    """What each step was made with."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.found.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_rate_is_that_of_the_step_itself(fit, tmp_path: Path, unit: str) -> None:
    rates = Rates()
    words = ("trainer.log_every_n_steps=1", "schedule.warmup=1", "schedule.milestones=[3]")
    length = ("schedule.unit=step", "schedule.steps=20") if unit == "step" else ()
    fit(tmp_path, *words, *length, extra=(rates,), logger=MetricsFile(tmp_path))
    assert len(set(rates.found)) == 3  # warm-up, the first rate, behind the milestone
    assert steps_of(tmp_path)["train/step/lr"].tolist() == pytest.approx(rates.found, rel=1e-6)
    epochs = pd.read_csv(tmp_path / "metrics.csv")["lr"].dropna().tolist()
    assert epochs == pytest.approx(rates.found[4::5], rel=1e-6)  # of each epoch's last step


def test_rows_within_an_epoch_and_accumulated_batches(fit, tmp_path: Path) -> None:
    overrides = ("trainer.log_every_n_steps=2", "trainer.accumulate_grad_batches=2")
    fit(tmp_path, *overrides, "schedule.epochs=2", logger=MetricsFile(tmp_path))
    assert steps_of(tmp_path)["step"].tolist() == [2, 4, 6]  # three steps an epoch, of five batches


class Norms(Callback):
    """The gradients' norm and the loss of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        squares = [p.grad.square().sum() for p in pl_module.parameters() if p.grad is not None]
        self.found.append(float(torch.stack(squares).sum().sqrt()))


def test_the_norm_of_the_gradients_by_option_and_before_clipping(fit, tmp_path: Path) -> None:
    norms = Norms()
    overrides = ("trainer.log_every_n_steps=3", "trainer.gradient_clip_val=0.001")
    wanted = "callbacks.steps.gradient_norm=true"
    fit(
        tmp_path,
        *overrides,
        wanted,
        "schedule.epochs=2",
        logger=MetricsFile(tmp_path),
        extra=(norms,),
    )
    steps = steps_of(tmp_path)
    found = [norms.found[step - 1] for step in steps["step"]]
    assert steps["train/step/gradient_norm"].tolist() == pytest.approx(found, rel=1e-4)
    assert min(found) > 0.001
    # Steps 3, 6 and 9; an epoch has five, and a row holds what came since the last row or the epoch's start
    since = [norms.losses[0:3], norms.losses[5:6], norms.losses[6:9]]
    means = [sum(each) / len(each) for each in since]
    assert steps["train/step/loss"].tolist() == pytest.approx(means, rel=1e-5)


def test_no_rows_where_none_are_wanted(fit, tmp_path: Path) -> None:
    fit(tmp_path, "trainer.log_every_n_steps=0", "schedule.epochs=1", logger=MetricsFile(tmp_path))
    assert not (tmp_path / "steps.csv").exists()
    assert (tmp_path / "metrics.csv").exists()
