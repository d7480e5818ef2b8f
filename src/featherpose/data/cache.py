"""Decoded regions of pictures in one memory-mapped file: training without decoding, to the same pixels.

Each person's region holds every crop that the augmentation may draw. The folder's name is a hash of the regions, of the
pictures' sizes and times, and of what decodes them: a changed annotation, picture or setting gives another folder.
Built under a lock beside its final place and renamed when whole, so a killed build leaves nothing that is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from rich.console import Console
from rich.progress import track

from featherpose import crop
from featherpose.data.augment import Augment, half_bodies
from featherpose.data.dataset import Load
from featherpose.errors import PoseError
from featherpose.files import locked, write_atomically
from featherpose.image import size_of
from featherpose.machine import cores
from featherpose.person import People, Person, Persons
from featherpose.skeletons import Skeleton

FORMAT = 1  # raise it when the file's layout or the meaning of a region changes
MARGIN = 2  # pixels around a region: bilinear neighbours and rounding
AT_ONCE = 64  # pictures decoded ahead while building


@dataclass(frozen=True)
class Plan:
    """What a cache would hold: known, with its size, before anything is decoded."""

    regions: np.ndarray  # (R, 4) int64: x, y, width, height in the picture
    people: Persons
    source: np.ndarray  # (R,) the first person of the picture that each region is cut from
    region_of: np.ndarray  # (N,) which region each person reads
    key: str

    @cached_property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.regions[:, 2] * self.regions[:, 3] * 3)])

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return int(self.offsets[-1])


class CropCache:
    """Regions by the person's index; opened anew in each worker, with the pages shared between all of them."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self._pixels: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_pixels": None}

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        if self._pixels is None:
            self._pixels = np.asarray(np.memmap(self.folder / "pixels.bin", np.uint8, mode="r"))
        region = self.plan.region_of[index]
        x, y, width, height = self.plan.regions[region].tolist()
        start = self.plan.offsets[region]
        return self._pixels[start : start + width * height * 3].reshape(height, width, 3), (x, y)


def plan(
    people: People,
    load: Load,
    skeleton: Skeleton,
    size_wh: Sequence[int],
    augment: Augment | None = None,
) -> Plan:
    """Regions for all crops that may be drawn; people of one picture share one where that is smaller."""
    persons = people.persons
    first, picture = _pictures(persons)
    sizes = _sizes(persons, first, load)
    boxes = _regions(persons, skeleton, size_wh, augment, sizes[picture])
    # Picture by picture: one region for all, or each its own
    order = np.argsort(picture, kind="stable")
    starts = np.searchsorted(picture[order], np.arange(len(first)))
    count = np.diff(starts, append=len(order))
    low = np.minimum.reduceat(boxes[order, :2], starts)
    high = np.maximum.reduceat((boxes[:, :2] + boxes[:, 2:])[order], starts)
    union = np.concatenate([low, high - low], axis=1)
    alone = np.add.reduceat(np.prod(boxes[order, 2:], axis=1), starts)
    together = np.prod(union[:, 2:], axis=1) <= alone
    held = np.where(together, 1, count)  # regions of each picture
    at = np.cumsum(held) - held
    place = np.arange(len(order)) - np.repeat(starts, count)
    region_of = np.empty(len(order), np.int64)
    region_of[order] = np.repeat(at, count) + np.where(np.repeat(together, count), 0, place)
    regions = np.empty((held.sum(), 4), np.int64)
    regions[region_of] = np.where(together[picture, None], union[picture], boxes)
    key = _key(persons, load, first, regions, held, np.split(region_of[order], starts[1:]))
    return Plan(regions, persons, np.repeat(first, held), region_of, key)


