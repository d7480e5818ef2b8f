"""The clock that ends a run: rate and gamma by the share of time, one last validation, going on."""

from __future__ import annotations

import math

import lightning as L
import pytest

from featherpose.errors import PoseError
from featherpose.training.callbacks import time_budget
from featherpose.training.callbacks.gamma_warmup import GammaWarmup
from featherpose.training.callbacks.time_budget import TimeBudget, rate_factor

from .test_training_callbacks import Data, Module

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Ticking(L.Callback):
    """Time as the test wants it: a second a step, from 10 seconds after the process's start."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.rates, self.gammas = 110.0, [], []
        monkeypatch.setattr(time_budget, "now", lambda: self.now)
        monkeypatch.setattr(time_budget, "process_began", lambda: 100.0)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.gammas.append(float(pl_module.network["neck"].gamma.detach()))

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.now += 1


def fitted(clock, *callbacks, checkpoint=None, folder=".", **keys):
    module = Module()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=-1, callbacks=[*callbacks, clock], num_sanity_val_steps=0,
        enable_checkpointing=False, default_root_dir=folder, **QUIET, **keys,
    )  # fmt: skip
    trainer.fit(module, datamodule=Data(), ckpt_path=checkpoint)
    return trainer, module


def test_the_run_ends_with_the_time_and_its_rate_with_it(monkeypatch):
    clock = Ticking(monkeypatch)
    budget = TimeBudget(seconds=40, reserve=10, rate="linear", warmup=0.0)  # 20 steps of 1 s
    trainer, module = fitted(clock, budget, check_val_every_n_epoch=7)
    assert trainer.global_step == 20
    base = trainer.optimizers[0].param_groups[0]["initial_lr"]
    expected = [base * (1 - i / 20) for i in range(20)]
    assert clock.rates == pytest.approx(expected)
    assert len(module.validated) == 2 * 2  # two batches, after epoch 7, and at the end, in epoch 10


def test_it_ends_in_the_first_epoch_too(monkeypatch):
    trainer, module = fitted(Ticking(monkeypatch), TimeBudget(12, reserve=1), max_steps=-1)
    assert trainer.global_step == 1
    assert len(module.validated) == 2


def test_gamma_follows_the_time(monkeypatch):
    clock = Ticking(monkeypatch)
    warmup = GammaWarmup(0.4, 0.25, 0.5, unit="share")
    fitted(clock, TimeBudget(40, reserve=10), warmup)  # 10 epochs of two steps
    by_epoch = [0, 0, 0] + [0.4 * (share - 0.25) / 0.5 for share in (0.3, 0.4, 0.5, 0.6, 0.7)]
    assert clock.gammas[:16:2] == pytest.approx(by_epoch)
    with pytest.raises(PoseError, match=r"schedule\.gamma\.unit=share"):
        fitted(Ticking(monkeypatch), TimeBudget(40), GammaWarmup(0.4, 1, 2))


def test_a_run_that_goes_on_spends_its_time_on_the_rest(monkeypatch, tmp_path):
    clock = Ticking(monkeypatch)
    trainer, _ = fitted(clock, TimeBudget(40, reserve=10), max_steps=10)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    clock = Ticking(monkeypatch)
    budget = TimeBudget(40, reserve=10, rate="linear", warmup=0.0)
    trainer, _ = fitted(clock, budget, checkpoint=tmp_path / "half.ckpt")
    base = trainer.optimizers[0].param_groups[0]["initial_lr"]
    assert clock.rates[0] == pytest.approx(base * 0.5)
    assert trainer.global_step == 10 + 20


def test_the_rates_shapes():
    assert rate_factor(0.5, "cosine") == pytest.approx(0.5)
    for share, factor in ((0, 1), (0.5, 0.55), (1, 0.1)):
        assert rate_factor(share, "cosine", final=0.1) == pytest.approx(factor)
        assert rate_factor(share, "linear", final=0.1) == pytest.approx(factor)
    assert rate_factor(0.25, "linear") == pytest.approx(0.75)
    assert rate_factor(0.9, "constant") == 1.0
    assert rate_factor(0.01, "constant", warmup=0.02) == pytest.approx(0.5)
    assert 0 < rate_factor(0.0, "cosine", warmup=0.1) < 0.01
    middle = rate_factor(0.1 + 0.9 / 3, "cosine", warmup=0.1)
    assert middle == pytest.approx((1 + math.cos(math.pi / 3)) / 2)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"seconds": 20, "reserve": 30}, "longer than its reserve"),
        ({"seconds": 60, "rate": "steps"}, "cosine, linear, constant"),
        ({"seconds": 60, "warmup": 2}, "are shares"),
    ],
)
def test_what_cannot_be_is_a_sentence(keys, words):
    with pytest.raises(PoseError, match=words):
        TimeBudget(**keys)


def test_a_start_that_took_all_the_time_is_a_sentence(monkeypatch):
    with pytest.raises(PoseError, match="Nothing is left of 9 seconds"):
        fitted(Ticking(monkeypatch), TimeBudget(9, reserve=1))


def test_each_validation_of_the_training_is_told_once(monkeypatch, capsys):
    clock, budget = Ticking(monkeypatch), TimeBudget(40, reserve=10)
    trainer, module = fitted(clock, budget, check_val_every_n_epoch=5)
    told = [line for line in capsys.readouterr().out.splitlines() if "of the time" in line]
    assert [line.split(": ")[0] for line in told] == [
        " 50% of the time, step 10, epoch 4",
        "100% of the time, step 20, epoch 9",
    ]
    trainer.validate(module, datamodule=Data(), verbose=False)
    assert "of the time" not in capsys.readouterr().out
