"""A file's chances: read with care, given with a pose where the flip test is the one they were fitted for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.inference.chances import Chances
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps
from featherpose.inference.pose import Pose
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII

CURVE = Chances(
    peaks=((0.1, 0.9),) * 16, values=((0.2, 0.8),) * 16, near="OKS 0.5", flip=False, people=300,
    judged=300, error_before=0.2, error_after=0.01, threshold=0.15, f1=0.8,
)  # fmt: skip
GOOD = Description(MPII, (64, 48), 4, Protocol(), network="Hourglass", chances=CURVE)


def test_between_and_beyond_the_curves_points() -> None:
    given = np.tile([[0.0], [0.1], [0.5], [0.9], [2.0]], 16)
    np.testing.assert_allclose(CURVE(given)[:, 3], [0.2, 0.2, 0.5, 0.8, 0.8])


def test_they_travel_with_the_file() -> None:
    assert Description.from_json(GOOD.to_json(), "m.onnx") == GOOD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peaks": [[0.1, 0.9]] * 15}, "not 16 curves"),
        ({"values": [[0.2]] * 16}, "not 16 curves"),
        ({"values": [[0.8, 0.2]] * 16}, "values of its chances do not rise"),
        ({"values": [[0.2, 1.2]] * 16}, "not from 0 to 1"),
        ({"peaks": [["a", "b"]] * 16}, "has to be a number"),
        ({"threshold": None}, "threshold is null"),
        ({"judged": 0}, "judged is 0"),
    ],
)
def test_damage_is_one_sentence(changes: dict, reason: str) -> None:
    damaged = json.loads(GOOD.to_json())
    damaged["chances"].update(changes)
    with pytest.raises(PoseError, match=rf"m\.onnx is damaged .*{reason}.*export it again"):
        Description.from_json(json.dumps(damaged), "m.onnx")


@pytest.mark.parametrize(("asked", "given"), [(False, True), (True, False)])
def test_a_pose_has_them_with_the_flip_test_they_are_of(asked: bool, given: bool) -> None:
    class Backend:
        description = replace(GOOD, protocol=Protocol(flip=False))

        def __call__(self, crops: np.ndarray) -> list:
            return [Heatmaps(np.full((len(crops), 16, 16, 12), 0.5, np.float32), 4)]

    pose = Pose.__new__(Pose)
    pose.estimator = Estimator(Backend(), Protocol(flip=asked))
    pose.description, pose.skeleton, pose.batch_size = Backend.description, MPII, 4
    (person,) = pose(np.zeros((80, 60, 3), np.uint8), [[5, 5, 40, 60]])
    if given:
        np.testing.assert_allclose(person.chance, 0.5)
    else:
        assert person.chance is None
