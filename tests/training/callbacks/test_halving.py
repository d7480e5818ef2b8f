"""Of the trials of a search the worse ones end early, each compared with those that have trained as long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from featherpose.errors import BrokenOff, PoseError
from featherpose.sweeps import study
from featherpose.sweeps.job import free_port
from featherpose.training.callbacks.halving import Halving, trial_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep's folder whose search has proposed six trials."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    opened = study.open_study(tmp_path, ["maximize"])
    for number in range(6):
        study.propose(opened, study.sampler_of("random", 0, number, 6))
    return tmp_path


def epochs_of(
    folder: Path, number: int, scores: list[float], monkeypatch: pytest.MonkeyPatch
) -> int:
    """After how many epochs job `number` with these scores ends."""
    job = OmegaConf.create({"sweep": {"dir": str(folder)}, "job": {"num": number}})
    monkeypatch.setattr(HydraConfig, "get", lambda: job)
    trainer: Any = SimpleNamespace(
        is_global_zero=True,
        sanity_checking=False,
        max_epochs=len(scores),
        state=SimpleNamespace(fn="fit"),
        strategy=SimpleNamespace(broadcast=lambda value: value),
    )
    halving = Halving(first=1, keep=2)
    halving.setup(trainer, SimpleNamespace(), "fit")  # ty: ignore
    for epoch, score in enumerate(scores):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"val/score": score}
        try:
            halving.on_validation_end(trainer, SimpleNamespace())  # ty: ignore
        except BrokenOff:
            return epoch + 1
    return len(scores)


def test_the_worse_ones_end_at_the_epochs_of_the_rungs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(number: int, *scores: float) -> int:
        return epochs_of(folder, number, list(scores), monkeypatch)

    assert run(0, 50, 60, 70, 80, 90) == 5  # nobody to compare with
    assert run(1, 10, 99, 99, 99, 99) == 1  # 99 would come later: compared after one epoch
    assert run(2, 60, 40, 99, 99, 99) == 2  # better after one, worse after two
    assert run(3, 60, 65, 5, 5, 99) == 4  # 3 is no rung, 4 is
    assert run(4, 90, 95, 95, 95, 1) == 5  # nobody is ended after its last epoch


def test_a_trial_is_found_by_the_number_of_its_job(folder: Path) -> None:
    trial_of(folder, 4, 1, 3).report(5.0, 1)
    trials = study.open_study(folder, ["maximize"]).get_trials()
    assert [each.intermediate_values for each in trials] == [{}, {}, {}, {}, {1: 5.0}, {}]


def test_outside_a_search_it_says_what_it_is_for(tmp_path: Path) -> None:
    for number in (None, 3):
        with pytest.raises(PoseError, match="use it with -m hydra/sweeper=search"):
            trial_of(tmp_path, number, 1, 3)


def test_several_objectives_have_no_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.open_study(tmp_path, ["maximize", "minimize"])
    with pytest.raises(PoseError, match="with several objectives"):
        trial_of(tmp_path, 0, 1, 3)


@pytest.mark.parametrize("wrong", [{"first": 0}, {"keep": 1}])
def test_wrong_values_are_one_sentence(wrong: dict[str, int]) -> None:
    with pytest.raises(PoseError, match=r"callbacks\.halving needs"):
        Halving(**wrong)


class Worse(L.LightningModule):
    """Learns nothing; its score of an epoch is what it is told, on one rank otherwise than on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Tensor) -> Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor) -> None:
        self.log("val/score", 20.0 + 2 * self.global_rank, sync_dist=True)  # 21 over both

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class OfTrial(Halving):
    """Of a job that another process of this test started; every rank writes how it ended."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(first=1, keep=2)
        self.folder, self.number = folder, number

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if trainer.is_global_zero:
            self.trial = trial_of(self.folder, self.number, self.first, self.keep)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        try:
            super().on_validation_end(trainer, pl_module)
        except BrokenOff as error:
            (self.folder / f"rank{trainer.global_rank}.txt").write_text(str(error))
            trainer.strategy.barrier()  # the first process to end takes the others along
            raise


@pytest.mark.slow
def test_all_processes_of_a_run_end_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.syspath_prepend(str(root))  # the ranks find this module by its name
    monkeypatch.setenv("MASTER_PORT", str(free_port(22000)))
    other = trial_of(folder, 0, 1, 2)
    for epoch, score in ((1, 10.0), (2, 50.0)):  # worse than 21 after one epoch, better after two
        other.report(score, epoch)
        assert not other.should_prune()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=DDPStrategy(start_method="spawn", timeout=timedelta(seconds=300)),
        max_epochs=6,
        callbacks=[OfTrial(folder, 1)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with pytest.raises(Exception, match="not among the best 1/2"):
        trainer.fit(Worse(), DataLoader(torch.ones(4, 1)), DataLoader(torch.ones(4, 1)))
    ended = [(folder / f"rank{rank}.txt").read_text() for rank in (0, 1)]
    assert ended == ["after epoch 2 not among the best 1/2 of the search"] * 2
    trials = study.open_study(folder, ["maximize"]).get_trials()
    assert trials[1].intermediate_values == {1: 21.0, 2: 21.0}, "told by one process, of both"
