"""Pixel errors and their percentiles, of hand-made predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherpose.metrics.pck import PCK
from featherpose.metrics.pixels import pixel_errors
from featherpose.person import Person
from featherpose.skeletons import skeleton_of

SKELETON = skeleton_of({"name": "two", "joints": ["a", "b"]})


def test_each_joint_has_its_percentiles_and_what_was_not_predicted_is_endlessly_far() -> None:
    box = np.array([0.0, 0, 100, 100])
    people = [
        Person("p", np.zeros((2, 2)), np.array([2, n < 2]), np.zeros(2), np.ones(2), box, n, n)
        for n in range(10)
    ]
    metric = PCK(people, SKELETON)
    found = torch.zeros(10, 2, 2)
    found[:, 0, 0] = torch.arange(1, 11)  # a: off by 1 to 10 pixels
    found[1, 1] = torch.nan  # b: of two people, one of whom has no prediction
    metric.update(torch.arange(10), found, torch.ones(10, 2))
    everything, a, b = pixel_errors(metric)
    assert (a.joint, a.joints, a.mean) == ("a", 10, 5.5)
    assert (a.p50, a.p75, a.p90, a.p95) == (5, 8, 9, 10)
    assert (b.joints, b.p50, b.p95) == (2, 0, np.inf)
    assert (everything.joint, everything.joints) == ("all", 12)


def test_a_joint_that_nobody_has_has_no_row() -> None:
    person = Person("p", np.zeros((2, 2)), np.array([2, 0]), *[np.ones(2)] * 2, np.ones(4), 1, 1)
    metric = PCK([person], SKELETON)
    metric.update(torch.arange(1), torch.full((1, 2, 2), 3.0), torch.ones(1, 2))
    rows = pixel_errors(metric)
    assert [row.joint for row in rows] == ["all", "a"]
    assert rows[1].mean == pytest.approx(18**0.5)
