"""A score taken apart: by joint, by the person's size and by occlusion, and what goes wrong in each part."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np

from featherpose.files import write_atomically
from featherpose.metrics import errors
from featherpose.metrics.collect import KeypointMetric
from featherpose.person import Persons, extent_of
from featherpose.skeletons import Skeleton

SIZES = 4  # groups of equally many people


@dataclass(frozen=True)
class Part:
    """Some annotated joints: how many, the main score of them alone, and shares of what became of them in percent."""

    by: str  # joint, size, occlusion, or rotation
    name: str
    joints: int
    score: float
    right: float
    jitter: float
    inversion: float
    swap: float
    miss: float


def kinds(metric: KeypointMetric) -> np.ndarray:
    """What became of each collected joint (N, K): `errors.RIGHT` to `MISS`, -1 where nothing can be said."""
    index, predicted, _ = metric.collected()
    return errors.classify(predicted, metric.people(index), metric.radii(index), metric.skeleton)


def breakdown(metric: KeypointMetric) -> list[Part]:
    """Of people in annotated boxes; a division into one part only is left out."""
    kind = kinds(metric)
    index, _, _ = metric.collected()
    return [
        part_of(metric, kind, by, name, chosen)
        for by, name, chosen in _divisions(metric.people(index), kind >= 0, metric.skeleton)
        if chosen.any()
    ]


def part_of(
    metric: KeypointMetric, kind: np.ndarray, by: str, name: str, chosen: np.ndarray | None = None
) -> Part:
    """The joints `chosen` (N, K), or all of them, of the people that the metric has collected."""
    chosen = kind >= 0 if chosen is None else chosen
    counts = np.bincount(kind[chosen], minlength=len(errors.KINDS) + 1)
    shares = (100 * counts / counts.sum()).tolist()
    return Part(by, name, int(counts.sum()), metric.part(chosen), *shares)


def _divisions(
    persons: Persons, told: np.ndarray, skeleton: Skeleton
) -> Iterator[tuple[str, str, np.ndarray]]:
    """What each part is called, and which joints (N, K) are in it."""
    for number, joint in enumerate(skeleton.joints):
        if told[:, number].any():
            yield "joint", joint, told & (np.arange(len(skeleton)) == number)
    sizes = _by_size(extent_of(persons.joints, persons.visible))
    if len(sizes) > 1:
        yield from (("size", name, told & some[:, None]) for name, some in sizes.items())
    seen = {"visible": told & (persons.visible == 2), "occluded": told & (persons.visible == 1)}
    if all(chosen.any() for chosen in seen.values()):
        yield from (("occlusion", name, chosen) for name, chosen in seen.items())


def _by_size(extent: np.ndarray) -> dict[str, np.ndarray]:
    """Groups of equally many people, the smallest first: `40 to 55 px` and who is in it (N,)."""
    known = extent > 0
    if not known.any():
        return {}
    bounds = np.unique(np.quantile(extent[known], np.linspace(0, 1, SIZES + 1)).round(1))
    group = np.searchsorted(bounds[1:-1], extent, side="left")
    return {
        f"{low:.0f} to {high:.0f} px": known & (group == number)
        for number, (low, high) in enumerate(pairwise(bounds))
    }


def table_of(parts: Sequence[Part]) -> str:
    """A CSV, a row a part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(Part)])
    for part in parts:
        values = asdict(part).values()
        writer.writerow([f"{v:.3f}" if isinstance(v, float) else v for v in values])
    return text.getvalue()


def write(path: Path, parts: Sequence[Part]) -> None:
    """As a file."""
    write_atomically(path, table_of(parts))
