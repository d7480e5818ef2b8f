"""What rows by step cost: one run that logs in every second block of steps, and does not in the others.

The blocks take turns, so other work on the machine falls on both; CPU time counts what the run's process and the
processes that it started (W&B's own) used, wherever it waited.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import torch
from lightning import Callback, LightningModule, Trainer
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from featherpose.benchmarks.measured import Measured
from featherpose.benchmarks.training import QUIET, Tiny, composed, made_batch
from featherpose.errors import PoseError
from featherpose.settings import whole
from featherpose.targets import build
from featherpose.training.build import build_module
from featherpose.training.callbacks.step_log import StepLog
from featherpose.training.loggers import dashboards
from featherpose.training.loggers.metrics_file import MetricsFile

BUDGET = 0.01  # of a step


@dataclass
class Turns(Callback):
    """Takes the loggers and the callback that writes rows away in every second block of `steps` steps.

    The first block of either kind warms up and does not count.
    """

    steps: int
    off: list[tuple[float, float]] = field(default_factory=list)  # wall and CPU seconds a step
    on: list[tuple[float, float]] = field(default_factory=list)

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self.whole = trainer.loggers, trainer.callbacks
        self.began, self.writes = clocks(), True

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.steps:
            return
        now = clocks()
        wall, cpu = ((a - b) / self.steps for a, b in zip(now, self.began, strict=True))
        (self.on if self.writes else self.off).append((wall, cpu))
        self.writes = not self.writes
        loggers, callbacks = self.whole
        trainer.loggers = loggers if self.writes else []
        trainer.callbacks = [
            each for each in callbacks if self.writes or not isinstance(each, StepLog)
        ]
        self.began = clocks()

    def without(self, place: int) -> list[float]:
        """Seconds a step of each block, by the wall (0) or by CPU time (1)."""
        return [each[place] for each in self.off[1:]]

    def rows(self, place: int) -> list[float]:
        return [each[place] for each in self.on[1:]]


def clocks() -> tuple[float, float]:
    """Wall time, and CPU time of this process and of all that it started."""
    used = time.process_time()
    for child in psutil.Process().children(recursive=True):
        try:
            used += sum(child.cpu_times()[:2])
        except psutil.Error:  # it has just ended
            continue
    return time.perf_counter(), used


def run(
    network: str = "lapx",
    input_size: tuple[int, int] = (64, 64),
    batch_size: int = 4,
    rounds: int = 10,
    steps: int = 50,
    every: int = 50,
    logger: str = "wandb",
) -> list[Measured]:
    """Prints what rows cost a step of a network, and a step of one convolution, where it shows best."""
    if whole("batch_size", batch_size, least=1) == 1:
        raise PoseError(
            "batch_size=1 cannot be trained: batch normalisation needs more than one value a channel, and some "
            "networks pool a picture to one. Take batch_size=2 or more."
        )
    for key, value, least in (("rounds", rounds, 2), ("steps", steps, 1), ("every", every, 1)):
        whole(key, value, least=least)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    height, width = input_size
    torch.set_num_threads(1)
    words = [f"model={network}", f"data.input_size=[{height},{width}]", f"logger={logger}"]
    words += ["logger.wandb.mode=offline"] if logger == "wandb" else []
    small = {"_target_": f"{Tiny.__module__}.{Tiny.__name__}", "joints": 16}
    console = Console(highlight=False)
    found = {}
    for name, model, count in (("convolution", small, 10 * steps), (network, None, steps)):
        with tempfile.TemporaryDirectory() as folder:
            config = composed([*words, f"paths.runs={folder}"])
            config["model"] = model or config["model"]
            found[name] = measure(config, Path(folder), batch_size, rounds, count, every)
    show(console, found, every)
    return [
        Measured(
            f"a step of {name} with rows every {every} steps",
            "CPU ms",
            [1e3 * each for each in turns.rows(1)],
            "without rows",
            [1e3 * each for each in turns.without(1)],
        )
        for name, turns in found.items()
    ]


def measure(
    config: dict[str, Any], folder: Path, batch_size: int, rounds: int, steps: int, every: int
) -> Turns:
    """The turns of one run on made batches."""
    height, width = config["data"]["input_size"]
    joints = config["data"]["joints"]
    batches: Any = [made_batch(batch_size, joints, (height, width))] * (2 * steps * (rounds + 1))
    module = build_module(config, build(config["model"], joints=joints), (height, width))
    loggers = [
        MetricsFile(folder),
        *dashboards.build_loggers(OmegaConf.create(config), folder, "logging"),
    ]
    turns = Turns(steps)
    keys: dict[str, Any] = {**QUIET, "logger": loggers}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        log_every_n_steps=every,
        callbacks=[StepLog(), turns],
        enable_checkpointing=False,
        **keys,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))
    dashboards.finish(loggers, 0)
    return turns


def show(console: Console, found: dict[str, Turns], every: int) -> None:
    table = Table(title=f"Rows every {every} steps, medians over turns")
    for column in ("a step of", "clock", "ms without", "with", "cost", "share", "quartiles"):
        table.add_column(column, justify="left" if column in ("a step of", "clock") else "right")
    for name, turns in found.items():
        for place, clock in enumerate(("wall", "CPU")):
            table.add_row(name, clock, *cells(turns.without(place), turns.rows(place)))
    console.print(table)
    small, network = found.values()
    pairs = zip(small.without(1), small.rows(1), strict=True)
    share = median(b - a for a, b in pairs) / median(network.without(1))
    verdict = "within" if share <= BUDGET else "ABOVE"
    console.print(
        f"{verdict} the budget of {BUDGET:.0%}: the CPU time that rows cost the convolution is "
        f"{share:.2%} of the network's step"
    )


def cells(without: Sequence[float], rows: Sequence[float]) -> list[str]:
    pairs = list(zip(without, rows, strict=True))
    shares = [b / a - 1 for a, b in pairs]
    low, _, high = quantiles(shares, n=4)
    return [
        f"{1e3 * median(without):.2f}",
        f"{1e3 * median(rows):.2f}",
        f"{1e3 * median(b - a for a, b in pairs):+.3f}",
        f"{median(shares):+.2%}",
        f"{low:+.1%} to {high:+.1%}",
    ]
