"""What a training step costs: the loop above a bare one, and each network on the device at hand."""

from __future__ import annotations

import csv
import logging
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from featherpose.benchmarks.measured import Measured, beside_first
from featherpose.machine import elsewhere, keep_freed_memory
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
WARM, WARM_STEPS = (
    20,
    2,
)  # steps of a round before the clock starts: of one convolution, of a network
PARTS = ("waiting", "passes", "optimiser", "callbacks")  # of a step


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
    network_rounds: int = 3,
    workers: int = 2,
    hardware: str = "auto",
    out: str | None = None,
) -> list[Measured]:
    """Prints both tables; `out` keeps the second one as a .csv file."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    console = Console(highlight=False)
    loops = measure_overhead(rounds, steps)
    print_overhead(console, {name: medians(each) for name, each in loops.items()})
    cpu = {name: [cpu for _, cpu in each] for name, each in loops.items()}
    found = beside_first("{}, a step of one convolution", cpu)
    if not networks:
        return found
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
        rows.append(elsewhere(measure_network, network, words, network_steps, network_rounds))
    print_networks(console, rows)
    found += [in_rounds(row) for row in rows]
    if out:
        with Path(out).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return found


def in_rounds(row: dict[str, Any]) -> Measured:
    """A network's training beside the bare loop; the rounds leave the row, whose other values are its facts."""
    walls, bares = ([1e3 * each for each in row.pop(key)] for key in ("walls", "bares"))
    what = f"a step of {row['network']}, {row['height']}x{row['width']}, batch {row['batch']}"
    return Measured(what, "ms", walls, "a bare PyTorch loop", bares, facts=row)


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


def measure_overhead(rounds: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and CPU seconds a step of three loops over the same batches, interleaved, by round."""
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
    return found


def medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """In milliseconds."""
    return 1e3 * median(w for w, _ in rounds), 1e3 * median(c for _, c in rounds)


def made_batch(count: int, joints: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Noise of that height and width with joints anywhere, as a loader gives its samples."""
    height, width = size
    return {
        "image": torch.randint(0, 255, (count, 3, height, width), dtype=torch.uint8),
        "joints": torch.rand(count, joints, 2) * height,
        "visible": torch.ones(count, joints),
        "index": torch.arange(count),
    }


def bare(
    module: PoseModule,
    loader: Any,
    config: dict[str, Any],
    warm: int = WARM,
    steps: int | None = None,
    choice: str = "32-true",
) -> tuple[float, float]:
    """The same network, loss and optimiser, and nothing else: seconds and CPU seconds a step."""
    schedule, device = config["schedule"], module.device
    module.train()
    optimiser = build(schedule["optimiser"])(
        module.network.parameters(), lr=Schedule.of(schedule).first_rate
    )
    began, total = clocks(), torch.zeros((), device=device)
    steps = len(loader) - warm if steps is None else steps
    half = torch.autocast(device.type, torch.bfloat16, enabled=choice == "bf16-mixed")
    for step, given in enumerate(loader):
        if step == warm:
            began = clocks()
        if step == warm + steps:
            break
        batch = move_data_to_device(given, device)
        with half:
            outputs = module.network(normalise(batch["image"], module.channels_last))
            loss, _ = module.loss(outputs, batch["joints"], batch["visible"], module.stride)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.detach()
    wall, cpu = ((now - then) / steps for now, then in zip(clocks(), began, strict=True))
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
    return plain(module, loader, config, *of_a_run())


def of_a_run() -> list[Callback]:
    """What `src/train.py` adds at every step; the checkpoint at the end of the epoch comes after the clock."""

    class Point(Resume):
        def save(self, trainer: Trainer) -> None:
            """Writing is measured nowhere: it happens once an epoch."""

    return [
        GammaWarmup(0.2, 0.15, 0.25, "share"),
        NanGuard("."),
        Throughput(),
        Point("last.ckpt"),
        StopCleanly("last.ckpt"),
    ]


def measure_network(network: str, words: list[str], steps: int, rounds: int) -> dict[str, Any]:
    """Real training of some steps, in turn with a bare loop of the same network on the same data: images a second of
    both, where the time goes, and the peak of memory."""
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
    batch = config["schedule"]["batch_size"]
    config["trainer"].update(
        max_epochs=1, max_steps=-1, limit_train_batches=steps + WARM_STEPS, plugins=None
    )
    module, data = build_training(config)
    choice = precision(config["trainer"]["precision"], config["trainer"]["accelerator"])
    walls, bares, spent = [], [], Spent(WARM_STEPS)
    for _ in range(rounds):
        clock = Clock(WARM_STEPS)
        trainer = build(
            config["trainer"],
            callbacks=[spent.before, *of_a_run(), clock, spent.behind],
            precision=choice,
            enable_checkpointing=True,
            **QUIET,
        )
        trainer.fit(module, datamodule=data)
        walls.append(clock.wall)
        bares.append(bare(module, data.train_dataloader(), config, WARM_STEPS, steps, choice)[0])
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
        "images_per_s": batch / median(walls),
        "bare_images_per_s": batch / median(bares),
        "of_bare": median(b / w for w, b in zip(walls, bares, strict=True)),
        **spent.shares(),
        "memory_gib": gpu
        if gpu is not None
        else getattr(memory, "peak_wset", peak_resident()) / 2**30,
        "walls": walls,
        "bares": bares,
    }


class Spent:
    """Wall seconds of steps by what they go into; its two callbacks stand before and behind all others."""

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.at = time.perf_counter()

    def until_now(self, part: str, module: LightningModule, step: int) -> None:
        """What was spent since the last call goes to `part`; the first steps warm up."""
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if step >= self.warm:
            self.seconds[part] += now - self.at
        self.at = now

    def shares(self) -> dict[str, float]:
        total = sum(self.seconds.values())
        return {name: seconds / total for name, seconds in self.seconds.items()}

    @property
    def before(self) -> Callback:
        return Mark(self, "waiting", "passes", "optimiser")

    @property
    def behind(self) -> Callback:
        return Mark(self, "callbacks", "callbacks", "callbacks")


class Mark(Callback):
    """Tells `Spent` what ends at a batch's start, before the optimiser's step, and at the batch's end."""

    def __init__(self, spent: Spent, start: str, step: str, end: str) -> None:
        self.spent = spent
        self.start, self.step, self.end = start, step, end
        self.batch = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.batch = batch_idx
        self.spent.until_now(self.start, pl_module, batch_idx)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        self.spent.until_now(self.step, pl_module, self.batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.spent.until_now(self.end, pl_module, batch_idx)


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
        title=f"Training on {first['device']}, {first['precision']}, batch {first['batch']}",
        box=SIMPLE_HEAD,
    )
    for column in ("network", "input", "images/s", "of bare", *PARTS, "memory"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        table.add_row(
            row["network"],
            f"{row['height']}x{row['width']}",
            f"{row['images_per_s']:.2f}",
            f"{row['of_bare']:.3f}",
            *(f"{row[part]:.1%}" for part in PARTS),
            f"{row['memory_gib']:.2f} GiB",
        )
    console.print(table)
    console.print(
        "[dim]of bare: beside a bare PyTorch loop of the same network on the same data, in turn; "
        "then shares of the step's wall time; passes: forward and backward.[/]"
    )
