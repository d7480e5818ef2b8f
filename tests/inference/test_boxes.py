"""Boxes that follow people through a video: when the detector is asked, and who keeps which number."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.inference.boxes import Boxes, Follow, contains, extent, filled, iou, whole_picture
from featherpose.inference.pose import FoundPose
from featherpose.inference.streams import Frame

SIZE = (200, 100)  # width, height
# Two people side by side, as their joints; the boxes are theirs, grown by a quarter
LEFT, RIGHT = (
    np.array([[20.0, 20], [40, 60], [30, 40]]),
    np.array([[120.0, 30], [160, 70], [140, 50]]),
)
LEFT_BOX, RIGHT_BOX = [17.5, 15.0, 25.0, 50.0], [115.0, 25.0, 50.0, 50.0]


def frame(index: int) -> Frame:
    return Frame("walk.avi", index, np.zeros((SIZE[1], SIZE[0], 3), np.uint8))


def pose(points: np.ndarray, confidence: list[float], identity: int) -> FoundPose:
    box = extent(points, SIZE)
    return FoundPose(points, np.array(confidence), box, 1.0, identity)


def detected(boxes: list[list[float]]) -> Boxes:
    return np.array(boxes).reshape(-1, 4), np.ones(len(boxes))


SURE = [0.9, 0.9, 0.9]


def test_the_detector_is_asked_every_third_frame_and_people_keep_their_numbers() -> None:
    asked = []

    def find(frame: Frame) -> Boxes:
        """Who stands on the left comes first in one answer, second in the next."""
        asked.append(frame.index)
        boxes = [[16.0, 15, 25, 50], [118.0, 25, 50, 50]]
        return detected(boxes if len(asked) % 2 else boxes[::-1])

    follow = Follow(find, every=3)
    for index in range(8):
        boxes, scores = follow(frame(index))
        assert scores.tolist() == [1, 1]
        if index not in asked:
            assert sorted(boxes.tolist()) == [LEFT_BOX, RIGHT_BOX], "where they were a frame ago"
        people = []
        for box, number in zip(boxes, follow.identities, strict=True):
            assert number == (0 if box[0] < 100 else 1)
            people.append(pose(LEFT if box[0] < 100 else RIGHT, SURE, number))
        follow.update(people, SIZE)
    assert asked == [0, 3, 6]


def test_somebody_new_gets_a_new_number() -> None:
    answers = [[LEFT_BOX], [LEFT_BOX, RIGHT_BOX]]
    follow = Follow(lambda frame: detected(answers[min(frame.index, 1)]), every=1)
    follow(frame(0))
    follow.update([pose(LEFT, SURE, 0)], SIZE)
    follow(frame(1))
    assert follow.identities == [0, 1]


def test_who_was_not_seen_for_long_is_somebody_else() -> None:
    follow = Follow(lambda frame: detected([LEFT_BOX] if frame.index != 1 else []), every=1)
    follow(frame(0))
    follow.update([pose(LEFT, SURE, 0)], SIZE)
    for index, number in ((30, 0), (61, 1)):  # thirty frames later, and thirty-one
        follow(frame(index))
        assert follow.identities == [number]
        follow.update([pose(LEFT, SURE, number)], SIZE)


@pytest.mark.parametrize(
    ("confidence", "followed"),
    [
        ([0.25, 0.25, 0.25], True),
        ([0.24, 0.25, 0.25], False),  # a mean below 0.25
        ([0.9, 0.9, 0.1], False),  # two clear joints say nothing about where somebody is
        ([0.9, 0.9, 0.125], False),  # clear is above an eighth
        ([0.9, 0.9, 0.126], True),
    ],
)
def test_who_counts_as_lost(confidence: list[float], followed: bool) -> None:
    asked = []

    def find(frame: Frame) -> Boxes:
        asked.append(frame.index)
        return detected([LEFT_BOX])

    follow = Follow(find)
    follow(frame(0))
    follow.update([pose(LEFT, confidence, 0)], SIZE)
    follow(frame(1))
    assert asked == ([0] if followed else [0, 1])


def test_who_fills_the_picture_by_somebodys_word_does_so_in_every_frame() -> None:
    for find, said in ((filled, True), (whole_picture, False)):
        follow = Follow(find, every=1)
        for index in range(3):
            boxes, _ = follow(frame(index))
            assert follow.identities == [0]
            whole = np.array_equal(boxes, whole_picture(frame(index))[0])
            assert whole == (said or index == 0)
            follow.update([pose(LEFT, SURE, 0)], SIZE)


def test_two_poses_of_one_person_are_followed_once() -> None:
    follow = Follow(lambda frame: detected([LEFT_BOX, RIGHT_BOX]))
    follow(frame(0))
    follow.update(
        [pose(LEFT, SURE, 0), pose(LEFT + np.array([1, 0]), SURE, 1), pose(RIGHT, SURE, 2)], SIZE
    )
    assert follow.identities == [0, 2]
    assert follow(frame(1))[0].tolist() == [LEFT_BOX, RIGHT_BOX]


def test_a_pose_in_one_point_is_no_box() -> None:
    follow = Follow(lambda frame: detected([LEFT_BOX]))
    follow(frame(0))
    follow.update([pose(np.full((3, 2), 50.0), SURE, 0)], SIZE)
    assert len(follow.boxes) == 0


def test_overlaps_by_hand() -> None:
    box = np.array([10.0, 10, 20, 10])
    assert iou(box, box) == 1
    assert iou(box, np.array([20.0, 10, 20, 10])) == pytest.approx(100 / 300)
    assert iou(box, np.array([20.0, 15, 20, 10])) == pytest.approx(50 / 350)
    assert iou(box, np.array([30.0, 10, 20, 10])) == 0, "side by side"
    assert iou(box, np.array([40.0, 40, 5, 5])) == 0, "apart in both directions"
    assert iou(np.zeros(4), np.zeros(4)) == 0
    assert contains(np.array([0.0, 0, 100, 100]), box) and contains(
        box, np.array([0.0, 0, 100, 100])
    )
    assert contains(box, np.array([15.0, 10, 20, 10])), "three quarters"
    assert not contains(box, np.array([16.0, 10, 20, 10])), "seven tenths"
