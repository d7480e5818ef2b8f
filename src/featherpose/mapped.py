"""Arrays of a mapped file for other processes: a worker that starts afresh maps the file too, instead of being sent its
numbers. Everything else is pickled as ever.
"""

from __future__ import annotations

import os
from functools import lru_cache
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np

from featherpose.errors import PoseError

Stamp = tuple[int, int, int]  # inode, size, time


class Referred:
    """Pickled in place of an array: where its bytes lie."""

    def __init__(self, array: np.ndarray, path: str, offset: int) -> None:
        self.place = (path, _stamp(path), offset, array.dtype.str, array.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, self.place


def for_workers(state: dict[str, Any]) -> dict[str, Any]:
    """An object's state to be pickled: while a process is being started, mapped arrays are only referred to."""
    if get_spawning_popen() is None:
        return state
    return {name: _referred(value) for name, value in state.items()}


def _referred(value: Any) -> Any:
    pages = value
    while isinstance(pages, np.ndarray) and not isinstance(pages, np.memmap):
        pages = pages.base
    if not isinstance(pages, np.memmap) or not value.flags.c_contiguous:
        return value
    inside = value.__array_interface__["data"][0] - pages.__array_interface__["data"][0]
    return Referred(value, str(pages.filename), pages.offset + inside)


def _stamp(path: str) -> Stamp:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _open(path: str, stamp: Stamp, offset: int, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return _pages(path, stamp)[offset : offset + size].view(kind).reshape(shape)


@lru_cache(maxsize=8)
def _pages(path: str, stamp: Stamp) -> np.ndarray:
    try:
        if _stamp(path) != stamp:
            raise OSError("it has been written anew")
        return np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise PoseError(
            f"{path} can't be shared with this worker ({error}): start the command again."
        ) from error
