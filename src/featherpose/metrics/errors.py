"""What goes wrong: each wrong joint as jitter, inversion, swap or miss (Ronchi and Perona, ICCV 2017).

A joint is right within the metric's near radius. Else it is *jitter* within the far radius of its own place; an
*inversion* within that of the person's opposite joint; a *swap* within that of the same or the opposite joint of
somebody else in the picture; and a *miss* elsewhere. With OKS the radii are those of similarities 0.85 and 0.5, as in
the paper; PCK has distances of its own: the threshold and twice the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherpose.metrics.pairs import blocks, runs
from featherpose.person import Persons
from featherpose.skeletons import Skeleton

KINDS = ("jitter", "inversion", "swap", "miss")
RIGHT, JITTER, INVERSION, SWAP, MISS = range(5)
NEAR, FAR = 0.85, 0.5  # similarities


@dataclass(frozen=True)
class Radii:
    """How far a joint may be off, in picture pixels; NaN where it is not annotated or the person has no size."""

    near: np.ndarray  # (N, K)
    far: np.ndarray  # (N, K)


def similarity_radii(persons: Persons, sigmas: Sequence[float]) -> Radii:
    """The distances of COCO's similarities 0.85 and 0.5."""
    spread = np.sqrt(2 * persons.area)[:, None] * (2 * np.asarray(sigmas))  # (N, K)
    seen = persons.visible > 0
    near, far = (np.where(seen, spread * np.sqrt(-np.log(s)), np.nan) for s in (NEAR, FAR))
    return Radii(near, far)


def size_radii(persons: Persons, sizes: np.ndarray, threshold: float) -> Radii:
    """A threshold of each person's size, and twice that."""
    seen = persons.visible > 0
    near = np.where(seen & (sizes > 0)[:, None], threshold * sizes[:, None], np.nan)
    return Radii(near, 2 * near)


def classify(
    predicted: np.ndarray, persons: Persons, radii: Radii, skeleton: Skeleton
) -> np.ndarray:
    """(N, K) of `RIGHT` to `MISS` for predictions (N, K, 2); -1 where nothing can be said."""
    joints, seen = persons.joints, persons.visible > 0
    opposite = np.array(skeleton.flip_order)
    own = np.linalg.norm(predicted - joints, axis=-1)
    kind = np.where(own <= radii.near, RIGHT, np.where(own <= radii.far, JITTER, MISS))
    other = np.linalg.norm(predicted - joints[:, opposite], axis=-1)
    paired = seen[:, opposite] & (opposite != np.arange(len(skeleton)))
    kind[(kind == MISS) & paired & (other <= radii.far)] = INVERSION
    kind[(kind == MISS) & _somebody_else(predicted, persons, radii, opposite)] = SWAP
    return np.where(np.isnan(radii.near), -1, kind)


def _somebody_else(
    predicted: np.ndarray,
    persons: Persons,
    radii: Radii,
    opposite: np.ndarray,
) -> np.ndarray:
    """(N, K): whether another person in the picture has the same or the opposite joint at this place."""
    found = np.zeros(predicted.shape[:2], bool)
    seen = persons.visible > 0
    by_picture = np.argsort(persons.image_id, kind="stable")
    for block in blocks(persons.image_id[by_picture], persons.image_id):
        one, other = by_picture[block.one][block.at], block.other[block.of]
        one, other = one[one != other], other[one != other]
        near = np.zeros((len(one), predicted.shape[1]), bool)
        for order in (np.arange(len(opposite)), opposite):
            there = persons.joints[other][:, order]  # (P, K, 2)
            distance = np.linalg.norm(there - predicted[one], axis=-1)
            near |= (distance <= radii.far[one]) & seen[other][:, order]
        starts = runs(one)
        if len(starts):
            found[one[starts]] = np.logical_or.reduceat(near, starts, axis=0)
    return found


def mended(predicted: np.ndarray, persons: Persons, kind: np.ndarray, which: int) -> np.ndarray:
    """The predictions with the joints of one kind of error put where they belong."""
    return np.where((kind == which)[..., None], persons.joints, predicted)
