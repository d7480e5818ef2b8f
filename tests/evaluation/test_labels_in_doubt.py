"""Labels that a network disagrees with: the wrong one is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featherpose import Pose, image
from featherpose.cli import data_check
from featherpose.errors import PoseError
from featherpose.evaluation.labels_in_doubt import in_words, most_in_doubt
from featherpose.person import Person, Persons
from featherpose.skeletons import COCO, skeleton_of

SKELETON = skeleton_of({"name": "three", "joints": ["a", "b", "c"]})
PLACES = np.array([[10.0, 10.0], [90.0, 10.0], [50.0, 90.0]])


def persons(count: int) -> Persons:
    box = np.array([0.0, 0, 100, 100])
    return Persons.of(
        Person(f"{n}.jpg", PLACES.copy(), np.array([2, 2, 1]), np.zeros(2), np.ones(2), box, n, n)
        for n in range(count)
    )


def test_the_worst_labels_come_first_and_say_whose_place_it_is() -> None:
    people, sure = persons(4), np.ones((4, 3))
    found = np.stack([PLACES] * 4)
    found[1, 0] = PLACES[1] + 2  # a where b is labelled
    found[2, 2] += 300  # but the network is hardly sure
    sure[2, 2] = 0.3
    people.visible[3, 2] = 0
    found[3, 2] += 300  # no label, no disagreement
    doubts = most_in_doubt(found, sure, people, SKELETON, 3)
    assert [(each.person, each.joint) for each in doubts] == [(1, 0), (2, 2)]
    assert doubts[0].pixels == pytest.approx(82.02, abs=0.01)
    assert doubts[1].weight == pytest.approx(0.3)
    assert in_words(doubts[0], people, SKELETON) == (
        "1.jpg, person 1: a lies 82 px from where the network (1.00 sure) sees it, at the label of b"
    )
    assert doubts[1].instead is None
    assert len(most_in_doubt(found, sure, people, SKELETON, 1)) == 1
    found[0, 0] += 4  # a click beside the place is no disagreement
    assert len(most_in_doubt(found, sure, people, SKELETON, 3)) == 2


def test_the_doctor_lists_exchanged_labels(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network's own answer as labels, but for the shoulders."""
    picture = image.read(root / "docs/images/astronaut_pose.jpg")
    (found,) = Pose(threads=1)(picture)
    shoulders = [COCO.index("left_shoulder"), COCO.index("right_shoulder")]
    joints = found.keypoints.copy()
    joints[shoulders] = joints[shoulders[::-1]]
    height, width = picture.shape[:2]
    low, high = joints.min(axis=0), joints.max(axis=0)
    for number, split in enumerate(("train", "val")):
        annotation = {
            "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17, "area": 1e5,
            "bbox": [*low.tolist(), *(high - low).tolist()],
            "keypoints": np.column_stack([joints, np.full(17, 2)]).ravel().tolist(),
        }  # fmt: skip
        name = f"{split}.png"
        content = {
            "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
            "annotations": [annotation],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
        }
        folder = tmp_path / "annotations"
        folder.mkdir(exist_ok=True)
        (folder / f"person_keypoints_{split}2017.json").write_text(json.dumps(content))
        (tmp_path / f"{split}2017").mkdir()
        image.write(tmp_path / f"{split}2017" / name, np.roll(picture, 3 * number, axis=2))
    words = ["data=coco", f"data.root={tmp_path}", "data.workers=0", "--network", "light"]
    data_check.main([*words, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "labels that light disagrees with most" in said
    assert "at the label of right_shoulder" in said or "at the label of left_shoulder" in said
    assert image.read(tmp_path / "out/labels_train.png").std() > 10
    with pytest.raises(
        PoseError, match=r"the data has lsp \(14 joints\): it lacks neck, head_top\."
    ):
        data_check.main(["data=synthetic_lsp", "data.people={train:4,val:2,test:2}", *words[2:]])
