"""Contact sheets for the doctor: samples before and after augmentation, and people that look wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featherpose import image
from featherpose.data.augment import Augment
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.doctor.checks import Examined
from featherpose.draw import contact_sheet, draw_pose
from featherpose.person import People, spread

COLUMNS = 6
SUSPECTS = 6  # of each kind


def write_sheets(
    data: PoseDataModule, results: list[Examined], augment: Augment, folder: Path
) -> list[Path]:
    """samples.png (plain crop above its augmented crops) and, where something looks wrong, suspects.png."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    readable = [r for r in results if any(image in r.sizes for image in r.people.persons.images())]
    if readable:
        written.append(_write(folder / "samples.png", _samples(data, readable[0], augment)))
    tiles = [tile for result in readable for tile in _suspects(data, result)]
    if tiles:
        pictures, labels = [tile[0] for tile in tiles], [tile[1] for tile in tiles]
        written.append(_write(folder / "suspects.png", contact_sheet(pictures, COLUMNS, labels)))
    return written


def _samples(data: PoseDataModule, result: Examined, augment: Augment) -> np.ndarray:
    """One column per person: the plain crop, then three augmented ones."""
    persons = result.people.persons
    there = np.flatnonzero([image in result.sizes for image in persons.images()])
    chosen = persons[there[spread(len(there), COLUMNS)]]
    plain = data.dataset(People(chosen), cached=False)
    augmented = data.dataset(People(chosen), augment, cached=False)
    rows = [[_drawn(data, plain[i]) for i in range(len(chosen))]]
    rows += [
        [_drawn(data, augmented[(epoch, i)]) for i in range(len(chosen))] for epoch in range(3)
    ]
    labels = [Path(image).name for image in chosen.images()] + [
        f"augmented {e}" for e in range(3) for _ in chosen
    ]
    return contact_sheet([tile for row in rows for tile in row], len(chosen), labels)


def _suspects(data: PoseDataModule, result: Examined) -> list[tuple[np.ndarray, str]]:
    tiles = []
    for why, indices in result.suspects.items():
        there = [i for i in indices if result.people.persons[i].image in result.sizes]
        people = People(result.people.persons[there[:SUSPECTS]])
        dataset = data.dataset(people, cached=False)
        for i, person in enumerate(people.persons):
            tiles.append((_drawn(data, dataset[i]), f"{why[:15]} {Path(person.image).stem[-10:]}"))
    return tiles


def _drawn(data: PoseDataModule, sample: dict) -> np.ndarray:
    image = sample["image"].permute(1, 2, 0).numpy()
    return draw_pose(image, sample["joints"].numpy(), sample["visible"].numpy() * 2, data.skeleton)


def _write(path: Path, sheet: np.ndarray) -> Path:
    image.write(path, sheet)
    return path
