"""Frames in, poses out: batches over people in still pictures, one frame after another in videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from featherpose.inference.boxes import LOST, FindBoxes, Follow, extent, is_whole
from featherpose.inference.pose import ALIKE, FoundPose, Pose, found_once
from featherpose.inference.smoothing import OneEuro
from featherpose.inference.streams import Frame, Source

MOST_HELD = 300_000_000  # bytes of pictures that wait for a whole batch: one of the largest that are decoded
Result = tuple[Frame, list[FoundPose]]


def predict(
    source: Source,
    pose: Pose,
    find: FindBoxes,
    every: int = 1,
    smooth: OneEuro | None = None,
    lost: float = LOST,
    alike: float | None = ALIKE,
    closer: bool = False,
    turned: float | None = None,
) -> Iterator[Result]:
    """Each frame with its people.

    Args:
        source: of the frames.
        pose: the network.
        find: gives the boxes of a frame.
        every: in videos, `find` is asked anew after so many frames, and when nobody is left; between, boxes follow
            the poses. 0: only when nobody is left.
        smooth: how keypoints are smoothed in videos; each person gets a filter with its settings.
        lost: in videos, boxes do not follow a person whose joints have a mean confidence below this.
        alike: of two poses in a picture whose OKS is above this, the one of lower score is left out; None keeps both.
        closer: in pictures, look again around what was found in the boxes that `find` gave.
        turned: people whose joints have a lower mean confidence are looked at again, turned by 90, 180, 270 degrees.
    """
    if source.moving:
        yield from _moving(source, pose, Follow(find, every, lost), smooth, alike, turned)
    else:
        for frame, people in _still(source, pose, find, closer, turned):
            yield frame, found_once(people, pose.skeleton, alike)


def _still(
    source: Source, pose: Pose, find: FindBoxes, closer: bool, turned: float | None
) -> Iterator[Result]:
    waiting: list[tuple[Frame, np.ndarray, np.ndarray]] = []

    def flush() -> Iterator[Result]:
        found = pose.many([(frame.picture, boxes, scores) for frame, boxes, scores in waiting])
        if closer:
            whole = [at for at, (frame, boxes, _) in enumerate(waiting) if is_whole(frame, boxes)]
            pictures = [waiting[at][0].picture for at in whole]
            again = pose.look_closer(pictures, [found[at] for at in whole])
            found = found.copy()
            for at, people in zip(whole, again, strict=True):
                found[at] = people
        if turned is not None:
            found = pose.look_turned([frame.picture for frame, _, _ in waiting], found, turned)
        yield from zip([frame for frame, _, _ in waiting], found, strict=True)
        waiting.clear()

    for frame in source.frames():
        waiting.append((frame, *find(frame)))
        people = sum(len(boxes) for _, boxes, _ in waiting)
        held = sum(frame.picture.size for frame, _, _ in waiting)
        if people >= pose.batch_size or len(waiting) >= 64 or held > MOST_HELD:
            yield from flush()
    yield from flush()


def _moving(
    source: Source,
    pose: Pose,
    follow: Follow,
    smooth: OneEuro | None,
    alike: float | None,
    turned: float | None,
) -> Iterator[Result]:
    filters: dict[int, tuple[OneEuro, float]] = {}
    for frame in source.frames():
        boxes, scores = follow(frame)
        people = pose.many([(frame.picture, boxes, scores)])[0]
        if turned is not None:
            people = pose.look_turned([frame.picture], [people], turned)[0]
        people = [
            replace(person, identity=name)
            for person, name in zip(people, follow.identities, strict=True)
        ]
        people = found_once(people, pose.skeleton, alike)
        height, width = frame.picture.shape[:2]
        follow.update(people, (width, height))
        if smooth is not None:
            people = [_smoothed(person, frame.seconds, smooth, filters) for person in people]
        yield frame, people


def _smoothed(
    person: FoundPose, seconds: float, settings: OneEuro, filters: dict[int, tuple[OneEuro, float]]
) -> FoundPose:
    name = person.identity or 0
    fresh = OneEuro(settings.cutoff, settings.speed, settings.speed_cutoff)
    one, before = filters.get(name, (fresh, seconds))
    size = float(extent(person.keypoints, (10**6, 10**6))[3])
    filters[name] = (one, seconds)
    return replace(person, keypoints=one(person.keypoints, seconds - before, size))
