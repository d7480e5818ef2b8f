"""Each kind of error by hand: one picture, two people, and what was predicted where."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.metrics import pairs
from featherpose.metrics.errors import (
    INVERSION,
    JITTER,
    MISS,
    RIGHT,
    SWAP,
    Radii,
    classify,
    mended,
    similarity_radii,
    size_radii,
)
from featherpose.metrics.oks import truth_of_persons
from featherpose.metrics.similarity import joint_similarity
from featherpose.person import Person, Persons
from featherpose.skeletons import COCO

LEFT, RIGHT_WRIST, NOSE = (COCO.joints.index(j) for j in ("left_wrist", "right_wrist", "nose"))


def person(start: float, image: int, number: int) -> Person:
    """Joints on a grid, 100 pixels apart."""
    rows, columns = np.divmod(np.arange(17), 5)
    joints = np.stack([start + 100.0 * columns, 100.0 * rows], axis=-1)
    visible = np.full(17, 2, np.uint8)
    visible[16] = 0
    return Person(
        image="x", joints=joints, visible=visible, centre=np.zeros(2), scale=np.ones(2),
        box=np.array([0.0, 0, 400, 300]), image_id=image, person_id=number, area=4000.0,
    )  # fmt: skip


@pytest.mark.parametrize("of", ["similarity", "size"])
def test_every_kind(of: str) -> None:
    persons = Persons.of([person(0, 1, 0), person(1000, 1, 1), person(1000, 2, 2)])
    radii = similarity_radii(persons, COCO.similarity_sigmas)
    if of == "size":
        radii = size_radii(persons, np.full(3, 20.0), 0.5)
    predicted = np.array([p.joints for p in persons])
    far, near = radii.far[0], radii.near[0]
    predicted[0, NOSE, 0] += (near[NOSE] + far[NOSE]) / 2  # a little off
    predicted[0, LEFT] = persons[0].joints[RIGHT_WRIST]  # the other hand
    predicted[1, LEFT] = persons[0].joints[LEFT]  # somebody else's hand
    predicted[1, RIGHT_WRIST] = persons[0].joints[LEFT]  # and his other hand
    predicted[2, LEFT] = persons[0].joints[LEFT]  # who is in another picture
    kind = classify(predicted, persons, radii, COCO)
    assert kind[0, NOSE] == JITTER
    assert kind[0, LEFT] == INVERSION
    assert kind[1, LEFT] == kind[1, RIGHT_WRIST] == SWAP
    assert kind[2, LEFT] == MISS
    assert (kind[:, 16] == -1).all()
    assert (kind == RIGHT).sum() == 3 * 16 - 5
    better = mended(predicted, persons, kind, SWAP)
    again = classify(better, persons, radii, COCO)
    assert (again == SWAP).sum() == 0
    assert (again == RIGHT).sum() == 3 * 16 - 3


def test_the_radii_are_those_of_coco_s_similarity() -> None:
    persons = Persons.of([person(0, 1, 0)])
    radii = similarity_radii(persons, COCO.similarity_sigmas)
    for distance, similarity in ((radii.near, 0.85), (radii.far, 0.5)):
        moved = persons[0].joints[None] + np.stack([np.nan_to_num(distance)] * 2, -1) / np.sqrt(2)
        found = joint_similarity(truth_of_persons(persons), moved, np.array(COCO.sigmas))
        np.testing.assert_allclose(found[0, :16], similarity, rtol=1e-6)


def test_people_without_a_size_are_left_out() -> None:
    persons = Persons.of([person(0, 1, 0)])
    radii = size_radii(persons, np.zeros(1), 0.5)
    assert (classify(np.array([persons[0].joints]), persons, radii, COCO) == -1).all()


def test_swaps_of_many_pictures_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "PAIRS", 20)
    mix = np.random.default_rng(0)
    parts = [[person(300.0 * n, image, n) for n in range(image % 5)] for image in range(12)]
    persons = Persons.of([one for part in parts for one in part])
    radii = size_radii(persons, np.full(len(persons), 20.0), 0.5)
    predicted = persons.joints[mix.permutation(len(persons))]
    kind = classify(predicted, persons, radii, COCO)
    for image in np.unique(persons.image_id):
        rows = np.flatnonzero(persons.image_id == image)
        own = Radii(radii.near[rows], radii.far[rows])
        alone = classify(predicted[rows], persons[rows], own, COCO)
        np.testing.assert_array_equal(kind[rows], alone)
    assert (kind == SWAP).any() and (kind == MISS).any()
