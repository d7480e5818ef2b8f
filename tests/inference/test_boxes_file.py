"""Files of boxes: what is wrong with a record is said with its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.inference.boxes import BoxesFromFile
from featherpose.inference.streams import Frame

BOX = [1, 2, 30, 40]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "is not a json file of boxes"),
        (3, "holds no boxes"),
        ([3], "record 0: its bbox is not"),
        ([{"file_name": "p.jpg", "bbox": [10**400] * 4}], "record 0: its bbox is not"),
        ([{"file_name": "p.jpg", "bbox": BOX, "score": "x"}], "record 0: its score is 'x'"),
        ('[{"file_name":"p.jpg","bbox":[1,2,30,40],"score":NaN}]', "record 0: its score is nan"),
        ([{"image_id": "abc", "bbox": BOX}], "record 0: it has neither a file_name nor"),
        ([{"file_name": ["a"], "bbox": BOX}], "record 0: it has neither a file_name nor"),
        ([{"image_id": [1], "bbox": BOX}], "record 0: it has neither a file_name nor"),
        (
            {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": BOX}]},
            "each of its images needs an id and a file_name",
        ),
        ({"images": 3, "annotations": [{"image_id": 1, "bbox": BOX}]}, "each of its images needs"),
    ],
)
def test_wrong_boxes_are_told(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(PoseError, match=sentence) as error:
        BoxesFromFile(path)
    assert str(path) in str(error.value)


def test_pictures_may_have_names_for_ids(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    images = [{"id": "first", "file_name": "a/p.jpg"}]
    boxes = [{"image_id": "first", "bbox": BOX, "score": 0.5}]
    path.write_text(json.dumps({"images": images, "annotations": boxes}))
    found, score = BoxesFromFile(path)(Frame("p.jpg", 0, np.zeros((9, 9, 3), np.uint8)))
    assert found.tolist() == [BOX]
    assert score.tolist() == [0.5]


def test_a_video_s_boxes_are_its_frames_and_never_its_name_s(tmp_path: Path) -> None:
    """`keypoints.json` of a video, which names it in every record, and records of bare numbers."""
    for name in ("0003.mp4", "walk.mp4"):
        for named in ({"file_name": f"films/{name}"}, {}):
            records = [{**named, "image_id": n, "bbox": [n, 0, 9, 9]} for n in range(5)]
            (tmp_path / "boxes.json").write_text(json.dumps(records))
            find = BoxesFromFile(tmp_path / "boxes.json")
            for index in range(6):
                frame = Frame(f"films/{name}", index, np.zeros((9, 9, 3), np.uint8), moving=True)
                assert find(frame)[0].tolist() == ([[index, 0, 9, 9]] if index < 5 else [])


def test_pictures_of_one_name_in_two_folders_keep_their_boxes(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    names = ("set/a/1.jpg", "set/b/1.jpg")
    path.write_text(
        json.dumps([{"file_name": n, "bbox": [k, 0, 9, 9]} for k, n in enumerate(names)])
    )
    find, picture = BoxesFromFile(path), np.zeros((9, 9, 3), np.uint8)
    assert find(Frame("/here/set/a/1.jpg", 0, picture))[0].tolist() == [[0, 0, 9, 9]]
    assert find(Frame("b/1.jpg", 1, picture))[0].tolist() == [[1, 0, 9, 9]]
    with pytest.raises(PoseError, match=r"1\.jpg may be set/a/1\.jpg or set/b/1\.jpg of"):
        find(Frame("1.jpg", 0, picture))
