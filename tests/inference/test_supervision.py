"""What `supervision.KeyPoints` is given, by its constructor's contract: the package itself is not among the tests'."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import pytest

from featherpose import to_supervision
from featherpose.errors import PoseError
from featherpose.inference.pose import FoundPose


@dataclass
class KeyPoints:
    """The fields of supervision 0.29 to 0.31, in their order."""

    xy: np.ndarray
    class_id: np.ndarray | None = None
    keypoint_confidence: np.ndarray | None = None
    detection_confidence: np.ndarray | None = None
    visible: np.ndarray | None = None
    data: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> KeyPoints:
        return cls(np.zeros((0, 0, 2), np.float32))


@pytest.fixture
def _supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("supervision")
    module.KeyPoints = KeyPoints  # ty: ignore[unresolved-attribute]
    monkeypatch.setitem(sys.modules, "supervision", module)


def person(identity: int | None) -> FoundPose:
    points = np.arange(34.0).reshape(17, 2)
    return FoundPose(points, np.linspace(0, 1, 17), np.array([1.0, 2, 30, 40]), 0.6, identity)


@pytest.mark.usefixtures("_supervision")
def test_people_become_key_points() -> None:
    found = to_supervision([person(3), person(5)], threshold=0.5)
    assert found.xy.shape == (2, 17, 2) and found.xy.dtype == np.float32
    assert found.visible is not None and found.visible.sum() == 2 * 9
    np.testing.assert_allclose(found.detection_confidence, [0.6, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found.data["identity"], [3, 5])
    np.testing.assert_array_equal(found.data["box"][0], [1, 2, 30, 40])


@pytest.mark.usefixtures("_supervision")
def test_pictures_know_no_identities_and_nobody_is_nobody() -> None:
    assert "identity" not in to_supervision([person(None)]).data
    assert len(to_supervision([]).xy) == 0


def test_without_the_package_one_sentence_says_how_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(PoseError, match=r"pip install 'supervision>=0\.29'"):
        to_supervision([person(None)])
