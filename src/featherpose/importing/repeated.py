"""How exactly people label a joint: sigmas of the object keypoint similarity from pictures that were labelled twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from featherpose.errors import PoseError
from featherpose.importing.folder import box_of
from featherpose.importing.labels import Labelled, Labels

FAR = 0.3  # of a person's scale, the root of the area: labels farther apart on average are of two people
ENDLESS = np.array([np.inf, np.inf])  # a picture's size: the box of joints is not cut off


@dataclass(frozen=True)
class Repeated:
    """Labels of the same people by two hands: distances in each person's scale, NaN where either has no label."""

    distances: np.ndarray  # (P, K)
    alone: int  # people who were labelled once

    @property
    def counts(self) -> np.ndarray:
        return (~np.isnan(self.distances)).sum(axis=0)

    def sigmas(self) -> np.ndarray:
        """(K,) as COCO's authors have them: sigma^2 is the mean of d^2 / s^2, d from one hand's label to the truth.

        Nobody knows the truth. Of two hands that err alike and on their own, the labels' distance has twice the mean
        square of either's distance to it: half of it is sigma^2. NaN where no person has the joint twice.
        """
        squared = np.where(np.isnan(self.distances), 0.0, self.distances**2)
        with np.errstate(invalid="ignore"):
            return np.sqrt(squared.sum(axis=0) / 2 / np.where(self.counts, self.counts, np.nan))


def compare(first: Labels, second: Labels | None) -> Repeated:
    """Two sources' labels of the same pictures, or one source's people that lie on each other."""
    if second is not None and sorted(first.joints) != sorted(second.joints):
        odd = sorted(set(first.joints) ^ set(second.joints))
        raise PoseError(
            f"The two sources have not the same joints: only one has {', '.join(odd)}. Give both names with --joints."
        )
    mine, theirs = _by_picture(first), {}
    shared = list(mine)
    if second is not None:
        order = [second.joints.index(joint) for joint in first.joints]
        mine, theirs = _alike(mine, _by_picture(second, order))
        shared = sorted(mine.keys() & theirs.keys())
    rows, alone = [], 0
    for name in shared:
        people = mine[name]
        pairs = list(_pairs(people, theirs[name]) if second else _within(people))
        rows += [_apart(*pair) for pair in pairs]
        alone += len(people) + len(theirs.get(name, [])) - 2 * len(pairs)
    if not rows:
        raise PoseError(
            "Nobody was labelled twice: give two files of the same pictures, or one in which people lie on each other."
        )
    return Repeated(np.stack(rows), alone)


def _by_picture(labels: Labels, order: list[int] | None = None) -> dict[str, list[Labelled]]:
    """The people of each picture, their joints in another order where one is given."""
    found: dict[str, list[Labelled]] = {}
    for person in labels.people:
        if order is not None:
            known = (person.visible[order], person.box, person.area)
            person = Labelled(person.picture, person.joints[order], *known)
        found.setdefault(labels.pictures[person.picture].name, []).append(person)
    return found


def _alike(
    mine: dict[str, list[Labelled]], theirs: dict[str, list[Labelled]]
) -> tuple[dict[str, list[Labelled]], dict[str, list[Labelled]]]:
    """Under the same names: those of the files alone where the two hands had them in folders of their own."""
    if not mine.keys() & theirs.keys():
        bare = [
            {Path(name).name: people for name, people in each.items()} for each in (mine, theirs)
        ]
        if not bare[0].keys() & bare[1].keys():
            raise PoseError(
                "The two sources share no picture by its name; they have "
                f"{next(iter(mine))} and {next(iter(theirs))}."
            )
        mine, theirs = bare
    return mine, theirs


def _apart(one: Labelled, other: Labelled) -> np.ndarray:
    """(K,) distances of the two hands' labels in the person's scale."""
    both = (one.visible > 0) & (other.visible > 0)
    squared = ((one.joints - other.joints) ** 2).sum(axis=1)
    return np.where(both, np.sqrt(squared / ((_area(one) + _area(other)) / 2)), np.nan)


def _area(person: Labelled) -> float:
    """What the imported set has as its area, or that of the joints' extent."""
    box = box_of(person, ENDLESS)
    return max(float(person.area or box[2] * box[3]), 1.0)


def _distance(one: Labelled, other: Labelled) -> float:
    apart = _apart(one, other)
    return float(np.nanmean(apart)) if np.isfinite(apart).any() else np.inf


def _pairs(people: list[Labelled], others: list[Labelled]) -> Iterator[tuple[Labelled, Labelled]]:
    """Who is who in one picture: nearest in sum, and none that is far off."""
    cost = np.array([[min(_distance(a, b), 1e9) for b in others] for a in people])
    for i, j in zip(*linear_sum_assignment(cost), strict=True):
        if cost[i, j] <= FAR:
            yield people[i], others[j]


def _within(people: list[Labelled]) -> Iterator[tuple[Labelled, Labelled]]:
    """Of one source: two people who are nearest to each other lie on each other."""
    cost = np.array([[np.inf if a is b else _distance(a, b) for b in people] for a in people])
    nearest = cost.argmin(axis=1)
    for i, j in enumerate(nearest):
        if i < j and nearest[j] == i and cost[i, j] <= FAR:
            yield people[i], people[j]
