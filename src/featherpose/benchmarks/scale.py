"""What people cost by the number: each step in a process of its own, its CPU time, its memory and how both grow."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from featherpose.benchmarks.made import COCO_FILE, FORMS
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.machine import elsewhere
from featherpose.metrics.oks import OKS
from featherpose.person import People
from featherpose.runs.predictions import keep_predictions
from featherpose.settings import choice, whole
from featherpose.skeletons import COCO

if TYPE_CHECKING:  # it imports what a worker does, which the steps have no use for
    from featherpose.benchmarks.sharing import Sharing

METHODS = ("fork", "spawn")  # how systems start processes


@dataclass(frozen=True)
class Cost:
    seconds: float  # of CPU
    megabytes: float  # of the process's own, at the most, beyond what it has after its imports

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s {self.megabytes:6.0f} MB"


@dataclass(frozen=True)
class Case:
    """A file of made people in a folder."""

    folder: Path
    form: str

    def read(self) -> People:
        return FORMS[self.form].read(self.folder)


def _pycocotools(case: Case) -> Callable[[], object]:
    from pycocotools.coco import COCO as Annotations

    def step() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            Annotations(str(case.folder / COCO_FILE))

    return step


def _order(case: Case) -> Callable[[], object]:
    people = case.read()
    return lambda: sum(1 for _ in PersonSampler(range(len(people.persons)), batch_size=32))


def _found(people: People) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions off by some pixels."""
    mix = np.random.default_rng(1)
    count = len(people.persons)
    points = people.persons.joints + mix.normal(0, 5, (count, 17, 2))
    return torch.arange(count), torch.from_numpy(points), torch.from_numpy(mix.random((count, 17)))


def _evaluation(case: Case) -> Callable[[], object]:
    people = case.read()
    metric = OKS(people.persons, COCO, aspect=0.75)
    metric.update(*_found(people))
    return metric.compute


def _prediction_file(case: Case) -> Callable[[], object]:
    people = case.read()
    index, points, confidence = (each.numpy() for each in _found(people))
    arrays = index, points[None], confidence[None]
    return lambda: keep_predictions(case.folder / "predictions.npz", *arrays, people.persons)


def _doctor(case: Case) -> Callable[[], object]:
    from featherpose.data.doctor.checks import Examined, check_annotations  # and Lightning

    result = Examined("train", case.read())
    return lambda: check_annotations(result, COCO)


Steps = dict[str, Callable[[Case], Callable[[], object]]]
READING: Steps = {"first read": lambda case: case.read, "later start": lambda case: case.read}
STEPS: Steps = {
    "pycocotools reads": _pycocotools,
    **READING,
    "an epoch's order": _order,
    "evaluation": _evaluation,
    "prediction file": _prediction_file,
    "doctor, without pictures": _doctor,
}


def run(
    people: Sequence[float], form: str = "coco", sharing: int = 0, out: str | None = None
) -> None:
    """Prints what each step costs as it is done, then all of them with the slope between the last two numbers.

    Of another form than COCO's, reading alone. With `sharing`, what so many workers cost that go over the people.
    """
    counts = sorted(whole("people", count, least=1) for count in people)
    steps = STEPS if choice("form", form, tuple(FORMS)) == "coco" else READING
    workers = whole("sharing", sharing, least=0)
    console = Console()
    costs: dict[str, list[Cost]] = {name: [] for name in steps}
    shared: dict[tuple[int, str], Sharing] = {}
    for count in counts:
        with TemporaryDirectory(prefix="featherpose-people-") as folder:
            case = Case(Path(folder), form)
            console.print(f"{count:,} people are made")
            FORMS[form].make(case.folder, count)
            for name in steps:
                costs[name].append(elsewhere(measured, name, case))
                console.print(f"  {name}: {costs[name][-1]}")
            for method in METHODS if workers else ():
                console.print(f"  {workers} workers by {method}")
                shared[count, method] = elsewhere(_shared, case, workers, method)
    report(console, counts, costs)
    if shared:
        from featherpose.benchmarks.sharing import report as report_sharing

        report_sharing(console, workers, shared)
    if out:
        _write(Path(out), counts, costs, shared)


def _write(
    path: Path,
    counts: Sequence[int],
    costs: dict[str, list[Cost]],
    shared: dict[tuple[int, str], Sharing],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "people", "CPU seconds", "MB"))
        for name, values in costs.items():
            for count, cost in zip(counts, values, strict=True):
                writer.writerow((name, count, cost.seconds, cost.megabytes))
        for (count, method), one in shared.items():
            writer.writerow((f"a worker, {method}", count, one.seconds, one.added))


def _shared(case: Case, workers: int, method: str) -> Sharing:
    from featherpose.benchmarks.sharing import measure

    return measure(case.read().persons, FORMS[case.form].skeleton, workers, method)


def measured(name: str, case: Case) -> Cost:
    step = STEPS[name](case)
    before = _own(peak=False)
    _forget_peak()
    start = time.process_time()
    step()
    return Cost(time.process_time() - start, _own(peak=True) - before)


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise PoseError(f"Memory is measured on Linux only ({error.strerror}).") from error


def _own(peak: bool) -> float:
    """Megabytes of this process, now or at the most since `_forget_peak`."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) / 1024
    return float("nan")


def slope(counts: Sequence[int], costs: Sequence[float]) -> float:
    """The power of the number that a cost grows with: 1 is linear. NaN for a single number."""
    if len(counts) < 2 or min(costs[-2:]) <= 0:
        return float("nan")
    return float(np.log(costs[-1] / costs[-2]) / np.log(counts[-1] / counts[-2]))


def report(console: Console, counts: Sequence[int], costs: dict[str, list[Cost]]) -> None:
    table = Table(title=f"CPU seconds and MB of memory, {os.cpu_count()} cores")
    table.add_column("people", no_wrap=True)
    for count in counts:
        table.add_column(f"{count:,}", justify="right")
    table.add_column("slope of s, MB", justify="right")
    for name, values in costs.items():
        cells = [str(cost) for cost in values]
        slopes = (
            slope(counts, each)
            for each in ([c.seconds for c in values], [c.megabytes for c in values])
        )
        table.add_row(name, *cells, " ".join(f"{each:.2f}" for each in slopes))
    console.print(table)
