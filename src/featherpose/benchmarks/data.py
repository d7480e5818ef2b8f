"""What loading costs: this package's path and a straightforward one, interleaved on the same pictures.

The straightforward path is how HRNet's public code makes a sample: decode, mirror by a flipped view, warp with a matrix
from three points, one target after the other, everything as floats. It is written here from that description.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from featherpose import crop
from featherpose.benchmarks import scale as by_number
from featherpose.benchmarks.measured import Measured, beside_first
from featherpose.data.augment import Augment
from featherpose.data.cache import gigabytes, open_crops, plan
from featherpose.data.dataset import CropDataset, calm_worker
from featherpose.data.readers import coco
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.heatmaps import encode
from featherpose.image import load, read
from featherpose.machine import forget_freed_memory, keep_freed_memory
from featherpose.person import People, Person
from featherpose.pixels import DEVIATION, MEAN, normalise
from featherpose.skeletons import COCO

SIGMA, STRIDE = 2.0, 4


class Straightforward(Dataset):
    """HRNet's way of making a sample, from its published description; `drawn` fixes what is otherwise random."""

    def __init__(self, people: People, size_wh: tuple[int, int], augment: Augment) -> None:
        self.people = people
        self.size_wh = size_wh
        self.augment = augment
        self.exact = False

    def __len__(self) -> int:
        return len(self.people.persons)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        zoom = np.random.uniform(*self.augment.warp.scale)
        turn = np.random.uniform(-1, 1) * self.augment.warp.rotation
        flip = np.random.random() < self.augment.warp.flip
        person = self.people.persons[index]
        image, joints, visible = self.crop(person, person.centre, person.scale * zoom, turn, flip)
        targets, weights = self.targets(joints, visible)
        return self.tensor(image), torch.from_numpy(targets), torch.from_numpy(weights), index

    def crop(
        self, person: Person, centre: np.ndarray, scale: np.ndarray, rotation: float, flip: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = cv2.imread(person.image, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert image is not None
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        joints = person.joints.copy()
        visible = person.visible.copy()
        centre = np.array(centre, dtype=np.float64)
        if flip:
            image = image[:, ::-1, :]
            order = list(COCO.flip_order)
            joints, visible = joints[order], visible[order]
            joints[:, 0] = image.shape[1] - joints[:, 0] - 1
            centre[0] = image.shape[1] - centre[0] - 1
        matrix = self.matrix(centre, scale, rotation)
        image = cv2.warpAffine(image, matrix, self.size_wh, flags=cv2.INTER_LINEAR)
        for k in range(len(joints)):
            if visible[k] > 0:
                joints[k] = matrix @ np.array([joints[k, 0], joints[k, 1], 1.0])
        return image, joints, visible

    def matrix(self, centre: np.ndarray, scale: np.ndarray, rotation: float) -> np.ndarray:
        """From three points: the centre, the middle of the upper side, and a third at a right angle.

        HRNet gives the points to cv2 as float32, which moves the crop by up to 1e-4 px; with `exact` they stay float64.
        """
        width, height = self.size_wh
        side = crop.fit_aspect(scale, self.size_wh)[0] * crop.PIXEL_STD
        angle = np.deg2rad(rotation)
        source = _three_points(
            centre, centre + np.array([np.sin(angle), -np.cos(angle)]) * side / 2
        )
        target = _three_points(
            np.array([width / 2, height / 2]), np.array([width / 2, height / 2 - width / 2])
        )
        if self.exact:
            return np.linalg.solve(np.column_stack([source, np.ones(3)]), target).T
        return cv2.getAffineTransform(source.astype(np.float32), target.astype(np.float32))

    def targets(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width, height = self.size_wh[0] // STRIDE, self.size_wh[1] // STRIDE
        return loop_targets(joints / STRIDE, visible, (height, width), SIGMA)

    @staticmethod
    def tensor(image: np.ndarray) -> torch.Tensor:
        values = torch.from_numpy(image.transpose(2, 0, 1)).contiguous().float().div(255)
        mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
        return values.sub_(mean).div_(deviation)


def _three_points(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    down = first - second
    return np.stack([first, second, second + np.array([-down[1], down[0]])])


def loop_targets(
    joints: np.ndarray, visible: np.ndarray, size: tuple[int, int], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """One person's targets, joint by joint: a patch of three sigma around the rounded centre."""
    height, width = size
    reach = int(sigma * 3)
    targets = np.zeros((len(joints), height, width), np.float32)
    weights = (visible > 0).astype(np.float32)
    axis = np.arange(2 * reach + 1, dtype=np.float32)
    for k in range(len(joints)):
        if not weights[k]:
            continue
        x, y = int(joints[k, 0] + 0.5), int(joints[k, 1] + 0.5)
        left = x - reach
        top = y - reach
        right = x + reach + 1
        bottom = y + reach + 1
        if left >= width or top >= height or right < 0 or bottom < 0:
            weights[k] = 0
            continue
        patch = np.exp(-((axis - reach) ** 2 + (axis[:, None] - reach) ** 2) / (2 * sigma**2))
        rows, columns = (
            slice(max(0, top), min(bottom, height)),
            slice(max(0, left), min(right, width)),
        )
        targets[k, rows, columns] = patch[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return targets, weights


def run(
    root: str,
    rounds: int = 5,
    samples: int = 320,
    batch_size: int = 32,
    workers: int = 2,
    input_size: tuple[int, int] = (256, 192),
    scale: tuple[float, float] = (0.65, 1.35),
    rotation: float = 45.0,
    people: Sequence[float] | None = None,
    form: str = "coco",
    sharing: int = 0,
    out: str | None = None,
    **_: Any,
) -> list[Measured] | None:
    """Prints the costs per sample, the ratios, and how equal pixels and targets are; `out` is a .csv file.

    With `people`, what so many made people cost instead, from reading to evaluation.
    """
    if people:
        by_number.run(people, form, sharing, out)
        return None
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    found = people_with_pictures(root)
    targets = target_costs(rounds)  # first: the loop would gain from memory that later steps free
    size_wh = (int(input_size[1]), int(input_size[0]))
    augment = Augment(scale, rotation, flip=0.5)
    plain = Straightforward(found, size_wh, augment)
    ours = CropDataset(found, load, COCO, (size_wh[1], size_wh[0]), augment)
    console = Console()
    with TemporaryDirectory(prefix="featherpose-crops-") as folder:
        planned = plan(found, load, COCO, size_wh, augment)
        cache = open_crops(planned, Path(folder), load)
        cached = CropDataset(found, load, COCO, (size_wh[1], size_wh[0]), augment, cache=cache)
        console.print(agreement(plain, ours, cached, min(100, len(found.persons))))
        costs = through_loaders(
            {"straightforward": plain, "featherpose": ours, "featherpose, cache": cached},
            rounds, samples, batch_size, workers,
        )  # fmt: skip
        steps = breakdown(plain, ours, cached, rounds)
    rows = report(console, costs, steps, targets, len(found.persons), planned.size, workers)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with open(out, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("what", "milliseconds or ratio"), *rows.items()])
    cpu = {name: [cpu for cpu, _ in each] for name, each in costs.items()}
    return beside_first("a crop by {}", cpu)


def people_with_pictures(root: str) -> People:
    people = coco.read(root, "train", pictures="skip")
    if not people.persons:
        raise PoseError(
            f"{root} has no COCO picture with people in it; this benchmark needs real JPEGs: root=FOLDER."
        )
    return people


def agreement(plain: Straightforward, ours: CropDataset, cached: CropDataset, count: int) -> str:
    """Largest differences between the paths for the same draws, and that the cache changes nothing."""
    exact, single = [], []
    joints = targets = 0.0
    size = (plain.size_wh[1] // STRIDE, plain.size_wh[0] // STRIDE)
    for index in range(count):
        sample = ours[(0, index)]
        image = sample["image"].permute(1, 2, 0).numpy().astype(np.int16)
        if not torch.equal(cached[(0, index)]["image"], sample["image"]):
            raise AssertionError(f"the cache changes the pixels of person {index}")
        for plain.exact, differences in ((True, exact), (False, single)):
            theirs, points, visible = plain.crop(ours.people.persons[index], *drawn(ours))
            differences.append(np.abs(image - theirs))
        seen = sample["visible"].numpy() > 0
        joints = max(joints, float(np.abs(sample["joints"].numpy() - points)[seen].max(initial=0)))
        expected, _ = loop_targets(points / STRIDE, visible, size, SIGMA)
        batched, _ = encode(
            torch.from_numpy(points / STRIDE)[None].float(),
            torch.from_numpy(visible)[None],
            size,
            SIGMA,
        )
        targets = max(targets, float((batched[0] - torch.from_numpy(expected)).abs().max()))
    return (
        f"{count} samples, same draws. Pixels differ by at most {np.max(exact)} levels; where the reference rounds its "
        f"three points to float32, by {np.max(single)} in {100 * np.mean(np.array(single) > 0):.2f}% of the values. "
        f"Joints differ by {joints:.0e} px, targets by {targets:.0e}. The cache changes no pixel."
    )


def drawn(dataset: CropDataset) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Centre, scale, rotation and flip of the sample that was made last."""
    assert dataset.augment is not None
    params = dataset.augment.warp.params
    return params["centre"], params["scale"], params["rotation"], params["flip"]


def through_loaders(
    datasets: dict[str, Dataset], rounds: int, samples: int, batch_size: int, workers: int
) -> dict[str, list[tuple[float, float]]]:
    """(CPU seconds, wall seconds) per sample through a loader, each dataset once in every round."""
    loaders = {}
    for name, dataset in datasets.items():
        sampler = PersonSampler(dataset) if isinstance(dataset, CropDataset) else None
        loaders[name] = DataLoader(
            dataset,
            batch_size,
            shuffle=None if sampler else True,
            sampler=sampler,
            num_workers=workers,
            worker_init_fn=calm_worker if isinstance(dataset, CropDataset) else plain_worker,
            persistent_workers=workers > 0,
        )
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in datasets}
    for number in track(range(rounds + 1), "through the loader"):
        for name, loader in loaders.items():
            before = _cpu()
            start = time.perf_counter()
            seen = 0
            while seen < samples:
                for batch in loader:
                    seen += len(batch["index"] if isinstance(batch, dict) else batch[-1])
            if number:  # the first round starts the workers
                costs[name].append(((_cpu() - before) / seen, (time.perf_counter() - start) / seen))
    return costs


def plain_worker(_: int) -> None:
    """As anybody's worker starts, but for cv2's threads, which would blur the CPU times."""
    cv2.setNumThreads(0)
    forget_freed_memory()


def _cpu() -> float:
    """CPU seconds of this process and its workers."""
    me = psutil.Process()
    return sum(
        t.user + t.system for t in (p.cpu_times() for p in [me, *me.children(recursive=True)])
    )


def breakdown(
    plain: Straightforward, ours: CropDataset, cached: CropDataset, rounds: int
) -> dict[str, float]:
    """Milliseconds of CPU per step, in this process."""
    persons = plain.people.persons[:: max(1, len(plain) // 60)]
    person = persons[0]
    crops = [plain.crop(p, p.centre, p.scale, 20.0, True) for p in persons]
    loaded = [load(p) for p in persons]
    mirrored = [image[:, ::-1] for image in loaded]
    matrices = [crop.crop_matrix(p.centre, p.scale, ours.size_wh, 20.0) for p in persons]
    batch = torch.randint(0, 256, (32, 3, ours.size_wh[1], ours.size_wh[0]), dtype=torch.uint8)
    places = torch.rand(32, 17, 2) * 48
    size = (ours.size_wh[1] // STRIDE, ours.size_wh[0] // STRIDE)
    count = len(persons)
    steps: dict[str, tuple[Callable[[], Any], int]] = {
        "straightforward: cv2 decode, to RGB": (lambda: [_imread(p.image) for p in persons], count),
        "straightforward: warp of a flipped view": (
            lambda: [cv2.warpAffine(i, m, ours.size_wh) for i, m in zip(mirrored, matrices, strict=True)], count),
        "straightforward: targets in a loop": (lambda: [plain.targets(j, v) for _, j, v in crops], count),
        "straightforward: float tensor": (lambda: [plain.tensor(i) for i, _, _ in crops], count),
        "featherpose: read and decode": (lambda: [read(p.image) for p in persons], count),
        "featherpose: warp": (
            lambda: [crop.cut(i, m, ours.size_wh) for i, m in zip(loaded, matrices, strict=True)], count),
        "featherpose: whole sample from the cache": (lambda: [cached[(0, i)] for i in range(count)], count),
        "on the device, here a CPU: normalise": (lambda: normalise(batch), 32),
        "on the device, here a CPU: targets": (lambda: encode(places, torch.ones(32, 17), size, SIGMA), 32),
    }  # fmt: skip
    del person
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, (step, number) in steps.items():
            forget_freed_memory() if name.startswith("straightforward") else keep_freed_memory()
            step()
            start = time.process_time()
            step()
            taken[name].append(1e3 * (time.process_time() - start) / number)
    return {name: median(values) for name, values in taken.items()}


def _imread(path: str) -> np.ndarray:
    image = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def target_costs(rounds: int) -> tuple[float, float]:
    """CPU seconds for the targets of 32 x 17 joints: the loop, and batched."""
    mix = np.random.default_rng(0)
    joints = mix.uniform(-4, 52, (32, 17, 2)) * (1, 64 / 48)
    visible = np.ones((32, 17))
    batched = torch.from_numpy(joints).float(), torch.from_numpy(visible).float()
    loop, ours = [], []
    for _ in range(max(3, rounds) * 4):
        forget_freed_memory()
        start = time.process_time()
        for j, v in zip(joints, visible, strict=True):
            loop_targets(j, v, (64, 48), SIGMA)
        loop.append(time.process_time() - start)
        keep_freed_memory()
        encode(*batched, (64, 48), SIGMA)
        start = time.process_time()
        for _ in range(5):
            encode(*batched, (64, 48), SIGMA)
        ours.append((time.process_time() - start) / 5)
    return median(loop), median(ours)


def report(
    console: Console,
    costs: dict[str, list[tuple[float, float]]],
    steps: dict[str, float],
    targets: tuple[float, float],
    persons: int,
    cache_bytes: int,
    workers: int,
) -> dict[str, float]:
    base = np.array(costs["straightforward"])
    table = Table(
        title=f"{persons} people of real JPEGs through {workers} workers, {os.cpu_count()} cores"
    )
    for column in ("path", "CPU ms per sample", "samples/s here", "ratio of CPU", "from - to"):
        table.add_column(column, justify="left" if column == "path" else "right")
    rows: dict[str, float] = {}
    for name, values in costs.items():
        array = np.array(values)
        ratios = base[:, 0] / array[:, 0]
        rows[f"{name}: CPU ms"], rows[f"{name}: ratio"] = 1e3 * median(array[:, 0]), median(ratios)
        table.add_row(
            name, f"{1e3 * median(array[:, 0]):.3f}", f"{1 / median(array[:, 1]):.0f}", f"{median(ratios):.2f}",
            f"{ratios.min():.2f} - {ratios.max():.2f}",
        )  # fmt: skip
    console.print(table)
    parts = Table(title="step by step, CPU ms per sample")
    parts.add_column("step")
    parts.add_column("ms", justify="right")
    for name, value in steps.items():
        parts.add_row(name, f"{value:.3f}")
    console.print(parts)
    loop, ours = targets
    console.print(
        f"targets of 32 x 17 joints: loop {1e3 * loop:.2f} ms, batched {1e3 * ours:.2f} ms, ratio {loop / ours:.1f}; "
        f"the crop cache of these people takes {gigabytes(cache_bytes)}"
    )
    return rows | steps | {"targets: ratio": loop / ours}
