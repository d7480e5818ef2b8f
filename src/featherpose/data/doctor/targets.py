"""Whether there is anything to learn: joints that are annotated, and lie where the network looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featherpose import crop
from featherpose.errors import PoseError
from featherpose.person import Persons
from featherpose.skeletons import Skeleton


def in_crops(persons: Persons, size_wh: Sequence[int]) -> np.ndarray:
    """(N, K): the annotated joints that lie within their person's plain crop."""
    annotated = persons.visible > 0
    matrices = crop.upright_matrices(persons.centre, persons.scale, size_wh)
    points = np.where(annotated[..., None], persons.joints, 0.0)
    points = points * matrices[:, None, [0, 1], [0, 1]] + matrices[:, None, :, 2]
    return annotated & crop.inside(points, size_wh)


def why_nothing(persons: Persons, size_wh: Sequence[int]) -> str | None:
    """Why no joint of these people could teach anything; None where one can."""
    annotated = int((persons.visible > 0).sum())
    if annotated == 0:
        return (
            f"none of the {len(persons):,} people has an annotated joint: the third number of each joint is 0, "
            "or the joints' columns were not understood"
        )
    if not in_crops(persons, size_wh).any():
        return (
            f"all {annotated:,} annotated joints lie outside of their people's crops: boxes and joints do not belong "
            "together, as where one counts in shares of the picture and the other in pixels"
        )
    return None


def refuse_nothing(persons: Persons, size_wh: Sequence[int]) -> None:
    """Training on nothing but empty targets would end with a loss of 0 and a score of 0, after hours."""
    if why := why_nothing(persons, size_wh):
        raise PoseError(
            f"There is nothing to learn: {why}. The doctor shows them: featherpose data check data=NAME."
        )


def never(inside: np.ndarray, skeleton: Skeleton) -> list[str]:
    """The joints that nobody has, of (N, K)."""
    return [skeleton.joints[i] for i in np.flatnonzero(~inside.any(axis=0))]
