"""Two processes on the CPU: the same result as one, the same gamma on both, every file written once."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import lightning as L
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Callback
from omegaconf import OmegaConf
from torch import nn

from featherpose.cli.train import refuse_ranks_that_sweep
from featherpose.errors import PoseError
from featherpose.models.layers import NonLocal
from featherpose.sweeps.job import free_port
from featherpose.training.callbacks.time_budget import TimeBudget

pytestmark = pytest.mark.slow

# Not ddp_fork: a fork waits for ever where a thread of an earlier test held a lock
TWO = ("trainer.devices=2", "+trainer.strategy=ddp_spawn")
# Batch norm would see halves of the batch; and Adam makes whole steps of the last bits of a sum
COMPARABLE = (
    "schedule.optimiser={_target_: torch.optim.SGD, _partial_: true}",
    "schedule.learning_rate=1e-3",
)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """The ranks unpickle the callbacks of this module by its name."""
    monkeypatch.syspath_prepend(str(root))


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below those that the system hands out, which another test may be given between Lightning's look and its use."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    monkeypatch.setenv("MASTER_PORT", str(free_port(21000 + 100 * worker)))


class FixedNorms(Callback):
    def on_train_epoch_start(self, trainer, pl_module) -> None:
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class Ranks(Callback):
    """What every rank holds after each step, and the scores it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[dict] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        (module,) = (m for m in pl_module.modules() if isinstance(m, NonLocal))
        optimiser = trainer.optimizers[0].state
        self.steps.append(
            {
                "epoch": trainer.current_epoch,
                "gamma": module.gamma.item(),
                "rate": trainer.optimizers[0].param_groups[0]["lr"],
                "moments of gamma": module.gamma in optimiser,
                "moments of theta": module.theta.weight in optimiser,
                "weights": [float(p.detach().double().sum()) for p in pl_module.parameters()],
                "persons": batch["index"].tolist(),
            }
        )

    def on_train_end(self, trainer, pl_module) -> None:
        scores = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        found = {"steps": self.steps, "scores": scores}
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(found))


class OfLaterStart(TimeBudget):
    """The second process began to train earlier than the first."""

    def on_train_start(self, trainer, pl_module) -> None:
        super().on_train_start(trainer, pl_module)
        self._began -= 100.0 * (1 + trainer.global_rank)


def ranks(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank*.json"))]


def test_two_processes_train_like_one(fit, taught: tuple[str, ...], tmp_path: Path) -> None:
    """With the labels' loss and a teacher's, who is asked once for both processes."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    words = (*taught, "model.stages=1", *COMPARABLE, "data.people.val=7", "loss.cache=true")
    words += (f"data.cache_folder='{tmp_path / 'two'}'",)
    double = fit(two, *words, *TWO, extra=(Ranks(two), FixedNorms()))
    assert len(list(two.glob("taught-*.npy"))) == 1
    single = fit(one, *words, extra=(Ranks(one), FixedNorms()))
    (alone,), pair = ranks(one), ranks(two)
    assert len(pair) == 2

    for step, left, right in zip(alone["steps"], pair[0]["steps"], pair[1]["steps"], strict=True):
        assert sorted(step["persons"]) == sorted(left["persons"] + right["persons"]), (
            "the global batch is the same"
        )
    for name, value in single.state_dict().items():
        torch.testing.assert_close(double.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert pair[0]["scores"] == pair[1]["scores"]
    assert pair[0]["scores"] == pytest.approx(alone["scores"], rel=1e-3, abs=1e-3)
    assert alone["scores"]["val/EPE"] > 0


def test_ranks_hold_the_same_gamma_in_every_phase(fit, tmp_path: Path) -> None:
    fit(tmp_path, *TWO, extra=(Ranks(tmp_path),))
    left, right = (found["steps"] for found in ranks(tmp_path))
    assert [step["gamma"] for step in left] == [step["gamma"] for step in right]
    assert [step["weights"] for step in left] == [step["weights"] for step in right]
    by_epoch = {epoch: [s for s in left if s["epoch"] == epoch] for epoch in range(4)}
    assert {s["gamma"] for s in by_epoch[0]} == {0.0}
    assert not any(s["moments of theta"] or s["moments of gamma"] for s in by_epoch[0]), "frozen"
    assert {round(s["gamma"], 6) for s in by_epoch[2]} == {0.1}, "half way up to 0.2"
    assert all(s["moments of theta"] and not s["moments of gamma"] for s in by_epoch[2]), "the ramp"
    free = [s["gamma"] for s in by_epoch[3]]
    assert len(set(free)) == len(free)
    assert all(abs(gamma - 0.2) < 0.02 for gamma in free)
    assert all(s["moments of gamma"] for s in by_epoch[3])


def test_ranks_learn_at_one_rate_under_a_time_budget(fit, tmp_path: Path) -> None:
    """Each has a clock and a start of its own, and gradients are averaged, weights never."""
    words = ("schedule.gamma={freeze: 0.1, ramp: 0.2, target: 0.2, unit: share}",)
    budget = OfLaterStart(seconds=3000, warmup=0.5)  # at first the rate is as the seconds since
    fit(tmp_path, *TWO, *words, "schedule.epochs=2", extra=(Ranks(tmp_path), budget))
    left, right = (found["steps"] for found in ranks(tmp_path))
    rates = [step["rate"] for step in left]
    assert rates == [step["rate"] for step in right]
    assert rates[0] == pytest.approx(rates[1], rel=0.5)
    assert rates[0] < rates[1], "it follows the clock"
    assert [step["weights"] for step in left] == [step["weights"] for step in right]


def test_a_batch_that_cannot_be_shared_is_told(fit, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="batch of 5 can't be shared by 2 processes"):
        fit(tmp_path, *TWO, "schedule.batch_size=5")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ddp_in_a_sweep_writes_everything_once(
    root: Path, python: str, small: tuple[str, ...], tmp_path: Path
) -> None:
    command = [
        python,
        str(root / "src" / "train.py"),
        *small,
        "trainer=ddp_cpu",
        "schedule.epochs=2",
    ]
    command += [f"paths.runs={tmp_path}", "-m", "seed=3"]
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=880, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    (folder,) = tmp_path.glob("sweeps/*/0_*")
    record = json.loads((folder / "run.json").read_text())
    assert (record["state"], record["seed"], record["group"]) == ("finished", 3, folder.parent.name)
    assert "2 process(es)" in (folder / "output.log").read_text()
    assert (folder / "metrics.csv").read_text().count("\n") == 3, "a header and two epochs"
    assert len(list(tmp_path.glob("**/offline-run-*"))) == 1, "one W&B run"
    assert not list(tmp_path.glob("train/*")), "no rank made a folder of its own"


def test_ranks_that_would_sweep_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False
    )
    for mode, refused in ((RunMode.RUN, False), (RunMode.MULTIRUN, True)):
        monkeypatch.setattr(HydraConfig, "get", lambda mode=mode: OmegaConf.create({"mode": mode}))
        if refused:
            with pytest.raises(PoseError, match="leave hydra/launcher=processes"):
                refuse_ranks_that_sweep(trainer)
        else:
            refuse_ranks_that_sweep(trainer)
    refuse_ranks_that_sweep(L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
