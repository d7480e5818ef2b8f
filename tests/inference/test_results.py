"""Poses as a table: the DataFrame and keypoints.csv are one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featherpose import to_dataframe
from featherpose.inference.pose import FoundPose
from featherpose.inference.results import Results
from featherpose.inference.streams import Frame
from featherpose.skeletons import skeleton_of

HANDS = skeleton_of({"name": "hands", "joints": ["left_hand", "right_hand"]})


def person(shift: float, identity: int | None = None) -> FoundPose:
    joints = np.array([[1.23456, 2.0], [3.0, 4.0]]) + shift
    return FoundPose(joints, np.array([0.5, 0.25]), np.arange(4.0), 0.75, identity)


def test_the_dataframe_is_what_the_csv_reads_as(tmp_path: Path) -> None:
    found = {"a.jpg": [person(0), person(1)], "b.jpg": [], "c.jpg": [person(2, identity=7)]}
    table = to_dataframe(found, HANDS)
    assert table["file"].tolist() == ["a.jpg", "a.jpg", "c.jpg"]
    assert table["person"].tolist() == [0, 1, 7]
    assert table["left_hand_x"].tolist() == pytest.approx([1.235, 2.235, 3.235])
    with Results(tmp_path, HANDS, pictures=False) as results:
        for index, (name, people) in enumerate(found.items()):
            results.add(Frame(f"photos/{name}", index, np.zeros((9, 9, 3), np.uint8)), people, None)
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "keypoints.csv"))


def test_one_pictures_people_and_nobody() -> None:
    assert len(to_dataframe([person(0)], HANDS)) == 1
    empty = to_dataframe([], HANDS)
    assert len(empty) == 0
    assert "right_hand_confidence" in empty.columns
