"""Two measures of a pose, on bodies of four joints whose numbers can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.data.readers.plausible import sides_cosine, torso_share
from featherpose.skeletons import Skeleton

FOUR = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
TRUNK = Skeleton("trunk", FOUR, (), {}, (), torso=(0, 3))
UPRIGHT = [[30, 0], [0, 0], [24, 40], [6, 40]]  # 30 wide and 40 high


def body(*joints: list[float], missing: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    visible = np.full((1, 4), 2)
    if missing is not None:
        visible[0, missing] = 0
    return np.array([joints], float), visible


def test_the_torso_is_measured_against_the_larger_side() -> None:
    assert torso_share(*body(*UPRIGHT), TRUNK) == pytest.approx((24**2 + 40**2) ** 0.5 / 40)
    assert np.isnan(torso_share(*body(*UPRIGHT, missing=3), TRUNK))
    assert np.isnan(torso_share(*body(*UPRIGHT), Skeleton("trunk", FOUR, (), {}, ())))


@pytest.mark.parametrize(
    ("hips", "cosine"),
    [
        ([[24, 40], [6, 40]], 1),
        ([[6, 40], [24, 40]], -1),
        ([[15, 22], [15, 40]], 0),
        ([[18, 40], [6, 31]], 0.8),  # 12 across and 9 down: 12/15
        ([[15, 40], [12.625, 40]], np.nan),  # 6% of the extent are 2.4
        ([[15, 40], [12.5, 40]], 1),
    ],
)
def test_shoulders_and_hips_point_the_same_way(hips: list[list[float]], cosine: float) -> None:
    found = sides_cosine(*body(*UPRIGHT[:2], *hips), TRUNK)
    assert found == pytest.approx([cosine], nan_ok=True)


def test_sides_that_are_not_there_have_no_direction() -> None:
    assert np.isnan(sides_cosine(*body(*UPRIGHT, missing=0), TRUNK))
    low = [[4, 0], [0, 0], [24, 40], [6, 40]]  # shoulders of just 10% of the extent
    assert np.isnan(sides_cosine(*body(*low), TRUNK))
    other = Skeleton("other", ("left_shoulder", "right_shoulder", "left_hip", "tail"), (), {}, ())
    assert np.isnan(sides_cosine(*body(*UPRIGHT), other))
