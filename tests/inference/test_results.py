"""Poses as a table: the DataFrame and keypoints.csv are one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featherpose import to_dataframe
from featherpose.inference.boxes import BoxesFromFile
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


def written(folder: Path, names: list[str], drawn: bool = False) -> list[tuple[int, str]]:
    """Image id and file name of each picture's one person."""
    picture = np.zeros((9, 9, 3), np.uint8)
    with Results(folder, HANDS, sources=[Path(name) for name in names]) as results:
        for index, name in enumerate(names):
            shown = np.full_like(picture, 20 * index) if drawn else None
            results.add(Frame(name, index, picture), [person(index)], shown)
    records = json.loads((folder / "keypoints.json").read_text())
    assert sorted(results.written) == sorted(path.name for path in folder.iterdir())
    return [(record["image_id"], record["file_name"]) for record in records]


def test_pictures_have_their_names_numbers_where_all_names_are_numbers(tmp_path: Path) -> None:
    assert written(tmp_path, ["p/007.jpg", "p/12.jpg"]) == [(7, "007.jpg"), (12, "12.jpg")]
    assert written(tmp_path, ["1.jpg", "a.jpg"]) == [(0, "1.jpg"), (1, "a.jpg")]
    assert written(tmp_path, ["1.jpg", "01.jpg"]) == [(0, "1.jpg"), (1, "01.jpg")]
    assert written(tmp_path, ["².jpg"]) == [(0, "².jpg")], "a digit that is no number"


def test_pictures_of_one_name_are_told_apart_and_found_again(tmp_path: Path) -> None:
    names = ["r/1.jpg", "r/a/1.jpg", "r/b/1.jpg", "r/b/a/1.jpg"]
    found = written(tmp_path, names)
    assert found == list(enumerate(["1.jpg", "a/1.jpg", "b/1.jpg", "b/a/1.jpg"]))
    records = [{"file_name": name, "bbox": [1 + at, 0, 9, 9]} for at, name in found]
    (tmp_path / "boxes.json").write_text(json.dumps(records))
    find = BoxesFromFile(tmp_path / "boxes.json")
    for index, name in enumerate(names):
        boxes, _ = find(Frame(name, index, np.zeros((9, 9, 3), np.uint8)))
        assert boxes.tolist() == [[1 + index, 0, 9, 9]]


def test_no_drawing_takes_the_place_of_another(tmp_path: Path) -> None:
    written(tmp_path, ["a.jpg", "a.png", "a_2.jpg", "b/a.jpg"], drawn=True)
    drawings = {path.name: path.read_bytes() for path in tmp_path.glob("*.jpg")}
    assert sorted(drawings) == ["a.jpg", "a_2.jpg", "a_2_2.jpg", "a_3.jpg"]
    assert len(set(drawings.values())) == 4
