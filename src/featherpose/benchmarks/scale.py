"""What people cost by the number: each step in a process of its own, its CPU time, its memory and how both grow."""

from __future__ import annotations

import csv
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from featherpose.data.doctor.checks import Examined, check_annotations
from featherpose.data.readers import coco
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.evaluation.predictions import Predictions, write_run
from featherpose.metrics.oks import OKS
from featherpose.person import People
from featherpose.settings import whole
from featherpose.skeletons import COCO

EACH = 4  # people in a picture; COCO has 2.3 with keypoints and 4.1 in all
OUTLINE = 60  # numbers of a person's outline, which readers pass over
FILE = "annotations/person_keypoints_train2017.json"


@dataclass(frozen=True)
class Cost:
    seconds: float  # of CPU
    megabytes: float  # of the process's own, at the most, beyond what it has after its imports


def make(folder: Path, count: int, seed: int = 0) -> None:
    """A COCO file of so many people."""
    mix = np.random.default_rng(seed)
    corner, size = mix.uniform(0, 300, (count, 2)), mix.uniform(20, 300, (count, 2))
    points = (corner[:, None] + mix.random((count, 17, 2)) * size[:, None]).round()
    flags = mix.integers(0, 3, (count, 17, 1))
    keypoints = np.where(flags > 0, np.concatenate([points, flags], axis=2), 0).astype(int)
    outline = (np.tile(corner, OUTLINE // 2) + mix.uniform(0, 20, (count, OUTLINE))).round(2)
    box = np.concatenate([corner, size], axis=1).round(2)
    people = [
        {
            "segmentation": [outline[i].tolist()],
            "num_keypoints": int((flags[i] > 0).sum()),
            "area": float(box[i, 2] * box[i, 3] / 2),
            "iscrowd": 0,
            "keypoints": keypoints[i].ravel().tolist(),
            "image_id": i // EACH + 1,
            "bbox": box[i].tolist(),
            "category_id": 1,
            "id": i + 1,
        }
        for i in range(count)
    ]
    pictures = [
        {"id": i + 1, "file_name": f"{i + 1:012d}.jpg", "width": 640, "height": 640}
        for i in range(-(-count // EACH))
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints)}
    path = folder / FILE
    path.parent.mkdir(parents=True)
    content = {"images": pictures, "annotations": people, "categories": [category]}
    path.write_bytes(msgspec.json.encode(content))


def _read(folder: Path) -> People:
    return coco.read(folder, "train", pictures="ignore")


def _pycocotools(folder: Path) -> Callable[[], object]:
    from pycocotools.coco import COCO as Annotations

    return lambda: Annotations(str(folder / FILE))


def _order(folder: Path) -> Callable[[], object]:
    people = _read(folder)
    return lambda: sum(1 for _ in PersonSampler(range(len(people.persons)), batch_size=32))


def _found(people: People) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions off by some pixels."""
    mix = np.random.default_rng(1)
    count = len(people.persons)
    points = people.persons.joints + mix.normal(0, 5, (count, 17, 2))
    return torch.arange(count), torch.from_numpy(points), torch.from_numpy(mix.random((count, 17)))


def _evaluation(folder: Path) -> Callable[[], object]:
    people = _read(folder)
    metric = OKS(people.persons, COCO, aspect=0.75)
    metric.update(*_found(people))
    return metric.compute


def _prediction_file(folder: Path) -> Callable[[], object]:
    people = _read(folder)
    index, points, confidence = (each.numpy() for each in _found(people))
    found = Predictions(index, points[None], confidence[None])
    return lambda: write_run(folder / "predictions.npz", found, people.persons)


def _doctor(folder: Path) -> Callable[[], object]:
    result = Examined("train", _read(folder))
    return lambda: check_annotations(result, COCO)


STEPS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "pycocotools reads": _pycocotools,
    "first read": lambda folder: lambda: _read(folder),
    "later start": lambda folder: lambda: _read(folder),
    "an epoch's order": _order,
    "evaluation": _evaluation,
    "prediction file": _prediction_file,
    "doctor, without pictures": _doctor,
}


def run(people: Sequence[float], out: str | None = None) -> None:
    """Prints what each step costs for so many people, and the slope between the last two numbers."""
    counts = sorted(whole("people", count, least=1) for count in people)
    costs: dict[str, list[Cost]] = {name: [] for name in STEPS}
    for count in counts:
        with TemporaryDirectory(prefix="featherpose-people-") as folder:
            make(Path(folder), count)
            for name in STEPS:
                costs[name].append(_alone(name, folder))
    report(Console(), counts, costs)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with open(out, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("step", "people", "CPU seconds", "MB"))
            for name, values in costs.items():
                for count, cost in zip(counts, values, strict=True):
                    writer.writerow((name, count, cost.seconds, cost.megabytes))


def _alone(name: str, folder: str) -> Cost:
    """The step's cost in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (name, folder))


def measured(name: str, folder: str) -> Cost:
    step = STEPS[name](Path(folder))
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


def slope(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """The power of the number that a cost grows with: 1 is linear. NaN for a single number."""
    if len(counts) < 2 or min(seconds[-2:]) <= 0:
        return float("nan")
    return float(np.log(seconds[-1] / seconds[-2]) / np.log(counts[-1] / counts[-2]))


def report(console: Console, counts: Sequence[int], costs: dict[str, list[Cost]]) -> None:
    table = Table(title=f"CPU seconds and MB of memory, {os.cpu_count()} cores")
    table.add_column("people")
    for count in counts:
        table.add_column(f"{count:,}", justify="right")
    table.add_column("slope", justify="right")
    for name, values in costs.items():
        cells = [f"{cost.seconds:.3f} s {cost.megabytes:6.0f} MB" for cost in values]
        table.add_row(name, *cells, f"{slope(counts, [c.seconds for c in values]):.2f}")
    console.print(table)
