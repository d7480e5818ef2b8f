"""Who meets whom in a picture, block by block: memory is that of a block, however many people there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PAIRS = 1 << 14  # in a block: their joints stay in the processor's cache


@dataclass(frozen=True)
class Block:
    """Some whole pictures: who is in them, and each pair of the two sides, by places in the block."""

    one: slice
    other: np.ndarray  # (N,) indices
    at: np.ndarray  # (P,) places in `one`, rising
    of: np.ndarray  # (P,) places in `other`; for each of `at` in rising order


def blocks(one: np.ndarray, other: np.ndarray) -> Iterator[Block]:
    """All pairs of people of the same picture, given each side's pictures; those of `one` (M,) are in rising order."""
    by_picture = np.argsort(other, kind="stable")
    pictures = other[by_picture]
    first = np.searchsorted(pictures, one, side="left")
    count = np.searchsorted(pictures, one, side="right") - first
    before = np.cumsum(count) - count
    starts = runs(one)
    starts = starts[np.diff(before[starts] // PAIRS, prepend=-1) > 0]
    for start, end in zip(starts, np.append(starts, len(one))[1:], strict=True):
        each = count[start:end]
        others = by_picture[first[start] : first[end - 1] + each[-1]]
        shift = (first[start:end] - first[start]) - (before[start:end] - before[start])
        of = np.arange(each.sum()) + np.repeat(shift, each)
        yield Block(slice(start, end), others, np.repeat(np.arange(end - start), each), of)


def runs(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
