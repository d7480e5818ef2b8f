"""Percentage of correct keypoints: MPII's PCKh (head size) and LSP's PCK (torso); end-point error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from featherpose.errors import PoseError
from featherpose.intervals import Counts
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.errors import Radii, size_radii
from featherpose.person import Person, Persons
from featherpose.protocol import MEANS
from featherpose.settings import choice, number
from featherpose.skeletons import Skeleton

LSP_TORSO = ("left_shoulder", "right_hip")  # PCK is of these two; of others it has another name


def distances(
    predicted: np.ndarray, joints: np.ndarray, visible: np.ndarray, size: np.ndarray | float
) -> np.ndarray:
    """(N, K) errors in units of each person's `size` (N,); infinite where nothing was predicted.

    Joints that are not annotated (`visible` 0) are NaN: neither right nor wrong.
    """
    error = np.linalg.norm(predicted - joints, axis=-1) / np.reshape(size, (-1, 1))
    error[np.isnan(error)] = np.inf
    return np.where(visible > 0, error, np.nan)


@dataclass(frozen=True)
class Pck:
    """Percentages of correct keypoints at one threshold."""

    joints: np.ndarray  # (K,) per joint; NaN where no person has it annotated
    counts: np.ndarray  # (K,) how many persons have it annotated
    weighted: float  # mean over the scored joints, each by its count: HRNet's mean
    unweighted: float  # mean over the scored joints, each alike

    def mean(self, which: str | None) -> float:
        return self.unweighted if which == "unweighted" else self.weighted


def pck(errors: np.ndarray, threshold: float, scored: Sequence[int]) -> Pck:
    """Scores `distances` at a threshold; a distance of just the threshold is correct."""
    counts = (~np.isnan(errors)).sum(axis=0)
    right = (errors <= threshold).sum(axis=0)
    with np.errstate(invalid="ignore"):
        joints = 100.0 * right / np.where(counts > 0, counts, np.nan)
    counted = [joint for joint in scored if counts[joint] > 0]
    if not counted:
        return Pck(joints, counts, float("nan"), float("nan"))
    weighted = 100.0 * right[counted].sum() / counts[counted].sum()
    return Pck(joints, counts, float(weighted), float(joints[counted].mean()))


def area_under_curve(
    errors: np.ndarray, until: float, scored: Sequence[int], mean: str | None = "weighted"
) -> float:
    """Area under the curve of mean PCK over thresholds 0 to `until` in steps of a fiftieth, as a percentage."""
    curve = [pck(errors, until * i / 50, scored).mean(mean) for i in range(51)]
    return float(np.mean((np.array(curve[1:]) + curve[:-1]) / 2))


def end_point_error(pixels: np.ndarray, scored: Sequence[int]) -> float:
    """Mean of `distances` in pixels over all annotated scored joints."""
    chosen = pixels[:, list(scored)]
    return float(np.nanmean(chosen)) if (~np.isnan(chosen)).any() else float("nan")


class PercentageOfCorrectKeypoints(KeypointMetric):
    """PCK at two thresholds with both means, per table column, area under the curve and end-point error.

    Args:
        persons: the annotated persons; `update` gets indices into them.
        skeleton: which joints count, and the columns.
        sizes: (N,) the length that a distance is measured in, for each person; NaN leaves the person out.
        name: of the metric in tables; of some of the data's joints it says how many.
        threshold: of the main score.
        fine: a second, stricter threshold.
        mean: which mean is the main score: `weighted` by how often each joint is annotated, or `unweighted`.
    """

    def __init__(
        self,
        persons: Iterable[Person],
        skeleton: Skeleton,
        sizes: np.ndarray,
        name: str,
        threshold: float,
        fine: float,
        mean: str,
    ) -> None:
        super().__init__(persons, skeleton)
        choice("mean", mean, MEANS)
        self.sizes = sizes
        self.name = f"{name}({len(skeleton)} joints)" if skeleton.partial else name
        self.mean = mean
        self.threshold = number("data.metric.threshold", threshold, above=0)
        self.fine = number("data.metric.fine", fine, above=0)
        self.main = f"{self.name}@{threshold:g}"

    def measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index (N,), `distances` (N, K) in sizes and in pixels of the predicted persons that have a size."""
        index, predicted, _ = self.collected()
        sized = np.isfinite(self.sizes[index]) & (self.sizes[index] > 0)
        index, predicted = index[sized], predicted[sized]
        joints, visible = self.persons.joints[index], self.persons.visible[index]
        pixels = distances(predicted, joints, visible, 1.0)
        return index, distances(predicted, joints, visible, self.sizes[index]), pixels

    def overall(self, found: Pck) -> float:
        """The mean that is the main score."""
        return found.mean(self.mean)

    def compute(self) -> dict[str, float]:
        _, errors, pixels = self.measured()
        scored = self.skeleton.scored
        coarse, fine = pck(errors, self.threshold, scored), pck(errors, self.fine, scored)
        result = {
            self.main: self.overall(coarse),
            f"{self.name}@{self.fine:g}": self.overall(fine),
            f"{self.main} weighted": coarse.weighted,
            f"{self.main} unweighted": coarse.unweighted,
            "AUC": area_under_curve(errors, self.threshold, scored, self.mean),
            "EPE": end_point_error(pixels, scored),
        }
        for column, members in self.skeleton.columns.items():
            values = coarse.joints[list(members)]
            result[f"joint/{column}"] = (
                float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
            )
        return result

    def evidence(self) -> Counts:
        index, errors, _ = self.measured()
        errors = errors[:, list(self.skeleton.scored)]
        image = self.persons.image_id[index]
        pictures, place = np.unique(image, return_inverse=True)
        right, annotated = np.zeros((2, len(pictures), errors.shape[1]))
        np.add.at(right, place, errors <= self.threshold)
        np.add.at(annotated, place, ~np.isnan(errors))
        return Counts(pictures, right, annotated, self.mean != "unweighted")

    def radii(self, index: np.ndarray) -> Radii:
        sizes = np.where(np.isfinite(self.sizes[index]), self.sizes[index], 0.0)
        return size_radii(self.persons[index], sizes, self.threshold)

    def part(self, chosen: np.ndarray) -> float:
        index, predicted, _ = self.collected()
        sizes = self.sizes[index]
        told = chosen & (np.isfinite(sizes) & (sizes > 0))[:, None]
        seen = np.where(told, self.persons.visible[index], 0)
        errors = distances(predicted, self.persons.joints[index], seen, sizes)
        columns = np.flatnonzero(told.any(axis=0))
        scored = [joint for joint in columns if joint in self.skeleton.scored] or list(columns)
        return self.overall(pck(errors, self.threshold, scored))

    def by_joint(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) percentages at the main threshold, and how many persons have each joint annotated."""
        result = pck(self.measured()[1], self.threshold, self.skeleton.scored)
        return result.joints, result.counts

    def by_person(self) -> tuple[np.ndarray, np.ndarray]:
        """Index (N,) and mean error of the annotated joints, in twice the threshold at most: 0 best, 1 worst."""
        index, errors, _ = self.measured()
        bounded = np.minimum(errors[:, list(self.skeleton.scored)] / (2 * self.threshold), 1.0)
        some = (~np.isnan(bounded)).any(axis=1)
        return index[some], np.nanmean(bounded[some], axis=1)


class PCKh(PercentageOfCorrectKeypoints):
    """MPII's measure: distances in units of 0.6 times the head box's diagonal (`Person.head_size`)."""

    def __init__(
        self,
        persons: Iterable[Person],
        skeleton: Skeleton,
        threshold: float = 0.5,
        fine: float = 0.1,
        mean: str = "weighted",
    ) -> None:
        persons = Persons.of(persons)
        sizes = persons.head_size
        if len(sizes) and not np.isfinite(sizes).any():
            raise PoseError(
                "PCKh needs head sizes and these annotations have none: use the metric PCK."
            )
        super().__init__(persons, skeleton, sizes, "PCKh", threshold, fine, mean)


class PCK(PercentageOfCorrectKeypoints):
    """LSP's measure, person-centric: distances in units of the torso, from left shoulder to right hip.

    Left and right are the person's own. Persons whose size is not known cannot be measured and are left out.

    Whatever the size is, the score's name says it, for these are different measures: `PCK` is of LSP's torso, `PCKh` of
    the head size, `PCKbox` of the box's longer side, as Yang and Ramanan (2013) did, `PCK(a-b)` of two other joints.

    Args:
        size: `torso`, `head`, `box`, or the names of two joints, [a, b]. None: the torso where the skeleton names one,
            else the box.
        threshold, fine: None: 0.2 and 0.1 of a torso or of two joints, 0.5 and 0.1 of a head, 0.1 and 0.05 of a box.
    """

    def __init__(
        self,
        persons: Iterable[Person],
        skeleton: Skeleton,
        threshold: float | None = None,
        fine: float | None = None,
        mean: str = "weighted",
        size: str | Sequence[str] | None = None,
    ) -> None:
        persons = Persons.of(persons)
        name, sizes, usual = sizes_by(size, persons, skeleton)
        if len(sizes) and not np.isfinite(sizes).any():
            raise PoseError(
                f"{name} can measure nobody: no person has the size that it is in. Choose another with "
                "data.metric.size: torso, head, box, or two joints, [a, b]."
            )
        coarse = usual[0] if threshold is None else threshold
        strict = usual[1] if fine is None else fine
        super().__init__(persons, skeleton, sizes, name, coarse, strict, mean)


def sizes_by(
    size: str | Sequence[str] | None, persons: Persons, skeleton: Skeleton
) -> tuple[str, np.ndarray, tuple[float, float]]:
    """The measure's name, each person's size (N,) and the two usual thresholds."""
    if size is None:
        size = "box" if skeleton.torso is None else "torso"
    if size == "box":
        return "PCKbox", box_sizes(persons), (0.1, 0.05)
    if size == "head":
        return "PCKh", persons.head_size, (0.5, 0.1)
    if size == "torso":
        if skeleton.torso is None:
            raise PoseError(
                f"data.metric.size=torso, but the skeleton {skeleton.name} names no torso: add "
                "skeleton.torso: [a, b], or name two joints, data.metric.size=[a,b]."
            )
        ends = skeleton.torso
    else:
        ends = _pair(size, skeleton)
    joints = (skeleton.joints[ends[0]], skeleton.joints[ends[1]])
    name = "PCK" if joints == LSP_TORSO else f"PCK({joints[0]}-{joints[1]})"
    return name, torso_sizes(persons, ends), (0.2, 0.1)


def _pair(size: str | Sequence[str], skeleton: Skeleton) -> tuple[int, int]:
    if isinstance(size, str) or len(size) != 2 or size[0] == size[1]:
        raise PoseError(
            f"data.metric.size is {size}; known: torso, head, box, or two joints, e.g. [left_hip,right_hip]."
        )
    for joint in size:
        if joint not in skeleton.joints:
            raise PoseError(
                f"data.metric.size names {joint}, which the skeleton {skeleton.name} does not have; it has: "
                f"{', '.join(skeleton.joints)}."
            )
    return skeleton.index(size[0]), skeleton.index(size[1])


def torso_sizes(persons: Persons, ends: tuple[int, int]) -> np.ndarray:
    """Each person's distance between two joints; NaN where one of them is not annotated."""
    a, b = ends
    along = persons.joints[:, a] - persons.joints[:, b]
    both = (persons.visible[:, a] > 0) & (persons.visible[:, b] > 0)
    return np.where(both, np.linalg.norm(along, axis=1), np.nan)


def box_sizes(persons: Persons) -> np.ndarray:
    """Each person's longer side of the box; NaN where the box is empty."""
    sides = persons.box[:, 2:].max(axis=1)
    return np.where(sides > 0, sides, np.nan)
