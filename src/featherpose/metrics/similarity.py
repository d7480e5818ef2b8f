"""COCO's object keypoint similarity between annotated and predicted persons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

from featherpose.metrics.pairs import runs


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
    """Predicted persons as arrays, in the file's order. A part of them shares the table of keypoints."""

    image_id: np.ndarray  # (M,) int64
    keypoints: np.ndarray  # (R, K, 2) float64
    score: np.ndarray  # (M,) float64
    area: np.ndarray  # (M,) float64
    row: np.ndarray | None = None  # (M,) of each in `keypoints`; None where they are one to one

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, chosen: np.ndarray) -> Detections:
        return Detections(
            self.image_id[chosen],
            self.keypoints,
            self.score[chosen],
            self.area[chosen],
            self.rows[chosen],
        )

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self)) if self.row is None else self.row


def extent_area(keypoints: np.ndarray) -> np.ndarray:
    """Area of the box around each person's keypoints: what COCO takes as a detection's area."""
    width, height = (
        keypoints[..., axis].max(axis=1) - keypoints[..., axis].min(axis=1) for axis in (0, 1)
    )
    return width * height


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
    seen = truth.visible[of] > 0
    bare = ~seen.any(axis=1)
    seen[bare] = True
    count = seen.sum(axis=1)
    order = np.argsort(count, kind="stable")
    row, joint = np.nonzero(seen[order])
    pair = order[row]
    offset = _joints(found_keypoints)[at[pair], joint] - _joints(truth.keypoints)[of[pair], joint]
    if bare.any():
        alone = bare[pair]
        points, box = found_keypoints[at[pair[alone]], joint[alone]], truth.box[of[pair[alone]]]
        offset[alone] = _joints(_outside(points, box))
    exponent = (offset.real**2 + offset.imag**2) / ((sigmas * 2) ** 2)[joint]
    exponent /= (truth.area[of] + np.spacing(1))[pair]
    exponent /= 2
    terms = np.exp(-exponent)
    oks = np.empty(len(of))
    ends = np.cumsum(count[order])
    starts = runs(count[order])
    for start, end in zip(starts, np.append(starts, len(of))[1:], strict=True):
        number = count[order[start]]  # equal numbers of terms are a matrix, summed row by row
        table = terms[ends[start] - number : ends[end - 1]].reshape(-1, number)
        oks[order[start:end]] = table.sum(axis=1) / number
    return oks


def _joints(keypoints: np.ndarray) -> np.ndarray:
    """(N, K, 2) as complex numbers (N, K): both coordinates are fetched at once."""
    return keypoints.view(np.complex128)[..., 0]


def _outside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How far points (P, 2) are beyond boxes (P, 4) of thrice their size."""
    start, length = box[:, :2], box[:, 2:]
    return np.maximum(0, start - length - points) + np.maximum(0, points - (start + length * 2))


def may_reach(
    least: float,
    truth: GroundTruth,
    found_keypoints: np.ndarray,
    of: np.ndarray,
    at: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """Places in the pairs `of` (P,), `at` (P,) without most of those whose OKS is below `least`.

    Each annotated joint loses 1 - exp(-x) of the OKS, which is more than 1 - 1 / (1 + x + x^2 / 2). Joints of small
    constants lose most; the last third would rule out few more.
    """
    places = np.arange(len(of))
    seen = truth.visible > 0
    count = seen.sum(axis=1)
    measured = (count > 0) & (truth.area >= 0)
    most = np.where(measured, (1 - least + 1e-9) * count, np.inf)[of]
    narrow = 1 / (truth.area[of] + np.spacing(1))
    lost = np.zeros(len(of))
    joints = np.argsort(sigmas)[: -(-2 * len(sigmas) // 3)]
    for number, joint in enumerate(joints, start=1):
        offset = _joints(found_keypoints)[:, joint][at]
        offset -= _joints(truth.keypoints)[:, joint][of]
        x = (offset.real**2 + offset.imag**2) * narrow
        x *= 1 / (8 * sigmas[joint] ** 2)
        x += x**2 / 2 + 1
        lost += (1 - 1 / x) * seen[:, joint][of]
        if number % 3 == 0 or number == len(joints):
            kept = np.flatnonzero(~(lost > most))  # a NaN is not more
            places, of, at = places[kept], of[kept], at[kept]
            most, narrow, lost = most[kept], narrow[kept], lost[kept]
    return places


def joint_similarity(truth: GroundTruth, keypoints: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(N, K) terms of the OKS between each person and its own prediction (N, K, 2); NaN where not annotated."""
    squared = ((keypoints - truth.keypoints) ** 2).sum(axis=-1)
    exponent = squared / (2 * sigmas) ** 2 / (truth.area[:, None] + np.spacing(1)) / 2
    return np.where(truth.visible > 0, np.exp(-exponent), np.nan)
