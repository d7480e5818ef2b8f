"""What a training step costs: the loop above a bare one, and each network on the device at hand."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from featherpose.machine import keep_freed_memory
from featherpose.overrides.as_dict import as_dict
from featherpose.pixels import normalise
from featherpose.place import CONF
from featherpose.targets import build
from featherpose.training.build import build_module, build_training
from featherpose.training.callbacks.gamma_warmup import GammaWarmup
from featherpose.training.callbacks.nan_guard import NanGuard
from featherpose.training.callbacks.resume import Resume
from featherpose.training.callbacks.stop_cleanly import StopCleanly
from featherpose.training.callbacks.throughput import Throughput
from featherpose.training.module import PoseModule
from featherpose.training.schedules import Schedule
from featherpose.training.trainer import precision

BUDGET_MS = 1.5
QUIET: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
WARM = 20  # steps of a round before the clock starts


class Tiny(nn.Module):
    """One convolution with the contract of a network: a step of it is little more than the loop around it."""

    stride = 4

    def __init__(self, joints: int) -> None:
        super().__init__()
        self.joints = joints
        self.conv = nn.Conv2d(3, joints, 7, stride=4, padding=3)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.conv(images)]


class Clock(Callback):
    """Seconds and CPU seconds a step, from the start of step `warm` to the end of the last one."""

    def __init__(self, warm: int) -> None:
        self.warm = warm

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.warm:
            self.began = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = trainer.global_step - self.warm
        self.wall, self.cpu = (
            (now - then) / steps for now, then in zip(clocks(), self.began, strict=True)
        )


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def run(
    rounds: int = 7,
    steps: int = 200,
    networks: list[str] | None = None,
    dataset: str = "synthetic",
    input_size: list[int] | None = None,
    batch_size: int = 8,
    network_steps: int = 4,
    workers: int = 2,
    hardware: str = "auto",
    out: str | None = None,
) -> None:
    """Prints both tables; `out` keeps the second one as a .csv file."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    console = Console(highlight=False)
    print_overhead(console, measure_overhead(rounds, steps))
    if not networks:
        return
    words = [
        f"data={dataset}",
        f"schedule.batch_size={batch_size}",
        f"data.workers={workers}",
        f"trainer={hardware}",
    ]
    if input_size:
        words.append(f"data.input_size={list(input_size)}".replace(" ", ""))
    rows = []
    for network in track(networks, "networks", console=console, transient=True):
        # A process of its own: the peak of its memory is not another network's
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(measure_network, network, words, network_steps).result())
    print_networks(console, rows)
    if out:
        with Path(out).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def composed(overrides: list[str]) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train",
            [
                "callbacks=none",
                "logger=none",
                "paths.output=.",
                *overrides,
            ],
        )
    return as_dict(cfg)


def measure_overhead(rounds: int, steps: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and CPU milliseconds a step of three loops over the same batches, interleaved: medians."""
    torch.set_num_threads(1)
    config = composed(["schedule=quick", "data.input_size=[64,64]"])
    joints = config["data"]["joints"]
    config["model"] = {"_target_": f"{__name__}.Tiny", "joints": joints}
    batches: Any = [made_batch(2, joints, (64, 64))] * (steps + WARM)
    loader = DataLoader(batches, batch_size=None)
    loops = {"bare PyTorch": bare, "Lightning, one metric": plain, "with all callbacks": full}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in track(range(rounds), "overhead", transient=True):
        for name, loop in loops.items():
            module = build_module(config, build(config["model"]), (64, 64))
            found[name].append(loop(module, loader, config))
    return {
        name: (1e3 * median(w for w, _ in each), 1e3 * median(c for _, c in each))
        for name, each in found.items()
    }


def made_batch(count: int, joints: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Noise of that height and width with joints anywhere, as a loader gives its samples."""
    height, width = size
    return {
        "image": torch.randint(0, 255, (count, 3, height, width), dtype=torch.uint8),
        "joints": torch.rand(count, joints, 2) * height,
        "visible": torch.ones(count, joints),
        "index": torch.arange(count),
    }


def bare(module: PoseModule, loader: DataLoader, config: dict[str, Any]) -> tuple[float, float]:
    """The same network, loss and optimiser, and nothing else."""
    schedule = config["schedule"]
    optimiser = build(schedule["optimiser"])(
        module.network.parameters(), lr=Schedule.of(schedule).first_rate
    )
    began, total = clocks(), torch.zeros(())
    for step, batch in enumerate(loader):
        if step == WARM:
            began = clocks()
        outputs = module.network(normalise(batch["image"], module.channels_last))
        loss, _ = module.loss(outputs, batch["joints"], batch["visible"], module.stride)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.detach()
    wall, cpu = (
        (now - then) / (len(loader) - WARM) for now, then in zip(clocks(), began, strict=True)
    )
    return wall, cpu


def plain(
    module: PoseModule, loader: DataLoader, config: dict[str, Any], *callbacks: Callback
) -> tuple[float, float]:
    clock = Clock(WARM)
    keys: dict[str, Any] = {**QUIET, "enable_checkpointing": bool(callbacks)}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, limit_val_batches=0, callbacks=[*callbacks, clock], **keys
    )
    trainer.fit(module, loader)
    return clock.wall, clock.cpu


