"""A network that predicts all of the data's joints, in another order or among others: it is asked by their names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.backends import Backend
from featherpose.inference.outputs import Output
from featherpose.skeletons import Skeleton


class ByName:
    """A network seen as one of another skeleton."""

    def __init__(self, backend: Backend, skeleton: Skeleton) -> None:
        self.backend = backend
        theirs = backend.description.skeleton
        self.order = [theirs.index(joint) for joint in skeleton.joints]
        self.description = replace(backend.description, skeleton=skeleton, chances=None)

    def __call__(self, crops: np.ndarray) -> list[Output]:
        return [output.of_joints(self.order) for output in self.backend(crops)]


def for_joints(backend: Backend, skeleton: Skeleton, hint: str = "") -> Backend:
    """The network for data of this skeleton; PoseError where it lacks one of its joints, with a hint at a way out."""
    theirs = backend.description.skeleton
    if theirs.joints == skeleton.joints:
        return backend
    missing = [joint for joint in skeleton.joints if joint not in theirs.joints]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise PoseError(
            f"This network predicts the skeleton {theirs.name} ({len(theirs)} joints), but the data has "
            f"{skeleton.name} ({len(skeleton)} joints): it lacks {shown}. {hint}".rstrip()
        )
    return ByName(backend, skeleton)
