"""People by the number: every step runs, and slopes are powers. Times are for people to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.benchmarks import made, scale
from featherpose.errors import PoseError


@pytest.mark.parametrize("name", scale.STEPS)
def test_every_step_runs(tmp_path: Path, name: str) -> None:
    made.make_coco(tmp_path, 30)
    scale.STEPS[name](scale.Case(tmp_path, "coco"))()


def test_sharing_is_of_coco_alone() -> None:
    with pytest.raises(PoseError, match="form=coco"):
        scale.run([10], form="mpii", sharing=2)


def test_a_slope_is_the_power_of_the_number() -> None:
    assert scale.slope([10, 100], [1.0, 10.0]) == pytest.approx(1)
    assert scale.slope([10, 100, 1000], [5.0, 1.0, 100.0]) == pytest.approx(2)
    assert np.isnan(scale.slope([10], [1.0]))
