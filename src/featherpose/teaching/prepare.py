"""The slow steps, each kept in OUT/work until it is deleted: who is where, their regions, what the teacher says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError
from featherpose.teaching import sieve, sources
from featherpose.teaching.listing import Listing
from featherpose.teaching.regions import regions
from featherpose.teaching.sources import Places
from featherpose.teaching.teacher import Teacher, Views, teach

Say = Callable[[str], None]


@dataclass
class Found:
    """One source after the slow steps; a row a person."""

    people: Listing
    hashes: np.ndarray  # (N,) uint64, its picture's
    place: np.ndarray  # (N, 2) offset and length in the file of regions
    size: np.ndarray  # (N, 2)
    zoom: np.ndarray  # (N, 2)
    shift: np.ndarray  # (N, 2)
    views: Views
    file: Path  # of regions

    def rows(self, chosen: np.ndarray) -> Found:
        return Found(
            self.people.rows(chosen),
            self.hashes[chosen],
            self.place[chosen],
            self.size[chosen],
            self.zoom[chosen],
            self.shift[chosen],
            Views(self.views.points[chosen], self.views.confidence[chosen]),
            self.file,
        )


def prepare(name: str, places: Places, say: Say) -> Found:
    """Lists, cuts and teaches one source."""
    people = _listing(name, places, say)
    if not len(people):
        raise PoseError(f"The source {name} has nobody to learn from: are its pictures there?")
    file = places.work / f"{name}.bin"
    cut = _once(places.work / f"{name}.regions.npz", lambda: _cut(people, file), name, say)
    taught = _once(
        places.work / f"{name}.teacher.npz", lambda: _teach(people, cut, file, places), name, say
    )
    views = Views(taught["points"].astype(float), taught["confidence"].astype(float))
    return Found(
        people, cut["hashes"], cut["place"], cut["size"], cut["zoom"], cut["shift"], views, file
    )


def _listing(name: str, places: Places, say: Say) -> Listing:
    def columns() -> dict[str, np.ndarray]:
        people = sources.listing(name, places)
        said = json.dumps(people.skipped)
        kept = {each.name: getattr(people, each.name) for each in fields(people)}
        return {**kept, "source": np.array(name), "skipped": np.array(said)}

    table = _once(places.work / f"{name}.people.npz", columns, name, say)
    named = {key: table[key] for key in table if key not in ("source", "skipped")}
    return Listing(source=name, skipped=json.loads(str(table["skipped"])), **named)


def _cut(people: Listing, file: Path) -> dict[str, np.ndarray]:
    place = []
    size = []
    zoom = []
    shift = []
    offset = 0
    with file.open("wb") as out:
        for region in regions(people):
            out.write(region.data)
            place.append((offset, len(region.data)))
            offset += len(region.data)
            size.append(region.size)
            zoom.append(region.zoom)
            shift.append(region.shift)
    return {
        "place": np.array(place, np.int64).reshape(-1, 2),
        "size": np.array(size, np.int16).reshape(-1, 2),
        "zoom": np.array(zoom, float).reshape(-1, 2),
        "shift": np.array(shift, float).reshape(-1, 2),
        "hashes": _hashes(people.picture.tolist()),
    }


def _teach(people: Listing, cut: dict, file: Path, places: Places) -> dict[str, np.ndarray]:
    teacher = Teacher(places.data / "teachers" / "tinypose256.xml")
    data = np.memmap(file, np.uint8, mode="r")
    encoded = [data[start : start + length] for start, length in cut["place"]]
    views = teach(teacher, encoded, people.box, cut["zoom"], cut["shift"])
    return {
        "points": views.points.astype(np.float32),
        "confidence": views.confidence.astype(np.float32),
    }


def _hashes(pictures: list[str]) -> np.ndarray:
    once = {path: sieve.picture_hash(path) for path in dict.fromkeys(pictures)}
    return np.array([once[path] for path in pictures], np.uint64)


def _once(path: Path, make: Callable[[], dict], name: str = "", say: Say | None = None) -> dict:
    """The file's arrays, made first where it is not there."""
    if not path.is_file():
        start = time.perf_counter()
        beside = path.with_name(f".{path.name}")
        np.savez(beside, **make())
        beside.replace(path)
        if say is not None:
            step = path.name.split(".")[1]
            say(f"{name}: {step} in {time.perf_counter() - start:.0f} s")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def held_out(places: Places) -> np.ndarray:
    """Hashes of the pictures on which networks are scored."""
    return _once(
        places.work / "held_out.npz", lambda: {"hashes": _hashes(sources.held_out(places))}
    )["hashes"]
