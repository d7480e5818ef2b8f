"""Sigmas from labels of two hands, against noise of a known size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.importing.labels import Labelled, Labels, Picture
from featherpose.importing.repeated import compare

JOINTS = ["head", "left_hand", "right_hand"]
TRUE = np.array(
    [0.03, 0.06, 0.12]
)  # the root of E[d^2 / s^2], d from one hand's label to the truth
BODY = np.array([[50.0, 10.0], [20.0, 60.0], [80.0, 60.0]])
AREA = 6400.0


def labelled_by(hand: int, people: int, joints: list[str] = JOINTS) -> Labels:
    """Each person in a picture of their own; a hand errs by TRUE in units of the scale."""
    noise = np.random.default_rng(hand).normal(size=(people, 3, 2))
    # half of the square in each direction
    noise *= (TRUE * np.sqrt(AREA / 2))[None, :, None]
    order = [JOINTS.index(joint) for joint in joints]
    found = Labels("test", joints, [], [])
    for number in range(people):
        found.pictures.append(Picture(f"hand{hand}/{number}.jpg"))
        points = (BODY + noise[number])[order]
        found.people.append(Labelled(number, points, np.full(3, 2), area=AREA))
    return found


def test_the_sigmas_of_simulated_hands_are_found_again() -> None:
    found = compare(labelled_by(1, 4000), labelled_by(2, 4000))
    assert found.counts.tolist() == [4000] * 3
    assert found.alone == 0
    assert found.sigmas() == pytest.approx(TRUE, rel=0.03)


def test_joints_are_matched_by_their_names_and_hands_need_not_agree_on_the_order() -> None:
    other = labelled_by(2, 500, ["right_hand", "head", "left_hand"])
    assert compare(labelled_by(1, 500), other).sigmas() == pytest.approx(
        compare(labelled_by(1, 500), labelled_by(2, 500)).sigmas()
    )


def test_one_source_may_hold_both_labels() -> None:
    first, second = labelled_by(1, 300), labelled_by(2, 300)
    both = Labels("test", JOINTS, first.pictures, [*first.people, *second.people])
    both.people.append(Labelled(0, BODY + 500, np.full(3, 2), area=AREA))  # somebody else
    found = compare(both, None)
    assert found.alone == 1
    assert found.sigmas() == pytest.approx(compare(first, second).sigmas())


def test_a_joint_that_one_hand_left_out_and_people_who_are_far_apart_do_not_count() -> None:
    first, second = labelled_by(1, 3), labelled_by(2, 3)
    first.people[0].visible[1] = 0
    second.people[2].joints += 200
    found = compare(first, second)
    assert found.counts.tolist() == [2, 1, 2]
    assert found.alone == 2
    second.people[1].visible[1] = 0
    assert np.isnan(compare(first, second).sigmas()[1])


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    first = labelled_by(1, 2)
    with pytest.raises(PoseError, match="not the same joints: only one has foot, head"):
        compare(first, Labels("t", ["foot", *JOINTS[1:]], first.pictures, first.people))
    strange = [Picture("x.jpg"), Picture("y.jpg")]
    with pytest.raises(
        PoseError, match=r"share no picture by its name; they have hand1/0.jpg and x"
    ):
        compare(first, Labels("t", JOINTS, strange, first.people))
    with pytest.raises(PoseError, match="Nobody was labelled twice"):
        compare(first, None)
