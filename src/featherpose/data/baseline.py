"""The score to beat: answering every person with the mean pose of the training people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featherpose.crop import apply, crop_matrix, invert
from featherpose.errors import PoseError
from featherpose.person import People


def mean_pose(people: People, input_size: Sequence[int]) -> np.ndarray:
    """Where each joint lies on average, (K, 2) in 0..1 of the crop of `input_size` (height, width).

    Only annotated joints count; one that nobody has lies in the middle of the crop.
    """
    if not people.persons:
        raise PoseError("A mean pose needs at least one person.")
    height, width = input_size
    total, count = 0.0, 0.0
    for person in people.persons:
        annotated = (person.visible > 0)[:, None]
        matrix = crop_matrix(person.centre, person.scale, (width, height))
        total = total + np.where(annotated, apply(matrix, person.joints), 0.0)
        count = count + annotated
    return np.where(count > 0, total / np.maximum(count, 1), (width / 2, height / 2)) / (
        width,
        height,
    )


def predict_mean_pose(people: People, mean: np.ndarray, input_size: Sequence[int]) -> np.ndarray:
    """The mean pose put into each person's crop: keypoints (N, K, 2) in picture coordinates."""
    height, width = input_size
    keypoints = np.empty((len(people.persons), len(mean), 2))
    for i, person in enumerate(people.persons):
        matrix = crop_matrix(person.centre, person.scale, (width, height))
        keypoints[i] = apply(invert(matrix), mean * (width, height))
    return keypoints
