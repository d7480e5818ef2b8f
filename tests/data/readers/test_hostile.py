"""Annotation files that are broken or made to harm: one sentence each, with the file's name; nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from featherpose.data.readers import coco, lsp, mpii
from featherpose.errors import PoseError

from ...attacks.hostile import MPII_PERSON, MPII_TRUTH, coco_example

PATH = "annotations/person_keypoints_val2017.json"
Change = Callable[[dict[str, Any]], Any]


def write(folder: Path, content: str | dict[str, Any]) -> Path:
    path = folder / PATH
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def person(**values: Any) -> Change:
    return lambda content: content["annotations"][0].update(values)


def picture(**values: Any) -> Change:
    return lambda content: content["images"][0].update(values)


def category(**values: Any) -> Change:
    return lambda content: content["categories"][0].update(values)


BOTH = {  # reader and ground truth say it
    "records that are numbers": (
        lambda c: c.update(annotations=[1, 2]),
        "an entry of 'annotations'",
    ),
    "pictures that are text": (lambda c: c.update(images=["a"]), "an entry of 'images'"),
    "categories that are numbers": (lambda c: c.update(categories=[3]), "an entry of 'categories'"),
    "a picture with a list for an id": (picture(id=[1]), r"id should be a whole number .* \[1\]"),
    "a picture beyond 64 bits": (picture(id=10**30), "id should be a whole number"),
    "a person beyond 64 bits": (person(id=10**30), "id should be a whole number"),
    "a person just beyond them": (person(id=2**63), "id should be a whole number"),
    "a person just below them": (person(id=-(2**63) - 1), "id should be a whole number"),
    "a person without an id": (person(id=None), "id should be a whole number"),
    "a category without an id": (category(id=None), "the category 'person' has no id"),
    "keypoint names that are one number": (category(keypoints=7), "has the keypoints 7"),
    "keypoint names that are numbers": (category(keypoints=[1, 2]), "has the keypoints 1, 2"),
    "keypoints that are a mapping": (person(keypoints={"a": 1}), "keypoints is not a list"),
    "too few keypoints": (person(keypoints=[1.0] * 50), "50 keypoint numbers instead of 17"),
    "a keypoint beyond all numbers": (person(keypoints=[10**400] * 51), "not a list of numbers"),
    "a box of text": (person(bbox="x"), "bbox is not a list of numbers"),
    "a box of two numbers": (person(bbox=[1, 2]), "bbox has 2 numbers"),
    "no box": (lambda c: c["annotations"][0].pop("bbox"), "bbox has 0 numbers"),
    "a box beyond the squares of numbers": (person(bbox=[1e308] * 4), "far outside any picture"),
    "an area beyond all numbers": (person(area=10**400), "area should be a number"),
}


@pytest.mark.parametrize("name", BOTH)
def test_broken_coco_files(tmp_path: Path, name: str) -> None:
    change, sentence = BOTH[name]
    content = coco_example()
    change(content)
    write(tmp_path, content)
    for read in (
        lambda: coco.read(tmp_path, "val", pictures="ignore"),
        lambda: coco.ground_truth(tmp_path),
    ):
        with pytest.raises(PoseError, match=sentence) as error:
            read()
        assert str(tmp_path / PATH) in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 200_000 + "]" * 200_000, "nests its brackets too deeply"),
        ('{"images":' + "[" * 100_000, "nests its brackets too deeply"),
        ('{"images":[{"id":' + "9" * 5_000 + "}]}", "is not valid JSON"),
        ("\x00", "is not valid JSON"),
        ("null", "has no list 'images'"),
    ],
)
def test_json_made_to_harm(tmp_path: Path, text: str, sentence: str) -> None:
    write(tmp_path, text)
    with pytest.raises(PoseError, match=sentence):
        coco.read(tmp_path, "val")


def test_ids_that_are_text_are_numbered_and_kept(tmp_path: Path) -> None:
    content = coco_example()
    content["images"].insert(0, {"id": "empty", "file_name": "e.jpg", "width": 9, "height": 9})
    content["images"][1]["id"] = content["annotations"][0]["image_id"] = "frame_0007"
    write(tmp_path, content)
    (found,) = coco.read(tmp_path, "val", pictures="ignore").persons
    assert (found.image_id, found.image_name) == (2, "frame_0007")
    truth = coco.ground_truth(tmp_path)
    assert truth.image_id.tolist() == [2]
    assert truth.images.tolist() == [1, 2]
    assert truth.names == {1: "empty", 2: "frame_0007"}
    assert truth[np.array([0])].names == truth.names


def test_a_crowd_without_a_box_counts_for_nothing(tmp_path: Path) -> None:
    content = coco_example()
    crowd = {"id": 5, "category_id": 1, "image_id": 7, "iscrowd": 1, "keypoints": [0] * 51}
    content["annotations"].append(crowd)
    write(tmp_path, content)
    assert coco.read(tmp_path, "val", pictures="ignore").skipped == {"crowd": 1}
    assert coco.ground_truth(tmp_path).person_id.tolist() == [1]


def test_mpii_truth_of_another_shape(tmp_path: Path) -> None:
    (tmp_path / "mpii_annotations.json").write_text(json.dumps([MPII_PERSON]))
    for wrong in (
        {"pos_gt_src": np.ones((3, 2, 1))},
        {"jnt_missing": np.zeros((16, 4))},
        {"headboxes_src": np.full((2, 2, 1), "x", object)},
    ):
        scipy.io.savemat(tmp_path / "detections_our_format.mat", MPII_TRUTH | wrong)
        with pytest.raises(PoseError, match="lacks pos_gt_src, jnt_missing or headboxes_src"):
            mpii.read(tmp_path, "val", published=False, pictures="ignore")


def test_lsp_joints_that_are_no_numbers(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": np.full((14, 3, 2), "x", object)})
    with pytest.raises(PoseError, match="'joints' does not hold numbers"):
        lsp.read_extended(tmp_path, "train")
