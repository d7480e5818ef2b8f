"""A score taken apart, on people whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from featherpose.metrics.breakdown import Part, breakdown, kinds, part_of
from featherpose.metrics.oks import OKS
from featherpose.metrics.pck import PCK
from featherpose.person import Persons
from featherpose.skeletons import COCO, LSP, Skeleton

from .test_errors import person

NOSE = COCO.joints.index("nose")


def people(skeleton: Skeleton, count: int = 8) -> Persons:
    """One a picture, the later the larger, each with its joints on a grid and its first joint occluded."""
    found = [person(0.0, number, number) for number in range(count)]
    joints = len(skeleton)
    large = 1 + np.arange(count)[:, None, None]
    stacked = Persons.of(
        replace(one, joints=one.joints[:joints], visible=one.visible[:joints]) for one in found
    )
    visible = np.full((count, joints), 2, np.uint8)
    visible[:, 0] = 1
    return replace(
        stacked,
        joints=stacked.joints * large,
        visible=visible,
        area=4000.0 * large[:, 0, 0].astype(float) ** 2,
        score=np.linspace(1, 0.5, count),
    )


def parts_of(metric: OKS | PCK, predicted: np.ndarray) -> dict[tuple[str, str], Part]:
    count = len(predicted)
    metric.update(torch.arange(count), torch.from_numpy(predicted), torch.ones(predicted.shape[:2]))
    return {(part.by, part.name): part for part in breakdown(metric)}


def test_pck_of_a_joint_of_the_small_and_of_the_occluded() -> None:
    persons = people(LSP)
    predicted = persons.joints.copy()
    predicted[:2, 3] += 1e4  # the two smallest
    predicted[5, 0] += 1e4  # an occluded one
    parts = parts_of(PCK(persons, LSP), predicted)
    assert parts["joint", LSP.joints[3]].score == parts["joint", LSP.joints[3]].right == 75
    assert parts["joint", LSP.joints[3]].miss == 25
    assert parts["joint", LSP.joints[4]].score == 100
    assert parts["occlusion", "occluded"].score == pytest.approx(100 * 7 / 8)
    assert parts["occlusion", "visible"].joints == 8 * 13
    sizes = [part for (by, _), part in parts.items() if by == "size"]
    assert [part.joints for part in sizes] == [28, 28, 28, 28]
    assert sizes[0].score == pytest.approx(100 * 26 / 28)
    assert [part.score for part in sizes[1:]] == pytest.approx([100, 100 * 27 / 28, 100])


def test_ap_of_a_joint_counts_who_has_it_and_nothing_else() -> None:
    persons = people(COCO)
    persons.visible[6:, NOSE] = 0
    predicted = persons.joints.copy()
    predicted[0, NOSE] += 1e4  # of the surest one
    parts = parts_of(OKS(persons, COCO), predicted)
    nose = parts["joint", "nose"]
    assert nose.joints == 6
    # precision k / (k + 1) from the second on: at recall r the best of what follows, 5/6 up to 5/6
    assert nose.score == pytest.approx(100 * (5 / 6) * 84 / 101)
    assert parts["joint", "left_eye"].score == pytest.approx(100)
    assert parts["occlusion", "visible"].score == pytest.approx(100)
    sizes = [part.score for (by, _), part in parts.items() if by == "size"]
    assert sizes[0] < 100  # 16 of 17 joints right are no similarity of 0.95
    assert sizes[1:] == pytest.approx([100, 100, 100])


def test_all_of_it_is_the_score_itself() -> None:
    persons = people(COCO)
    predicted = persons.joints + np.random.default_rng(0).normal(0, 12, persons.joints.shape)
    metric = OKS(persons, COCO)
    parts_of(metric, predicted)
    assert part_of(metric, kinds(metric), "rotation", "0").score == metric.compute()["AP"]


def test_a_division_into_one_part_is_left_out() -> None:
    persons = people(LSP)[:1]
    persons.visible[:] = 2
    assert {by for by, _ in parts_of(PCK(persons, LSP), persons.joints.copy())} == {"joint"}
