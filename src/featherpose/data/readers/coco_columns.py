"""A COCO file as columns, in one pass without a dictionary for every record.

It takes only files in which every record is as the format says, and says nothing about others: `coco` then goes through
their records one by one, and names the one that is wrong.
"""

from __future__ import annotations

import gc
import mmap
import re
from codecs import getincrementaldecoder
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from featherpose.data.readers import source

_PLAIN = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)  # one part, no drive, nothing that leads out


class _Picture(msgspec.Struct, gc=False):
    id: int | str
    width: float
    height: float
    file_name: str


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int | str
    bbox: tuple[float, float, float, float]
    keypoints: list[float] = []
    area: float = float("nan")
    category_id: int | str | None = None
    iscrowd: int | bool = False
    num_keypoints: int = -1


class _File(msgspec.Struct, gc=False):
    images: list[_Picture]
    annotations: list[_Annotation]
    categories: list[dict[str, Any]]


@dataclass(frozen=True)
class Columns:
    """The annotations of one category, a row each, and the listed pictures."""

    person_id: np.ndarray  # (N,) int64
    picture: np.ndarray  # (N,) int64: the place of its picture; -1 for one that is not listed
    image_id: (
        np.ndarray
    )  # (N,) int64: the picture's number; of one that is not listed the file's, or -1 for text
    box: np.ndarray  # (N, 4) as the file has it
    area: np.ndarray  # (N,), NaN where there is none
    crowd: np.ndarray  # (N,) bool
    announced: np.ndarray  # (N,) int64: num_keypoints, -1 where there is none
    keypoints: np.ndarray  # (N, K, 3), zeros where there are none
    ids: list[int | str]  # of the pictures, in the file's order
    files: list[str]
    size: np.ndarray  # (P, 2) int64
    number: (
        np.ndarray
    )  # (P,) int64: the id or, where some ids are text, the place in the file from 1


def read(path: Path, joints: int, category: Any) -> Columns | None:
    """The columns, or None where a record is not as it should be. `category` gives the wanted id of the categories."""
    with _no_collection():
        try:
            content = _decoded(path)
        except (OSError, EOFError, ValueError, RecursionError, msgspec.MsgspecError):
            return None
        wanted = category(content.categories)
        chosen = [each for each in content.annotations if each.category_id == wanted]
        try:
            return _columns(content.images, chosen, joints)
        except (OverflowError, ValueError):  # beyond 64 bits, or of other lengths
            return None


@contextmanager
def _no_collection() -> Generator[None]:
    """Millions of new objects and none to free: looking for cycles among them takes as long as the rest."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _decoded(path: Path) -> _File:
    decoder = msgspec.json.Decoder(_File)
    if path.suffix == ".gz":
        return decoder.decode(_utf8(source.read_bytes(path)))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return decoder.decode(_utf8(data))


def _utf8(data: Any) -> Any:
    """The same bytes: what the decoder skips has to be text too."""
    step = 1 << 24
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(data), step):
        decoder.decode(data[start : start + step])
    decoder.decode(b"", final=True)
    return data


def _columns(pictures: list[_Picture], annotations: list[_Annotation], joints: int) -> Columns:
    places = {each.id: place for place, each in enumerate(pictures)}  # the last of equal ids
    pictures = [pictures[place] for place in places.values()]
    places = {identity: place for place, identity in enumerate(places)}
    text = any(isinstance(identity, str) for identity in places)
    number = np.arange(1, len(places) + 1) if text else np.array(list(places), np.int64)
    picture = np.array([places.get(each.image_id, -1) for each in annotations], np.int64)
    own = [each.image_id if type(each.image_id) is int else -1 for each in annotations]
    listed = picture >= 0
    image_id = np.array(own, np.int64)
    image_id[listed] = number[picture[listed]]
    size = np.array([(each.width, each.height) for each in pictures], np.float64).reshape(-1, 2)
    box = np.array([each.bbox for each in annotations], np.float64).reshape(-1, 4)
    area = np.array([each.area for each in annotations], np.float64)
    if np.abs(size).max(initial=0) > 2**53 or np.abs(box).max(initial=0) > source.LARGEST:
        raise ValueError("a size or box that no picture has")
    if (np.abs(area[~np.isnan(area)]) >= source.LARGEST).any():
        raise ValueError("an area that no picture has")
    return Columns(
        person_id=np.array([each.id for each in annotations], np.int64),
        picture=picture,
        image_id=image_id,
        box=box,
        area=area,
        crowd=np.array([bool(each.iscrowd) for each in annotations], bool),
        announced=np.array([each.num_keypoints for each in annotations], np.int64),
        keypoints=_keypoints(annotations, joints),
        ids=list(places),
        files=[each.file_name for each in pictures],
        size=size.astype(np.int64),
        number=number,
    )


def _keypoints(annotations: list[_Annotation], joints: int) -> np.ndarray:
    table = np.zeros((len(annotations), joints * 3))
    rows = [row for row, each in enumerate(annotations) if each.keypoints]
    step = 4096  # people at once: fewer numbers that live twice
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        numbers = np.array([annotations[row].keypoints for row in some], np.float64)
        if numbers.shape[1] != table.shape[1]:
            raise ValueError("another number of keypoints")
        table[some] = numbers
    return table.reshape(-1, joints, 3)


def paths(files: list[str], folder: Path, path: Path, ids: list[int | str]) -> list[str]:
    """The pictures' paths; a name that leads out of the folder is refused."""
    start = str(folder / "x")[:-1]
    return [
        start + name
        if _PLAIN.fullmatch(name)
        else source.picture_path(folder, name, path, f"image {identity}")
        for name, identity in zip(files, ids, strict=True)
    ]
