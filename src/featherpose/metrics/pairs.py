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
    starts = runs(one)
    lengths = np.diff(np.append(starts, len(one)))  # of each picture, as what follows
    first = np.searchsorted(pictures, one[starts], side="left")
    count = np.searchsorted(pictures, one[starts], side="right") - first
    before = np.cumsum(lengths * count) - lengths * count
    opens = np.flatnonzero(np.diff(before // PAIRS, prepend=-1) > 0)
    for a, b in zip(opens, np.append(opens, len(starts))[1:], strict=True):
        length, total = lengths[a:b], int(lengths[a:b].sum())
        each = np.repeat(count[a:b], length)
        others = by_picture[first[a] : first[b - 1] + count[b - 1]]
        shift = np.repeat(first[a:b] - first[a], length) - (np.cumsum(each) - each)
        of = np.arange(each.sum()) + np.repeat(shift, each)
        yield Block(
            slice(starts[a], starts[a] + total), others, np.repeat(np.arange(total), each), of
        )


def runs(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
