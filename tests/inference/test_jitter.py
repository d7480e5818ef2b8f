"""Paths whose trembling is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featherpose.inference.jitter import (
    Tracks,
    Walk,
    acceleration,
    measured,
    size_of,
    standing_still,
)
from featherpose.inference.pose import FoundPose
from featherpose.inference.streams import Frame
from featherpose.skeletons import COCO

JOINTS = np.random.default_rng(0).uniform(0, 300, (17, 2))
JOINTS[:2] = [(0, 0), (300, 400)]  # the diagonal is 500 pixels


def path(frames: int = 60, tremble: float = 0.0, speed: float = 0.0) -> np.ndarray:
    """Joints that tremble by so many pixels to the right and back; the first one runs away."""
    found = np.repeat(JOINTS[None], frames, axis=0)
    found[::2, :, 0] += tremble
    found[:, 0, 1] += speed * np.arange(frames)
    return found


def tracks(paths: list[np.ndarray], identity: bool = True) -> Tracks:
    found = Tracks(COCO)
    for index in range(len(paths[0])):
        people = [
            FoundPose(p[index], np.ones(17), np.zeros(4), 1.0, n if identity else None)
            for n, p in enumerate(paths)
        ]
        found.add(Frame("video", index, np.zeros((8, 8, 3), np.uint8)), people)
    return found


def test_still_joints_and_acceleration_in_percent_of_the_size() -> None:
    found = tracks([path(tremble=5.0)]).measure(rate=24)
    assert found.displacement == pytest.approx(1.0, rel=0.01)  # 5 of some 500 pixels
    assert found.acceleration == pytest.approx(2.0, rel=0.01)  # there and back
    assert found.joints["nose"] == pytest.approx((found.displacement, found.acceleration))
    assert json.loads(found.as_json())["still"] == found.still == 17 * (60 - 24)


def test_who_moves_does_not_stand_still() -> None:
    moving = path(speed=5.0)
    still = standing_still(moving, size_of(moving), half=12)
    assert not still[:, 0].any()
    assert still[12:-12, 1:].all()
    found = tracks([moving]).measure(rate=24)
    assert (found.displacement, found.acceleration) == pytest.approx((0, 0), abs=1e-9)
    assert np.isnan(found.joints["nose"][0])
    trembling = path(tremble=10.0)
    assert standing_still(trembling, size_of(trembling), half=12)[12:-12].all()


def test_people_are_kept_apart_and_gaps_are_no_steps() -> None:
    one, other = path(tremble=5.0), path() + 1000
    both = tracks([one, other], identity=False)
    assert both.measure(24).displacement == pytest.approx(0.5, rel=0.01)
    for frame in (20, 21):
        del both.seen[0][frame]  # not seen for two frames
    assert both.measure(24).displacement < 0.5
    assert "nobody" in Tracks(COCO).measure(24).in_words()
    short = tracks([one[:6]]).measure(24)
    assert "no joint stood still" in short.in_words()
    assert json.loads(short.as_json())["displacement"] is None


def test_joints_that_are_not_sure_are_left_out() -> None:
    found = Tracks(COCO)
    for index, points in enumerate(path(tremble=5.0)):
        sure = np.where(np.arange(17) == 3, 0.1, 1.0)
        person = FoundPose(points, sure, np.zeros(4), 1.0, 0)
        found.add(Frame("video", index, np.zeros((8, 8, 3), np.uint8)), [person])
    assert np.isnan(found.measure(24).joints[COCO.joints[3]]).all()


def test_true_acceleration_is_no_error() -> None:
    """A throw: its acceleration is the truth's, the trembling's is not."""
    true = path()
    true[:, :, 1] += 0.5 * np.arange(60)[:, None] ** 2
    found = true.copy()
    found[::2, :, 0] += 5.0
    still = np.zeros((60, 17), bool)
    assert np.linalg.norm(acceleration(true), axis=2) == pytest.approx(1.0)
    walks = [Walk(each, still, 500.0, acceleration(true)) for each in (true, found)]
    assert measured(walks[:1], COCO).acceleration == pytest.approx(0, abs=1e-9)
    assert measured(walks[1:], COCO).acceleration == pytest.approx(2.0)