def full(module: PoseModule, loader: DataLoader, config: dict[str, Any]) -> tuple[float, float]:
    """What `src/train.py` adds at every step; the checkpoint at the end of the epoch comes after the clock."""

    class Point(Resume):
        def save(self, trainer: Trainer) -> None:
            """Writing is measured nowhere: it happens once an epoch."""

    callbacks = [
        GammaWarmup(0.2, 0.15, 0.25, "share"),
        NanGuard("."),
        Throughput(),
        Point("last.ckpt"),
    ]
    return plain(module, loader, config, *callbacks, StopCleanly("last.ckpt"))


def measure_network(network: str, words: list[str], steps: int) -> dict[str, Any]:
    """Images a second, time spent waiting for data and the peak of memory of some steps of real training."""
    keep_freed_memory()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    own = (
        []
        if any(word.startswith("data.input_size") for word in words)
        else ["data.input_size=null"]
    )
    config = composed(
        [f"model={network}", *own, *words, "trainer.limit_val_batches=0", "schedule.epochs=2"]
    )
    batch, warm = config["schedule"]["batch_size"], 2
    config["trainer"].update(
        max_epochs=1, max_steps=-1, limit_train_batches=steps + warm, plugins=None
    )
    module, data = build_training(config)
    clock, waiting = Clock(warm), Waiting(warm)
    choice = precision(config["trainer"]["precision"], config["trainer"]["accelerator"])
    trainer = build(
        config["trainer"],
        callbacks=[waiting, clock],
        precision=choice,
        enable_checkpointing=False,
        **QUIET,
    )
    trainer.fit(module, datamodule=data)
    device = trainer.strategy.root_device
    gpu = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    memory = psutil.Process().memory_info()
    return {
        "network": network,
        "device": torch.cuda.get_device_name(device)
        if gpu is not None
        else f"{torch.get_num_threads()} CPU threads",
        "precision": choice,
        "height": data.input_size[0],
        "width": data.input_size[1],
        "batch": batch,
        "images_per_s": batch / clock.wall,
        "data_wait": waiting.seconds / steps / clock.wall,
        "memory_gib": gpu
        if gpu is not None
        else getattr(memory, "peak_wset", peak_resident()) / 2**30,
    }


class Waiting(Callback):
    """Seconds between the end of a step and the next batch."""

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.seconds = 0.0
        self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx > self.warm:
            self.seconds += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._ended = time.perf_counter()


def peak_resident() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def print_overhead(console: Console, found: dict[str, tuple[float, float]]) -> None:
    first = next(iter(found.values()))
    table = Table(title="One step of one convolution (batch 2, 64x64, one thread), medians")
    for column in ("loop", "ms", "above bare", "CPU ms", "above bare"):
        table.add_column(column, justify="left" if column == "loop" else "right")
    for name, (wall, cpu) in found.items():
        table.add_row(
            name, f"{wall:.2f}", f"{wall - first[0]:+.2f}", f"{cpu:.2f}", f"{cpu - first[1]:+.2f}"
        )
    console.print(table)
    worst = max(cpu for _, cpu in found.values()) - first[1]
    verdict = "within" if worst <= BUDGET_MS else "ABOVE"
    console.print(f"{verdict} the budget of {BUDGET_MS} ms a step: {worst:.2f} ms of CPU time")


def print_networks(console: Console, rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    table = Table(
        title=f"Training on {first['device']}, {first['precision']}, batch {first['batch']}"
    )
    for column in ("network", "input", "images/s", "waiting for data", "peak memory"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        size, wait = f"{row['height']}x{row['width']}", f"{row['data_wait']:.1%}"
        table.add_row(
            row["network"], size, f"{row['images_per_s']:.2f}", wait, f"{row['memory_gib']:.2f} GiB"
        )
    console.print(table)
