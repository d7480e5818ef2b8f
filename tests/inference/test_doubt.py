"""Doubt: what lowers it, what raises it, and that like pictures are not all chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featherpose.inference.description import Description
from featherpose.inference.doubt import doubt_of, doubts, hardest, thumbnail
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps
from featherpose.inference.pose import FoundPose, Pose
from featherpose.protocol import Protocol
from featherpose.skeletons import skeleton_of

HANDS = skeleton_of({"name": "hands", "joints": ["left_hand", "right_hand"]})
BOX = np.array([20.0, 20.0, 100.0, 100.0])


def person(confidence: float = 1.0) -> FoundPose:
    at = np.array([[90.0, 60.0], [50.0, 80.0]])
    return FoundPose(at, np.full(2, confidence), BOX, 1.0)


class Dots:
    """Sees the left hand in a crop's right half, the right hand in the other: wherever it is brightest."""

    description = Description(HANDS, (64, 64), 1, Protocol(flip=False, decoder="argmax"))

    def __init__(self, blind: bool = False) -> None:
        self.blind = blind  # it always sees the hands in the same places of a crop

    def __call__(self, crops: np.ndarray) -> list[Heatmaps]:
        light = crops.mean(axis=1) / 255
        if self.blind:
            light[:] = 0
            light[:, 10, [10, 50]] = 1
        halves = np.stack([light, light], axis=1)
        halves[:, 0, :, :32], halves[:, 1, :, 32:] = 0, 0
        return [Heatmaps(halves, 1)]


def pose_of(backend: Any) -> Pose:
    pose = Pose.__new__(Pose)
    pose.estimator, pose.description, pose.skeleton = Estimator(backend), backend.description, HANDS
    pose.batch_size = 32
    return pose


def picture() -> np.ndarray:
    """Two bright dots where the hands of `person` are."""
    found = np.zeros((140, 140, 3), np.uint8)
    for x, y in person().keypoints.astype(int):
        found[y - 2 : y + 3, x - 2 : x + 3] = 255
    return found


def test_confidence_and_agreement_make_the_doubt() -> None:
    same = np.stack([person().keypoints] * 3)
    assert doubt_of(person(), same).doubt == 0
    assert doubt_of(person(0.25), same).doubt == pytest.approx(0.75)
    far = doubt_of(person(), same + 500)
    assert (far.agreement, far.doubt) == pytest.approx((0, 1))
    one = same.copy()
    one[0, 0] += 500  # one of three views of one of two joints
    assert doubt_of(person(), one).doubt == pytest.approx(1 / 6)
    assert doubt_of(person(3.0), same).confidence == 1  # peaks of heatmaps may be above 1


def test_views_are_brought_back_into_the_picture() -> None:
    (found,) = doubts(pose_of(Dots()), picture(), [person()])
    assert found.agreement > 0.95
    (fooled,) = doubts(pose_of(Dots(blind=True)), picture(), [person()])
    assert fooled.agreement < 0.7


def test_like_pictures_give_one_each() -> None:
    """Three scenes of ten frames; the network sees worst in the first one."""
    scenes = np.random.default_rng(0).uniform(0, 1, (3, 192))
    frames = np.repeat(scenes, 10, axis=0)
    frames += np.random.default_rng(1).normal(0, 0.01, frames.shape)
    doubt = np.repeat([0.9, 0.5, 0.3], 10) + np.tile(np.arange(10) / 1000, 3)
    chosen, alike = hardest(doubt, frames, 3)
    assert chosen[0] == 9
    assert sorted((chosen // 10).tolist()) == [0, 1, 2]
    assert alike.tolist() == [10, 10, 10]
    every, _ = hardest(doubt, frames, 50)
    assert sorted(every.tolist()) == list(range(30))


def test_where_nothing_is_alike_doubt_alone_counts() -> None:
    looks = np.random.default_rng(0).uniform(0, 1, (6, 192))
    chosen, alike = hardest(np.array([0.1, 0.9, 0.3, 0.8, 0.2, 0.7]), looks, 3)
    assert chosen.tolist() == [1, 3, 5]
    assert alike.tolist() == [1, 1, 1]


def test_a_thumbnail_tells_scenes_apart_and_not_frames() -> None:
    one, other = picture(), picture()
    moved = np.roll(one, 3, axis=1)
    other[:70] = 200
    assert np.abs(thumbnail(one) - thumbnail(moved)).mean() < 0.02
    assert np.abs(thumbnail(one) - thumbnail(other)).mean() > 0.2


def test_a_joint_that_trembles_between_two_frames_is_doubted() -> None:
    pose, one = pose_of(Dots()), person()
    steady = doubts(pose, picture(), [one], [one.keypoints])[0]
    assert steady.doubt == pytest.approx(doubts(pose, picture(), [one], [None])[0].doubt, abs=0.02)
    moved = one.keypoints + np.array([[60.0, 0.0], [0.0, 0.0]])
    trembles = doubts(pose, picture(), [one], [moved])[0]
    assert trembles.doubt > steady.doubt + 0.1
    assert trembles.agreement < steady.agreement - 0.1
