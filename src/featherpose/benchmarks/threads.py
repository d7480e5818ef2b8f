"""How fast a training step is by how its threads wait for each other, alone and beside other work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from featherpose.benchmarks.measured import Measured, beside_first
from featherpose.benchmarks.training import bare, composed, made_batch
from featherpose.errors import UsageError
from featherpose.machine import SHARE, keep_freed_memory, one_process
from featherpose.settings import numbers, whole
from featherpose.targets import build
from featherpose.training.build import build_module
from featherpose.training.module import PoseModule

READ_BY_RUNTIMES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", SHARE)
# As a process of its own, which ends with the one that started it
BUSY_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100000))"


def run(
    settings: Mapping[str, Mapping[str, Any]],
    network: str = "lapx",
    input_size: Sequence[int] = (128, 128),
    batch_size: int = 16,
    rounds: int = 3,
    steps: int = 3,
    busy: int = 1,
) -> list[Measured]:
    """Each setting in a process of its own, since the runtimes read it once; all in turn, alone and beside busy loops.

    Args:
        settings: a name and its environment variables; what it does not name is as `import featherpose` sets it.
        busy: processes of other work; 0 measures alone only.
    """
    height, width = (int(side) for side in numbers("input_size", input_size, 2, least=16))
    rounds, steps, busy = (
        whole("rounds", rounds, 1),
        whole("steps", steps, 1),
        whole("busy", busy, 0),
    )
    batch_size = whole("batch_size", batch_size, 1)
    if len(settings) < 2:
        raise UsageError("There is nothing to compare: give at least two settings.")
    for name, variables in settings.items():
        if not isinstance(variables, Mapping):
            raise UsageError(
                f"settings.{name} has to be environment variables, e.g. {{OMP_NUM_THREADS: 1}}."
            )
    console = Console(highlight=False)
    places = ["alone"] if busy == 0 else ["alone", f"beside {busy} busy loop{'s' * (busy > 1)}"]
    found = {place: {name: list[float]() for name in settings} for place in places}
    job = (network, (height, width), batch_size)
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(settings) * (1 + rounds * len(places)))
        pools = {}
        for name, variables in settings.items():
            pools[name] = stack.enter_context(one_process())
            with environment(variables):
                seconds_a_picture(pools[name], *job, steps=1)  # it starts here
            progress.advance(task)
        for _ in range(rounds):
            for place in places:
                with loops(0 if place == "alone" else busy):
                    for name, pool in pools.items():
                        found[place][name].append(seconds_a_picture(pool, *job, steps=steps))
                        progress.advance(task)
    size = f"{height}x{width}"
    print_table(console, f"{network} {size}", found)
    what = f"a picture of {network}, {size}, batch {batch_size}"
    return [
        row
        for place, by_name in found.items()
        for row in beside_first(f"{what}, {{}}, {place}", by_name, "ms")
    ]


@contextmanager
def environment(variables: Mapping[str, Any]) -> Generator[None]:
    """What processes started meanwhile find: these variables, and none of the others that say how threads wait."""
    before = dict(os.environ)
    for name in READ_BY_RUNTIMES:
        os.environ.pop(name, None)
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def loops(count: int) -> Generator[None]:
    """Other work for so many cores."""
    started = [subprocess.Popen([sys.executable, "-ISc", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def seconds_a_picture(
    pool: ProcessPoolExecutor, network: str, size: tuple[int, int], batch: int, steps: int
) -> float:
    return pool.submit(step, network, size, batch, steps).result() / batch


def step(network: str, size: tuple[int, int], batch: int, steps: int) -> float:
    """Seconds of a training step, after one that warms up."""
    module, config = prepared(network, size)
    batches = [made_batch(batch, config["data"]["joints"], size)] * (steps + 1)
    return bare(module, batches, config, warm=1, steps=steps)[0]


@cache
def prepared(network: str, size: tuple[int, int]) -> tuple[PoseModule, dict[str, Any]]:
    keep_freed_memory()
    torch.manual_seed(0)
    shape = f"data.input_size={list(size)}".replace(" ", "")
    config = composed([f"model={network}", shape, "trainer=cpu"])
    return build_module(config, build(config["model"]), size), config


def print_table(
    console: Console, title: str, found: Mapping[str, Mapping[str, list[float]]]
) -> None:
    table = Table(title=f"Pictures a second in training, {title}", title_justify="left")
    table.add_column("", overflow="fold")
    for place in found:
        table.add_column(place, justify="right")
        table.add_column("ratio", justify="right")
    names = list(next(iter(found.values())))
    for name in names:
        cells = []
        for by_name in found.values():
            ratio = median(a / b for a, b in zip(by_name[names[0]], by_name[name], strict=True))
            cells += [f"{1 / median(by_name[name]):.2f}", f"{ratio:.2f}"]
        table.add_row(name, *cells)
    console.print(table)
    console.print(f"[dim]ratio: the speed beside that of {names[0]}, round by round.[/]")
