"""How much a network doubts a pose: joints it is not sure of, and other answers where the person is seen otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from featherpose import crop
from featherpose.inference.pose import FoundPose, Pose
from featherpose.skeletons import DEFAULT_SIGMA

VIEWS = ((0.0, True), (15.0, False), (-15.0, False))  # turned by degrees, mirrored
ALIKE = 0.1  # of full brightness between two thumbnails: frames of one scene lie below a third of it, scenes at twice
THUMB = (
    8  # pixels of a side: enough to tell pictures apart, and blind to what moves between two frames
)


@dataclass(frozen=True)
class Doubt:
    """Of one person; all from 0 to 1."""

    confidence: float  # mean over the joints
    agreement: float  # of the other views with the plain one, as a keypoint similarity
    doubt: float  # 1 minus the joints' mean of confidence times agreement


def doubts(
    pose: Pose,
    picture: np.ndarray,
    people: Sequence[FoundPose],
    between: Sequence[np.ndarray | None] | None = None,
) -> list[Doubt]:
    """Each person's, by looking again in the same box: mirrored, and turned a little to both sides.

    The network must not answer with a flip test: its two halves agree by construction.

    Args:
        pose: the network.
        picture: that the people were found in.
        people: who they are.
        between: in a video, each person's joints (K, 2) halfway between the frame before and the frame after, where
            the person was found in both. A joint that trembles is not there: one more view that disagrees.
    """
    skeleton, size = pose.skeleton, pose.description.input_size
    size_wh = (size[1], size[0])
    crops, matrices = [], []
    for person in people:
        for rotation, flip in VIEWS:
            centre, scale = crop.centre_and_scale(person.box)
            matrix = crop.crop_matrix(centre, scale, size_wh, rotation, flip)
            matrices.append(matrix)
            crops.append(crop.split_channels(crop.cut(picture, matrix, size_wh)))
    keypoints, _ = pose.estimate(crops, matrices)
    found = []
    for number, person in enumerate(people):
        views = np.stack(keypoints[number * len(VIEWS) : (number + 1) * len(VIEWS)])
        for view, (_, flip) in zip(views, VIEWS, strict=True):
            view[:] = view[list(skeleton.flip_order)] if flip else view
        halfway = between[number] if between else None
        if halfway is not None:
            views = np.concatenate([views, halfway[None]])
        found.append(doubt_of(person, views))
    return found


def doubt_of(person: FoundPose, views: np.ndarray) -> Doubt:
    """Of the pose and what other views (V, K, 2) make of it, in the picture."""
    agreement = box_similarity(views, person.keypoints, person.box).mean(axis=0)
    sure = np.clip(person.confidence, 0, 1)
    return Doubt(float(sure.mean()), float(agreement.mean()), float(1 - (sure * agreement).mean()))


def box_similarity(found: np.ndarray, joints: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(..., K) as OKS has it, by boxes' (..., 4) areas and one sigma: labels may have no areas, joints no sigmas."""
    area = np.maximum(box[..., 2] * box[..., 3], 1.0)[..., None]
    squared = ((found - joints) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * area * (2 * DEFAULT_SIGMA) ** 2))


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """A few numbers, alike for pictures that look alike."""
    small = cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return small.astype(np.float64).ravel() / 255


def hardest(doubt: np.ndarray, looks: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of `count` pictures, the first the most doubtful; and how many look like each, itself among them.

    The most doubtful pictures are mostly alike: frames of the one scene that the network can't see through. So what
    looks like a picture that is chosen already counts less, down to nothing where the two are the same.
    """
    chosen: list[int] = []
    alike = []
    weight = np.ones(len(doubt))
    while len(chosen) < min(count, len(doubt)):
        worth = doubt * weight
        worth[chosen] = -1
        best = int(worth.argmax())
        apart = np.sqrt(((looks - looks[best]) ** 2).mean(axis=1))
        weight = np.minimum(weight, 1 - np.exp(-((apart / ALIKE) ** 2)))
        alike.append(int((apart <= ALIKE / 3).sum()))
        chosen.append(best)
    return np.array(chosen, int), np.array(alike, int)
