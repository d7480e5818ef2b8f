"""The fast way through a COCO file gives what going through its records one by one gives."""

from __future__ import annotations

import gzip
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherpose.data.readers import coco, coco_columns
from featherpose.metrics.similarity import GroundTruth
from featherpose.person import Persons
from featherpose.skeletons import COCO, Skeleton

PATH = "annotations/person_keypoints_val2017.json"


def varied(count: int, text: bool) -> dict[str, Any]:
    """A file of many people, with everything that the format allows."""
    mix = np.random.default_rng(count)
    pictures = [
        {"id": f"p{i}" if text else 100 + i, "file_name": name, "width": 90 + i, "height": 80.0}
        for i, name in enumerate(["a.jpg", "sub/b.jpg", "c d.jpg", "ä.jpg", ".e.jpg", "a.jpg"])
    ]
    pictures.append(pictures[1] | {"width": 200})  # listed twice: the last counts
    people = []
    for number in range(count):
        keypoints = mix.integers(0, 99, (17, 3)) * (mix.random((17, 1)) < 0.7)
        keypoints[:, 2] = mix.integers(0, 4, 17)
        person: dict[str, Any] = {
            "id": number,
            "category_id": int(mix.choice([1, 1, 1, 2])),
            "image_id": pictures[number % 6]["id"],
            "bbox": (mix.uniform(-20, 90, 4).round(2) * mix.choice([0, 1, 1, 1], 4)).tolist(),
            "keypoints": keypoints.ravel().tolist() if mix.random() < 0.9 else [0] * 51,
            "iscrowd": int(mix.random() < 0.1),
            "segmentation": [[1, 2, 3]],
        }
        if mix.random() < 0.8:
            person["area"] = float(mix.uniform(-50, 4000))
        if mix.random() < 0.8:
            person["num_keypoints"] = int(mix.integers(0, 17))
        if mix.random() < 0.1:
            person["image_id"] = "nowhere" if text else 7
        if mix.random() < 0.1:
            person["keypoints"] = []
        people.append(person)
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints)}
    return {"images": pictures, "annotations": people, "categories": [category], "info": {"n": 1e9}}


def both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Persons, dict, GroundTruth]]:
    """People, who is left out, and the ground truth: by columns, then one by one."""
    assert coco_columns.read(folder / PATH, 17, lambda _: 1) is not None
    results = []
    for _ in range(2):
        found = coco.read(folder, "val", pictures="ignore")
        results.append((found.persons, found.skipped, coco.ground_truth(folder)))
        monkeypatch.setattr(coco_columns, "read", lambda *_: None)
    return results


def with_one_in_quotes(content: dict[str, Any]) -> dict[str, Any]:
    """The id 103 of a picture and its people as the text "103"."""
    for record in [*content["images"], *content["annotations"]]:
        key = "image_id" if "image_id" in record else "id"
        record[key] = "103" if record[key] == 103 else record[key]
    return content


@pytest.mark.parametrize("ids", ["numbers", "text", "both"])
def test_columns_are_the_records(tmp_path: Path, monkeypatch, ids: str) -> None:
    content = varied(400, ids == "text")
    if ids == "both":
        content = with_one_in_quotes(content)
    (tmp_path / PATH).parent.mkdir()
    (tmp_path / PATH).write_text(json.dumps(content))
    (fast, left_out, truth), (slow, slowly_left_out, slow_truth) = both(tmp_path, monkeypatch)
    assert len(fast) > 100 and left_out == slowly_left_out and len(left_out) == 4
    for field in fields(Persons):
        if field.name not in ("pictures", "names", "picture", "name"):
            np.testing.assert_array_equal(getattr(fast, field.name), getattr(slow, field.name))
    assert fast.images() == slow.images()
    assert [p.image_name for p in fast] == [p.image_name for p in slow]
    for field in fields(GroundTruth):
        if field.name != "names":
            np.testing.assert_array_equal(
                getattr(truth, field.name), getattr(slow_truth, field.name)
            )
    assert truth.names == slow_truth.names


@pytest.mark.parametrize(
    "odd",
    [
        '{"id": 1.0, "image_id": 100, "bbox": [1, 2, 3, 4]}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3]}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, NaN]}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, 1e301]}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, 4], "area": 1e305}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, 4], "area": null}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, 4], "keypoints": [5]}',
        '{"id": 1, "image_id": 100, "bbox": [1, 2, 3, 4], "keypoints": [true]}',
        '{"id": 99999999999999999999, "image_id": 100, "bbox": [1, 2, 3, 4]}',
        '{"id": 1, "image_id": true, "bbox": [1, 2, 3, 4]}',
        '{"id": 1, "image_id": 100}',
        "3",
    ],
)
def test_what_is_odd_is_left_to_the_records(tmp_path: Path, odd: str) -> None:
    content = varied(3, text=False)
    plain = json.dumps(content)
    path = tmp_path / "file.json"
    path.write_text(plain)
    assert coco_columns.read(path, 17, lambda _: None) is not None
    odd = odd.replace("{", '{"category_id": 1, ')
    path.write_text(plain.replace('"annotations": [', f'"annotations": [{odd}, '))
    assert coco_columns.read(path, 17, lambda _: 1) is None


def test_text_that_is_none_is_left_to_the_records(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(json.dumps(varied(3, text=False)).encode()[:-1] + b', "licence": "\xff"}')
    assert coco_columns.read(path, 17, lambda _: 1) is None


def test_packed_files_and_files_of_nobody(tmp_path: Path, monkeypatch) -> None:
    content = varied(20, text=False)
    with gzip.open(tmp_path / "file.json.gz", "wt") as file:
        json.dump(content, file)
    found = coco_columns.read(tmp_path / "file.json.gz", 17, lambda _: 1)
    assert found is not None and len(found.person_id) > 5
    (tmp_path / PATH).parent.mkdir()
    (tmp_path / PATH).write_text(json.dumps(content | {"annotations": [], "images": []}))
    (fast, left_out, truth), (slow, _, _) = both(tmp_path, monkeypatch)
    assert len(fast) == len(slow) == len(truth) == len(left_out) == 0


def test_a_skeleton_of_ones_own(tmp_path: Path) -> None:
    arms = Skeleton("arms", ("a", "b"), (), {}, (0, 1))
    content = varied(1, text=False)
    content["categories"][0]["keypoints"] = ["a", "b"]
    content["annotations"][0] |= {
        "keypoints": [1, 2, 2, 3, 4, 1],
        "bbox": [1, 1, 50, 50],
        "area": 9,
    }
    content["annotations"][0] |= {
        "iscrowd": 0,
        "category_id": 1,
        "num_keypoints": 2,
        "image_id": 100,
    }
    (tmp_path / PATH).parent.mkdir()
    (tmp_path / PATH).write_text(json.dumps(content))
    (person,) = coco.read(tmp_path, "val", skeleton=arms, pictures="ignore").persons
    assert person.joints.tolist() == [[1, 2], [3, 4]] and person.visible.tolist() == [2, 1]
