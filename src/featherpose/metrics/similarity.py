"""COCO's object keypoint similarity between annotated and predicted persons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np


@dataclass(frozen=True)
class GroundTruth:
    """Annotated persons as arrays, in the file's order."""

    image_id: np.ndarray  # (N,) int64
    keypoints: np.ndarray  # (N, K, 2) float64
    visible: np.ndarray  # (N, K)
    box: np.ndarray  # (N, 4) x, y, width, height
    area: np.ndarray  # (N,)
    crowd: np.ndarray  # (N,) bool: may be matched any number of times
    ignore: np.ndarray  # (N,) bool: crowds and persons without a keypoint neither help nor harm
    person_id: np.ndarray  # (N,) int64
    images: np.ndarray  # (I,) int64: all pictures that count, persons in them or not
    names: Mapping[int, str] = field(
        default_factory=dict
    )  # the file's own ids, where they are text

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, chosen: np.ndarray) -> GroundTruth:
        per_person = {
            f.name: getattr(self, f.name)[chosen]
            for f in fields(self)
            if f.name not in ("images", "names")
        }
        return GroundTruth(**per_person, images=self.images, names=self.names)

    def only(self, images: np.ndarray) -> GroundTruth:
        """The same persons, with only these pictures counting."""
        return replace(self, images=np.intersect1d(self.images, images))


@dataclass(frozen=True)
class Detections:
    """Predicted persons as arrays, in the file's order."""

    image_id: np.ndarray  # (M,) int64
    keypoints: np.ndarray  # (M, K, 2) float64
    score: np.ndarray  # (M,) float64
    area: np.ndarray  # (M,) float64

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, chosen: np.ndarray) -> Detections:
        return Detections(
            self.image_id[chosen], self.keypoints[chosen], self.score[chosen], self.area[chosen]
        )


def extent_area(keypoints: np.ndarray) -> np.ndarray:
    """Area of the box around each person's keypoints: what COCO takes as a detection's area."""
    low, high = keypoints.min(axis=1), keypoints.max(axis=1)
    return (high[:, 0] - low[:, 0]) * (high[:, 1] - low[:, 1])


def similarity(
    truth: GroundTruth,
    found_keypoints: np.ndarray,
    of: np.ndarray,
    at: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """OKS of the persons `of` (P,) with the detections `at` (P,).

    Only annotated joints count; to a person without any, the distance is that to its box, thrice its size.
    The terms are computed and summed in pycocotools' order, so that ties are ties here too.
    """
    variances = (sigmas * 2) ** 2
    keypoints, seen = truth.keypoints[of], truth.visible[of] > 0
    offset = found_keypoints[at] - keypoints
    annotated = seen.sum(axis=1)
    bare = annotated == 0
    if bare.any():
        start, length = truth.box[of[bare], None, :2], truth.box[of[bare], None, 2:]
        points = found_keypoints[at[bare]]
        offset[bare] = np.maximum(0, start - length - points) + np.maximum(
            0, points - (start + length * 2)
        )
        seen[bare], annotated[bare] = True, len(sigmas)
    squared = offset[..., 0] ** 2 + offset[..., 1] ** 2
    exponent = squared / variances / (truth.area[of, None] + np.spacing(1)) / 2
    oks = np.empty(len(of))
    for count in np.unique(
        annotated
    ):  # equal counts form a matrix, summed row by row as pycocotools sums one row
        rows = annotated == count
        oks[rows] = np.exp(-exponent[rows][seen[rows]].reshape(-1, count)).sum(axis=1) / count
    return oks


def joint_similarity(truth: GroundTruth, keypoints: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(N, K) terms of the OKS between each person and its own prediction (N, K, 2); NaN where not annotated."""
    squared = ((keypoints - truth.keypoints) ** 2).sum(axis=-1)
    exponent = squared / (2 * sigmas) ** 2 / (truth.area[:, None] + np.spacing(1)) / 2
    return np.where(truth.visible > 0, np.exp(-exponent), np.nan)
