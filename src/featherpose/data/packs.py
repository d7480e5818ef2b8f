"""People as small pictures: each one's surroundings, encoded, in few large files beside one index of columns.

A folder holds `index.npz` (the columns below, a row a person), `pack_0.bin`, `pack_1.bin`, ... (the encoded regions one
after another, the most valuable people first, so that the first packs alone are a training set) and `about.json`
(counts, and where everything came from). It loads in a second and travels as a handful of files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np

from featherpose.errors import PoseError

INDEX = "index.npz"
MIB = 2**20


@dataclass(frozen=True)
class Columns:
    """The index: a row a person. Lengths are pixels of the region, `scale` is in units of 200 of them.

    `origin` says of each joint who placed it: 0 nobody, 1 a human, 2 the teacher.
    A picture's point is at `point * zoom + shift` of the region.
    """

    source: np.ndarray  # (N,) str: coco, coco_more, lspet, ...
    split: np.ndarray  # (N,) str: train or val
    picture: np.ndarray  # (N,) str: the file's name in its source
    person: np.ndarray  # (N,) int64: the person's number in its source
    pack: np.ndarray  # (N,) int16: which file
    offset: np.ndarray  # (N,) int64: the first byte
    length: np.ndarray  # (N,) int32: how many
    size: np.ndarray  # (N, 2) int16: width, height
    zoom: np.ndarray  # (N, 2) float32
    shift: np.ndarray  # (N, 2) float32
    centre: np.ndarray  # (N, 2) float32
    scale: np.ndarray  # (N, 2) float32
    box: np.ndarray  # (N, 4) float32: x, y, width, height
    area: np.ndarray  # (N,) float32: for OKS
    joints: np.ndarray  # (N, K, 2) float32
    visible: np.ndarray  # (N, K) uint8: 0 not annotated, 1 occluded, 2 visible
    origin: np.ndarray  # (N, K) uint8
    confidence: np.ndarray  # (N, K) float16: the teacher's, the lower of its two views

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, chosen: np.ndarray) -> Columns:
        """Those people only, by mask or by numbers."""
        return Columns(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def placed(self, places: np.ndarray) -> Columns:
        """The same people with their regions elsewhere: (N, 3) pack, offset, length."""
        pack, offset, length = places.T
        return replace(
            self,
            pack=pack.astype(np.int16),
            offset=offset.astype(np.int64),
            length=length.astype(np.int32),
        )


def join(parts: list[Columns]) -> Columns:
    """All people of several indices, one after another."""
    return Columns(
        **{
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(Columns)
        }
    )


def write_index(folder: Path, columns: Columns) -> None:
    """Beside its place first, then into it: a killed build leaves no half index."""
    beside = folder / f".{INDEX}.{os.getpid()}.npz"
    np.savez_compressed(
        beside, **{each.name: getattr(columns, each.name) for each in fields(columns)}
    )
    os.replace(beside, folder / INDEX)


def read_index(folder: Path) -> Columns:
    """The columns of a folder of packs."""
    path = folder / INDEX
    try:
        with np.load(path, allow_pickle=False) as file:
            return Columns(**{each.name: file[each.name] for each in fields(Columns)})
    except FileNotFoundError as error:
        raise PoseError(f"{folder} holds no {INDEX}: is it a folder of packs?") from error
    except (KeyError, OSError, ValueError, EOFError) as error:
        raise PoseError(f"{path} is no index of packs ({error}); build the set again.") from error


def pack_path(folder: Path, number: int) -> Path:
    return folder / f"pack_{number}.bin"


def present(folder: Path, columns: Columns) -> np.ndarray:
    """(N,) whose pack lies in the folder, whole: who travels with few packs trains on their people alone."""
    ends = {
        int(n): int((columns.offset + columns.length)[columns.pack == n].max())
        for n in np.unique(columns.pack)
    }
    there = []
    for number, end in ends.items():
        path = pack_path(folder, number)
        if path.is_file():
            if path.stat().st_size < end:
                raise PoseError(f"{path} is shorter than {INDEX} says: copy it again.")
            there.append(number)
    return np.isin(columns.pack, there)


def address(folder: Path, columns: Columns, row: int) -> str:
    """How `Person.image` names a region; `region` reads it."""
    path = pack_path(folder, int(columns.pack[row]))
    return f"{path}@{columns.offset[row]}+{columns.length[row]}"


def region(image: str) -> np.ndarray:
    """The region (H, W, 3), uint8 RGB, at an address."""
    path, _, place = image.rpartition("@")
    try:
        start, length = (int(number) for number in place.split("+"))
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(length)
    except (OSError, ValueError) as error:
        raise PoseError(f"{image} can't be read: {error}.") from error
    return decode(data, image)


def decode(data: bytes | np.ndarray, name: str) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise PoseError(
            f"{name} holds no picture: the pack is damaged or not the index's; copy it again."
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def pixels(folder: Path, columns: Columns, threads: int | None = None) -> np.ndarray:
    """All regions of these people in memory, for training that has it: (N, H, W, 3) uint8 RGB, black where none is.

    A region lies at its canvas' top left, so joints, centre and scale hold as they are. cv2 decodes without the
    interpreter's lock: threads (default: one a core) share the work.
    """
    width, height = columns.size.max(axis=0).tolist() if len(columns) else (1, 1)
    canvas = np.zeros((len(columns), height, width, 3), np.uint8)  # (N, H, W, 3)
    packs = {
        int(n): np.memmap(pack_path(folder, int(n)), np.uint8, mode="r")
        for n in np.unique(columns.pack)
    }

    def fill(row: int) -> None:
        start = int(columns.offset[row])
        data = packs[int(columns.pack[row])][start : start + int(columns.length[row])]
        part = decode(data, address(folder, columns, row))
        canvas[row, : part.shape[0], : part.shape[1]] = part

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        list(pool.map(fill, range(len(columns))))
    return canvas


def write_packs(folder: Path, regions: Iterable[bytes], most: int = 60 * MIB) -> np.ndarray:
    """Fills one file after another, each with `most` bytes at most; gives (N, 3): pack, offset, length of each."""
    places = []
    number = 0
    offset = 0
    file = pack_path(folder, 0).open("wb")
    try:
        for data in regions:
            if offset and offset + len(data) > most:
                file.close()
                number, offset = number + 1, 0
                file = pack_path(folder, number).open("wb")
            file.write(data)
            places.append((number, offset, len(data)))
            offset += len(data)
    finally:
        file.close()
    return np.array(places, np.int64).reshape(-1, 3)
