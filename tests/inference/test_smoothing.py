"""The One-Euro filter by its paper's formulas, and where no time passes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from featherpose.inference.smoothing import OneEuro

HALF = 1 / (2 * math.pi)  # seconds after which a cutoff of 1 Hz takes half of what is new


def test_a_step_at_rest_and_in_motion() -> None:
    """Hz and seconds are chosen so that a weight is cutoff / (cutoff + 1)."""
    start, moved = np.zeros((1, 2)), np.array([[10.0, 0.0]])
    still = OneEuro(cutoff=1.0, speed=0.0)
    assert still(start, 0.0, 100.0).tolist() == [[0, 0]]
    assert still(moved, HALF, 100.0)[0].tolist() == pytest.approx([5, 0])
    assert still(moved, HALF, 100.0)[0].tolist() == pytest.approx([7.5, 0])
    quick = OneEuro(cutoff=1.0, speed=8.0, speed_cutoff=1.0)
    quick(start, 0.0, 100.0)
    velocity = 0.5 * 10 / HALF  # pixels a second, smoothed by half
    cutoff = 1 + 8 * velocity / 100
    assert quick(moved, HALF, 100.0)[0, 0] == pytest.approx(10 * cutoff / (cutoff + 1))


@pytest.mark.parametrize("seconds", [0.0, -0.1])
def test_without_time_in_between_the_filter_begins_again(seconds: float) -> None:
    """As where a camera gives two frames of one stamp, or a file goes backwards."""
    smooth = OneEuro()
    smooth(np.zeros((2, 2)), 0.0, 100.0)
    jumped = np.full((2, 2), 50.0)
    assert smooth(jumped, seconds, 100.0).tolist() == jumped.tolist()
    later = smooth(jumped + 1, 0.1, 100.0)
    assert np.isfinite(later).all() and ((later > 50) & (later < 51)).all()
