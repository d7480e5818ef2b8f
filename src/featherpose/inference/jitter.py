"""How much keypoints tremble in a video or a sequence of pictures.

Two numbers, both as a share of the person's size (the diagonal of the joints' box), so that near and far people
compare: how far joints that stand still move from one frame to the next, and the acceleration,
|p(t+1) - 2 p(t) + p(t-1)|, which trembling drives up and smooth motion hardly. Where the true positions are known, the
acceleration's error is measured in its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherpose.inference.pose import CLEAR, FoundPose
from featherpose.inference.streams import Frame
from featherpose.skeletons import Skeleton

STILL = 0.02  # of the person's size: less than that lies between a joint's mean places in two half seconds
RATE = 25.0  # frames a second of pictures, which say none


@dataclass(frozen=True)
class Jitter:
    """Means over all people; NaN where there was nothing to measure."""

    displacement: (
        float  # of joints that stand still, from frame to frame, in % of the person's size
    )
    acceleration: float  # or its error where the truth is known; % of the size per frame squared
    still: int  # steps of still joints that were measured
    joints: dict[str, tuple[float, float]]  # the two of each joint

    def in_words(self) -> str:
        if math.isnan(self.acceleration):
            return "jitter: nobody was seen in three frames in a row"
        rest = "no joint stood still for a second"
        if self.still:
            rest = f"joints that stand still move by {self.displacement:.2f}% of the person's size a frame"
        return f"jitter: {rest}; acceleration {self.acceleration:.2f}% a frame squared"

    def as_json(self) -> str:
        """A number that could not be measured is null."""

        def pair(displacement: float, acceleration: float) -> dict[str, float | None]:
            both = {"displacement": displacement, "acceleration": acceleration}
            return {key: None if math.isnan(v) else round(v, 4) for key, v in both.items()}

        content = {
            "unit": "% of the person's size, per frame and per frame squared",
            **pair(self.displacement, self.acceleration),
            "still": self.still,
            "joints": {joint: pair(*values) for joint, values in self.joints.items()},
        }
        return json.dumps(content, indent=2) + "\n"


class Tracks:
    """Collects what is found, frame by frame, and measures it.

    A video's people have their numbers; in pictures a person is the one of the same place in the list.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.seen: dict[int, dict[int, np.ndarray]] = {}  # person: frame: keypoints (K, 2)

    def add(self, frame: Frame, people: Sequence[FoundPose]) -> None:
        for place, person in enumerate(people):
            name = place if person.identity is None else person.identity
            sure = person.confidence[:, None] >= CLEAR
            self.seen.setdefault(name, {})[frame.index] = np.where(sure, person.keypoints, np.nan)

    def paths(self) -> list[np.ndarray]:
        """Each person's keypoints (T, K, 2), NaN where it was not found or a joint is not sure."""
        return [filled(frames) for frames in self.seen.values() if len(frames) > 2]

    def measure(self, rate: float | None = None) -> Jitter:
        half = max(2, round((rate or RATE) / 2))
        found = []
        for path in self.paths():
            size = size_of(path)
            found.append(
                Walk(path, standing_still(path, size, half), size, np.zeros_like(path[2:]))
            )
        return measured(found, self.skeleton)


@dataclass(frozen=True)
class Walk:
    """One person over T frames, and what is known of the truth."""

    path: np.ndarray  # (T, K, 2), what was found
    still: np.ndarray  # (T, K) bool: the joint stands still
    size: float  # in pixels
    acceleration: np.ndarray  # (T - 2, K, 2), the true one; 0 where it is not known


def filled(frames: dict[int, np.ndarray]) -> np.ndarray:
    """One row a frame from the first to the last, NaN where there is none."""
    first, last = min(frames), max(frames)
    shape = next(iter(frames.values())).shape
    path = np.full((last - first + 1, *shape), np.nan)
    for number, keypoints in frames.items():
        path[number - first] = keypoints
    return path


def size_of(path: np.ndarray) -> float:
    """The median diagonal of a person's joints (T, K, 2), in pixels."""
    known = path[(~np.isnan(path[..., 0])).sum(axis=1) > 0]
    if not len(known):
        return float("nan")
    spans = np.nanmax(known, axis=1) - np.nanmin(known, axis=1)
    return float(np.median(np.linalg.norm(spans, axis=1)))


def standing_still(path: np.ndarray, size: float, half: int) -> np.ndarray:
    """(T, K): joints whose mean places in the `half` frames before and after differ by less than `STILL` of the size.

    Means of half a second hardly tremble, so a joint that trembles on its place still counts as standing there.
    """
    still = np.zeros(path.shape[:2], bool)
    for frame in range(half, len(path) - half + 1):
        before, after = (
            path[frame - half : frame].mean(axis=0),
            path[frame : frame + half].mean(axis=0),
        )
        still[frame] = np.linalg.norm(after - before, axis=1) < STILL * size  # NaN is never still
    return still


def measured(walks: Sequence[Walk], skeleton: Skeleton) -> Jitter:
    """The means of all people."""
    nobody = np.zeros((0, len(skeleton)))
    steps, bends = [nobody], [nobody]
    for walk in walks:
        step = 100 * np.linalg.norm(np.diff(walk.path, axis=0), axis=2) / walk.size
        steps.append(np.where(walk.still[1:] & walk.still[:-1], step, np.nan))
        off = acceleration(walk.path) - walk.acceleration
        bends.append(100 * np.linalg.norm(off, axis=2) / walk.size)
    step, bend = np.concatenate(steps), np.concatenate(bends)
    return Jitter(
        displacement=_mean(step),
        acceleration=_mean(bend),
        still=int((~np.isnan(step)).sum()),
        joints={
            joint: (_mean(step[:, k]), _mean(bend[:, k])) for k, joint in enumerate(skeleton.joints)
        },
    )


def acceleration(path: np.ndarray) -> np.ndarray:
    """(T - 2, K, 2): second differences, in pixels per frame squared."""
    return path[2:] - 2 * path[1:-1] + path[:-2]


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
