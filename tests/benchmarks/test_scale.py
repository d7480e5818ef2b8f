"""People by the number: readers take the whole file, and slopes are powers. Times are for people to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.benchmarks import scale
from featherpose.data.readers import coco


def test_the_file_holds_so_many_people(tmp_path: Path) -> None:
    scale.make(tmp_path, 30)
    people = coco.read(tmp_path, "train", pictures="ignore")
    assert len(people.persons) == 30 and not people.skipped
    assert len(np.unique(people.persons.picture)) == 8


@pytest.mark.parametrize("name", scale.STEPS)
def test_every_step_runs(tmp_path: Path, name: str) -> None:
    scale.make(tmp_path, 30)
    scale.STEPS[name](tmp_path)()


def test_a_slope_is_the_power_of_the_number() -> None:
    assert scale.slope([10, 100], [1.0, 10.0]) == pytest.approx(1)
    assert scale.slope([10, 100, 1000], [5.0, 1.0, 100.0]) == pytest.approx(2)
    assert np.isnan(scale.slope([10], [1.0]))
