"""People by the number: every step runs, and slopes are powers. Times are for people to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.benchmarks import made, scale


@pytest.mark.parametrize("name", scale.STEPS)
def test_every_step_runs(tmp_path: Path, name: str) -> None:
    made.make_coco(tmp_path, 30)
    scale.STEPS[name](scale.Case(tmp_path, "coco"))()


def test_each_step_is_said_when_it_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a million people the first comes after minutes."""
    said: list[str] = []

    def alone(step: object, name: str, case: object) -> scale.Cost:
        said.append(capsys.readouterr().out)
        return scale.Cost(1.0, 2.0)

    monkeypatch.setattr(scale, "elsewhere", alone)
    scale.run([10], form="mpii")
    assert said == ["10 people are made\n", "  first read: 1.000 s      2 MB\n"]


def test_a_slope_is_the_power_of_the_number() -> None:
    assert scale.slope([10, 100], [1.0, 10.0]) == pytest.approx(1)
    assert scale.slope([10, 100, 1000], [5.0, 1.0, 100.0]) == pytest.approx(2)
    assert np.isnan(scale.slope([10], [1.0]))
