"""The score to beat: answering every person with the mean pose of the training people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featherpose.crop import upright_matrices
from featherpose.errors import PoseError
from featherpose.person import People


def mean_pose(people: People, input_size: Sequence[int]) -> np.ndarray:
    """Where each joint lies on average, (K, 2) in 0..1 of the crop of `input_size` (height, width).

    Only annotated joints count; one that nobody has lies in the middle of the crop.
    """
    persons = people.persons
    if not len(persons):
        raise PoseError("A mean pose needs at least one person.")
    height, width = input_size
    annotated = (persons.visible > 0)[..., None]  # (N, K, 1)
    matrices = upright_matrices(persons.centre, persons.scale, (width, height))
    zoom, offset = matrices[:, 0, 0], matrices[:, :, 2]
    inside = persons.joints * zoom[:, None, None] + offset[:, None]
    total, count = np.where(annotated, inside, 0.0).sum(axis=0), annotated.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), (width / 2, height / 2)) / (
        width,
        height,
    )


def predict_mean_pose(people: People, mean: np.ndarray, input_size: Sequence[int]) -> np.ndarray:
    """The mean pose put into each person's crop: keypoints (N, K, 2) in picture coordinates."""
    height, width = input_size
    matrices = upright_matrices(people.persons.centre, people.persons.scale, (width, height))
    zoom, offset = matrices[:, 0, 0], matrices[:, :, 2]
    back = zoom / (zoom * zoom)  # as `crop.invert` has it
    return (mean * (width, height)) * back[:, None, None] - (back[:, None] * offset)[:, None]