def _pictures(persons: Persons) -> tuple[np.ndarray, np.ndarray]:
    """The first person of each picture (P,), in the people's order, and each person's picture (N,)."""
    same: dict[str, int] = {}  # of two entries of one name the first
    table = np.array([same.setdefault(name, n) for n, name in enumerate(persons.pictures)], int)
    _, first, place = np.unique(table[persons.picture], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.sort(first), rank[place]


def _sizes(persons: Persons, first: np.ndarray, load: Load) -> np.ndarray:
    """(P, 2) of the pictures, by their first persons."""
    sizes = persons.picture_size[first]
    for place in np.flatnonzero((sizes == 0).all(axis=1)):
        sizes[place] = _size(persons[first[place]], load)
    return sizes


def _key(
    persons: Persons,
    load: Load,
    first: np.ndarray,
    regions: np.ndarray,
    held: np.ndarray,
    region_of: list[np.ndarray],
) -> str:
    digest = hashlib.sha256(_versions(load).encode())
    at = 0
    for person, count, own in zip(first.tolist(), held.tolist(), region_of, strict=True):
        image = persons.pictures[int(persons.picture[person])]
        said = [image, _stamp(image), regions[at : at + count].tolist(), (own - at).tolist()]
        digest.update(json.dumps(said).encode())
        at += count
    return digest.hexdigest()[:20]


def open_crops(plan: Plan, folder: Path, load: Load) -> CropCache:
    """The finished cache, built first where it is not there; other processes wait for the one that builds."""
    target = folder / f"crops-{plan.key}"
    if not _whole(target, plan):
        _make_folder(folder)
        with ExitStack() as held:
            try:
                held.enter_context(locked(folder / f".crops-{plan.key}.lock"))
            except OSError as error:  # the folder is there, and nothing can be written into it
                raise _unwritable(folder, error) from error
            if not _whole(target, plan):
                _build(target, plan, load)
    return CropCache(target, plan)


def _build(target: Path, plan: Plan, load: Load) -> None:
    for left_over in target.parent.glob(
        f".building-{plan.key}-*"
    ):  # of a killed build: its lock was free
        shutil.rmtree(left_over, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    said = f"{len(plan.regions):,} regions, {gigabytes(plan.size)} in {target}"
    without = "train without: data.cache=null"
    free = room(target.parent, plan.size, f"The crop cache would hold {said}", without)
    console = Console(stderr=True)
    console.print(
        f"Crop cache: {said} ({gigabytes(free)} free). It is made once; delete the folder when done."
    )
    building = target.parent / f".building-{plan.key}-{os.getpid()}"
    building.mkdir()
    try:
        with (building / "pixels.bin").open("wb") as file:
            for region in track(
                decoded_regions(plan, load, min(8, cores())),
                "crop cache",
                len(plan.regions),
                console=console,
            ):
                file.write(region.tobytes())
            file.flush()
            os.fsync(file.fileno())
        about = {"format": FORMAT, "bytes": plan.size, "key": plan.key}
        write_atomically(building / "about.json", json.dumps(about))
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def decoded_regions(plan: Plan, load: Load, threads: int) -> Iterator[np.ndarray]:
    """The pixels of each region in order; each picture is decoded once."""
    starts = np.flatnonzero(np.diff(plan.source, prepend=-1)).tolist()
    ends = [*starts[1:], len(plan.source)]

    def cut(span: tuple[int, int]) -> list[np.ndarray]:
        whole = load(plan.people[plan.source[span[0]]])
        return [
            np.ascontiguousarray(whole[y : y + h, x : x + w])
            for x, y, w, h in plan.regions[slice(*span)].tolist()
        ]

    spans = list(zip(starts, ends, strict=True))
    with ThreadPoolExecutor(threads) as pool:
        for i in range(0, len(spans), AT_ONCE):
            for number, parts in enumerate(pool.map(cut, spans[i : i + AT_ONCE])):
                for part, region in zip(
                    parts, plan.regions[slice(*spans[i + number])], strict=True
                ):
                    if part.shape != (region[3], region[2], 3):
                        source = plan.people[plan.source[spans[i + number][0]]]
                        raise PoseError(
                            f"{source.image} is smaller than the annotation of {source.person_id} says."
                        )
                    yield part


def _regions(
    persons: Persons,
    skeleton: Skeleton,
    size_wh: Sequence[int],
    augment: Augment | None,
    size: np.ndarray,
) -> np.ndarray:
    """x, y, width, height (N, 4) of the part of its picture (N, 2) that any crop of each person may show."""
    zoom = augment.reach if augment is not None else 1.0
    low, high = _reach(persons.centre, persons.scale, size_wh, zoom)
    if augment is not None and augment.halves:
        for half in half_bodies(persons.joints, persons.visible, skeleton, size_wh):
            less, more = _reach(*half, size_wh, zoom)
            low, high = np.fmin(low, less), np.fmax(high, more)
    low = np.clip(low, 0, size - 1).astype(np.int64)
    # A person outside the picture keeps one pixel, never seen
    high = np.clip(high, low + 1, size).astype(np.int64)
    return np.concatenate([low, high - low], axis=1)


def _reach(
    centre: np.ndarray, scale: np.ndarray, size_wh: Sequence[int], zoom: float
) -> tuple[np.ndarray, np.ndarray]:
    """The corners (..., 2) of what crops may show around a centre (..., 2)."""
    diagonal = np.linalg.norm(crop.fit_aspect(scale, size_wh), axis=-1, keepdims=True)
    radius = diagonal * crop.PIXEL_STD / 2 * zoom + MARGIN
    return np.floor(centre - radius), np.ceil(centre + radius) + 1


def _size(person: Person, load: Load) -> tuple[int, int]:
    if os.path.isfile(person.image):
        with open(person.image, "rb") as file:
            size = size_of(file.read(1 << 16))
        if size is not None:
            return size
    height, width = load(person).shape[:2]
    return width, height


def _stamp(image: str) -> list[int]:
    try:
        status = os.stat(image)
    except OSError:
        return []  # no file: the name says it all
    return [status.st_size, status.st_mtime_ns]


def _versions(load: Load) -> str:
    function = getattr(load, "func", load)
    name = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    return f"{FORMAT} {name} cv2 {cv2.__version__} simplejpeg {simplejpeg.__version__}"


def _whole(target: Path, plan: Plan) -> bool:
    try:
        return (target / "about.json").is_file() and (
            target / "pixels.bin"
        ).stat().st_size == plan.size
    except OSError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> PoseError:
    return PoseError(
        f"The crop cache can't be made in {folder} ({error.strerror}); set data.cache_folder."
    )


def room(folder: Path, size: float, would: str, without: str) -> int:
    """The bytes that are free there; where they are too few, it is said before anything is written."""
    free = shutil.disk_usage(folder).free
    if size > 0.95 * free:
        raise PoseError(
            f"{would}, but only {gigabytes(free)} are free there. "
            f"Choose another disk with data.cache_folder=FOLDER, or {without}."
        )
    return free


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
