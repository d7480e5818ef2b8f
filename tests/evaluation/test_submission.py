"""The file for COCO's server: its name, its form, and what the server would refuse."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from featherpose.errors import PoseError
from featherpose.evaluation import submission

RECORD = {"image_id": 7, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A set that has pictures listed and nothing annotated, and boxes of a detector."""
    (tmp_path / "annotations").mkdir()
    images = [{"id": 7, "file_name": "000000000007.jpg", "width": 640, "height": 480}]
    listed = {"images": images, "categories": []}
    (tmp_path / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(listed))
    box = {"image_id": 7, "category_id": 1, "bbox": [10, 20, 100, 200], "score": 0.9}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    return tmp_path


def test_people_need_boxes_and_no_annotations(root: Path) -> None:
    found = submission.people(root, "val", "test-dev2017", str(root / "boxes.json"), 17)
    assert [person.image for person in found.persons] == [str(root / "test2017/000000000007.jpg")]
    assert found.boxes == "detections"
    with pytest.raises(PoseError, match=r"say where the detected ones are with data\.detections="):
        submission.people(root, "val", "test-dev2017", None, 17)


def test_the_name_is_the_server_s() -> None:
    name = submission.server_name("test-dev2017", "LAPX 256/192")
    assert name == "person_keypoints_test-dev2017_LAPX-256-192_results"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image_id": 8}, "the picture 8 is not listed"),
        ({"keypoints": [1.0] * 48}, "48 keypoint numbers instead of 51"),
        ({"score": float("nan")}, "a number is none"),
        ({"category_id": 2}, "its category is not 1"),
        ({"bbox": [0, 0, 1, 1]}, "its entries are"),
    ],
)
def test_what_the_server_refuses_is_refused_here(
    root: Path, changes: dict[str, Any], why: str
) -> None:
    path = root / "results.json"
    path.write_text(json.dumps([RECORD, {**RECORD, **changes}]))
    with pytest.raises(PoseError, match=f"record 1: {why}"):
        submission.check(path, submission.listing(root, "test-dev2017"), 17)


def test_a_sound_file_is_packed_under_its_own_name(root: Path) -> None:
    path = root / "results.json"
    path.write_text(json.dumps([RECORD] * 20))
    listed = submission.listing(root, "test-dev2017")
    assert submission.check(path, listed, 17) == 20
    with zipfile.ZipFile(submission.pack(path)) as file:
        assert file.namelist() == ["results.json"]
    path.write_text(json.dumps([RECORD] * 21))
    with pytest.raises(PoseError, match="21 people in a picture"):
        submission.check(path, listed, 17)
