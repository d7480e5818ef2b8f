"""The sieve's rules, each on people for whom the answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featherpose.skeletons import COCO
from featherpose.teaching import sieve
from featherpose.teaching.sieve import HUMAN, NOBODY, TEACHER, Rules
from featherpose.teaching.teacher import Views

from ..small_sets import smooth_picture

AREA = np.array([10_000.0])
SIZE = np.array([[240, 320]])


def views(apart: float = 0.0, confidence: float = 0.9) -> Views:
    """One person whose mirrored view lies `apart` pixels to the right of the plain one."""
    points = np.zeros((1, 2, 17, 2))
    points[0, 1, :, 0] = apart
    return Views(points, np.full((1, 2, 17), confidence))


def test_joints_are_believed_where_both_views_are_sure_and_agree():
    assert sieve.opinion(views(), AREA, SIZE, Rules()).believed.all()
    assert not sieve.opinion(views(confidence=0.39), AREA, SIZE, Rules()).believed.any()
    apart = sieve.opinion(views(apart=8), AREA, SIZE, Rules())
    # a hip may lie 8 pixels off where an eye may not: COCO's sigmas
    assert apart.believed[0, COCO.index("left_hip")]
    assert not apart.believed[0, COCO.index("left_eye")]


def test_nothing_outside_the_picture_is_believed():
    both = views()
    both.points[0, :, 3] = 239.4, 319.4
    both.points[0, :, 4] = 239.6, 100
    both.points[0, :, 5] = 100, -0.6
    believed = sieve.opinion(both, AREA, SIZE, Rules()).believed[0]
    assert np.flatnonzero(np.invert(believed)).tolist() == [4, 5]


def test_opinion_is_the_mean_and_the_lower_confidence():
    both = views(apart=4)
    both.confidence[0, 1] = 0.5
    found = sieve.opinion(both, AREA, SIZE, Rules())
    assert found.joints[0, 0].tolist() == [2, 0]
    assert found.confidence.max() == 0.5


def test_agreement_is_that_of_the_joints_the_teacher_sees():
    both = views()
    both.points[0, 1, :5] = 1000
    assert sieve.opinion(both, AREA, SIZE, Rules()).agreement[0] == pytest.approx(12 / 17)
    both.confidence[0, :, :5] = 0.1
    assert sieve.opinion(both, AREA, SIZE, Rules()).agreement[0] == pytest.approx(1)


def test_left_and_right_mixed_up():
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 200, (1, 17, 2))
    visible = np.full((1, 17), 2, np.uint8)
    seen = Views(np.stack([joints, joints], axis=1), np.full((1, 2, 17), 0.9))
    found = sieve.opinion(seen, AREA, SIZE, Rules())
    swapped = joints[:, list(COCO.flip_order)]
    elsewhere = joints[:, ::-1]

    def mixed(labels: np.ndarray, known: np.ndarray = visible) -> bool:
        return bool(sieve.mixed_up(labels, known, found, AREA, Rules())[0])

    assert mixed(swapped)
    assert not mixed(joints)
    assert not mixed(elsewhere)
    few = np.where(np.arange(17) < 9, 2, 0)[None].astype(np.uint8)  # four limb joints
    assert not mixed(swapped, few)


def test_the_teacher_fills_gaps_and_nothing_else():
    joints = np.full((2, 17, 2), 50.0)
    visible = np.full((2, 17), 1, np.uint8)
    visible[:, :5] = 0
    found = sieve.opinion(
        Views(np.zeros((2, 2, 17, 2)), np.full((2, 2, 17), 0.9)), AREA, SIZE, Rules()
    )
    found.believed[:, 4] = False
    placed, seen, origin = sieve.fill(joints, visible, found, np.array([True, False]))
    assert origin[0].tolist() == [TEACHER] * 4 + [NOBODY] + [HUMAN] * 12
    assert origin[1].tolist() == [NOBODY] * 5 + [HUMAN] * 12
    assert seen[0].tolist() == [2] * 4 + [0] + [1] * 12
    assert placed[0, 0].tolist() == [0, 0]
    assert placed[0, 16].tolist() == [50, 50]


def person(**places: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    joints, visible = np.zeros((1, 17, 2)), np.zeros((1, 17), np.uint8)
    for joint, place in places.items():
        joints[0, COCO.index(joint)] = place
        visible[0, COCO.index(joint)] = 2
    return joints, visible


def test_hips_move_down_and_in():
    joints, visible = person(
        left_shoulder=(120, 100), right_shoulder=(80, 100), left_hip=(115, 200), right_hip=(85, 200)
    )
    moved = sieve.move_hips(joints, visible, up=0.03, out=0.04)
    assert moved[0, COCO.index("left_hip")] == pytest.approx([111, 203])
    assert moved[0, COCO.index("right_hip")] == pytest.approx([89, 203])
    assert moved[0, COCO.index("left_shoulder")].tolist() == [120, 100]


def test_hips_seen_from_the_side_meet_but_do_not_cross():
    joints, visible = person(
        left_shoulder=(100, 100),
        right_shoulder=(100, 100),
        left_hip=(101, 200),
        right_hip=(99, 200),
    )
    moved = sieve.move_hips(joints, visible, up=0.0, out=0.04)
    assert moved[0, [11, 12], 0] == pytest.approx([100, 100])


def test_hips_stay_where_a_shoulder_is_unknown():
    joints, visible = person(right_shoulder=(80, 100), left_hip=(115, 200), right_hip=(85, 200))
    np.testing.assert_array_equal(sieve.move_hips(joints, visible, 0.03, 0.04), joints)


def test_a_squeezed_copy_has_nearly_the_same_hash(tmp_path):
    def hashed(name: str, picture: np.ndarray) -> np.ndarray:
        path = str(tmp_path / name)
        assert cv2.imwrite(path, picture)
        return np.array([sieve.picture_hash(path)], np.uint64)

    picture = smooth_picture(1, (320, 240))
    first = hashed("a.jpg", picture)
    copy = hashed("b.jpg", cv2.resize(picture, (208, 208)))
    other = hashed("c.jpg", smooth_picture(2, (320, 240)))
    assert sieve.near_any(first, copy, most=4).all()
    assert not sieve.near_any(first, other, most=4).any()
    assert not sieve.near_any(first, np.zeros(0, np.uint64), most=4).any()


def test_repeats_lose_to_what_was_before_them():
    pictures = np.array(["a", "a", "b", "c", "d"])
    hashes = np.array([0b1111, 0b1111, 0b1110, 0xFF00, 0xFF0000], np.uint64)
    known = np.array([0xFF01], np.uint64)
    found = sieve.repeated(pictures, hashes, known, most=1)
    assert found.tolist() == [False, False, True, True, False]  # b repeats a; c a known picture


def test_the_dev_split_is_the_same_whatever_the_order():
    names = np.array([f"{i}.jpg" for i in range(50)])
    chosen = sieve.choose(names, 10)
    assert len(chosen) == 10
    assert chosen == sieve.choose(names[::-1], 10)
    assert sieve.choose(names, 5) < chosen
