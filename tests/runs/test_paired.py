"""Two runs on the same people: differences and their intervals, on predictions whose errors are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.runs import paired
from featherpose.runs.folder import Run

PEOPLE = 40


def predictions(right: np.ndarray) -> dict[str, np.ndarray]:
    """Sixteen joints of each person, 50 pixels wide and high: on the spot where `right`, else far off."""
    joints = np.zeros((PEOPLE, 16, 2))
    joints[:, :, 0] = np.linspace(100, 150, 16)
    joints[:, :, 1] = np.linspace(50, 100, 16)
    visible = np.full((PEOPLE, 16), 2, np.uint8)
    visible[:, 3] = 1  # occluded
    keypoints = joints + np.where(right, 0.0, 40.0)[..., None]
    return {
        "index": np.arange(PEOPLE),
        "keypoints": keypoints[None].astype(np.float32),
        "confidence": np.full((1, PEOPLE, 16), 0.5, np.float32),
        "joints": joints,
        "visible": visible,
        "person_id": np.arange(PEOPLE),
        "image": np.array([f"picture-{i // 2}" for i in range(PEOPLE)]),  # two people on each
    }


@pytest.fixture
def two(write_run: Any) -> tuple[Run, Run]:
    """The first finds all; the second misses the left hip always and one wrist of every fifth person."""
    all_right = np.ones((PEOPLE, 16), bool)
    some = all_right.copy()
    some[:, 3] = False
    some[::5, 15] = False
    config = {"data": {"skeleton": "mpii"}}
    first = write_run("first", config=config, predictions=predictions(all_right))
    second = write_run("second", config=config, predictions=predictions(some))
    return Run(first), Run(second)


def test_the_difference_of_all_joints_with_its_interval(two: tuple[Run, Run]) -> None:
    (row,) = paired.compared(*two).to_dict("records")
    assert row["joints"] == PEOPLE * 16
    assert row["run %"] == 100
    assert row["difference"] == pytest.approx(100 * (PEOPLE + PEOPLE // 5) / (PEOPLE * 16))
    assert row["low"] < row["difference"] < row["high"]
    assert row["low"] > 0 and not row["noise"]


def test_by_joint_and_occlusion(two: tuple[Run, Run]) -> None:
    table = paired.compared(*two, by="joint")
    assert len(table) == 16
    assert table.loc["left_hip", ["difference", "low", "high"]].tolist() == [100, 100, 100]
    wrist = table.loc["left_wrist"]
    assert wrist["difference"] == pytest.approx(20)
    assert wrist["low"] < 20 < wrist["high"] and not wrist["noise"]
    assert table.loc["head_top", "noise"]
    occlusion = paired.compared(*two, by="occlusion")
    assert occlusion.loc["occluded", "difference"] == 100
    assert paired.compared(*two, by="size").index.tolist() == ["all"]


def test_the_other_way_round_is_the_negative(two: tuple[Run, Run]) -> None:
    there, back = paired.compared(*two), paired.compared(*reversed(two))
    assert back["difference"].iloc[0] == -there["difference"].iloc[0]
    assert back["low"].iloc[0] == pytest.approx(-there["high"].iloc[0])


def test_what_does_not_compare(two: tuple[Run, Run], write_run: Any, tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="not by 'colour'"):
        paired.compared(*two, by="colour")
    found = predictions(np.ones((PEOPLE, 16), bool))
    found["image"] = np.array([f"other-{i}" for i in range(PEOPLE)])
    other = write_run("other", config={"data": {"skeleton": "mpii"}}, predictions=found)
    with pytest.raises(PoseError, match="did not predict the same people"):
        paired.compared(two[0], Run(other))


def test_pictures_of_the_difference(two: tuple[Run, Run]) -> None:
    (axes,) = paired.difference_figure(paired.compared(*two, by="joint"), "by joint").axes
    assert "left_wrist (40)" in [label.get_text() for label in axes.get_yticklabels()]
    (axes,) = paired.person_figure(*two).axes
    assert axes.get_ylabel() == "first"
    others, errors = np.asarray(axes.collections[0].get_offsets()).T
    assert len(errors) == PEOPLE and errors.max() < 1e-4 < 1 < others.min()
