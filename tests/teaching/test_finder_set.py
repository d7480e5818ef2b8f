"""Whom the finder learns from: humans' boxes, the teacher's where there are none, nothing that is held out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featherpose.image import write
from featherpose.inference.detector import Detector
from featherpose.teaching import finder_set
from featherpose.teaching.finder_set import Pictures, both_ways
from featherpose.teaching.sources import Places

from ..small_sets import smooth_picture, write_coco
from .test_snapshots import write_snapshot
from .test_sources import jpeg, more


class Teacher(Detector):
    """Sees a sure person on the left and a doubtful one on the right; both fill half of the picture's height."""

    def __init__(self, *_, **__) -> None:
        pass

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = picture.shape[:2]
        boxes = [[0, 0, width / 4, height / 2], [width / 2, height / 2, width / 4, height / 2]]
        return np.array(boxes), np.array([0.9, 0.2])


def pictures_of(tmp_path: Path, boxes: np.ndarray) -> Pictures:
    path = tmp_path / "a.png"
    write(path, smooth_picture(1, (80, 40)))
    return Pictures([str(path)], [(0, 0)], [boxes], [np.ones(len(boxes), bool)])


def test_the_teacher_fills_in_only_where_nobody_has_labelled(tmp_path: Path) -> None:
    teacher = Teacher()
    alone = finder_set._taught(pictures_of(tmp_path, np.zeros((0, 4))), teacher)
    assert alone.person[0].any() and not alone.person[0].all()
    known = np.array([[0.0, 0, 20, 21]])
    beside = finder_set._taught(pictures_of(tmp_path, known), teacher)
    assert beside.boxes[0][0].tolist() == known[0].tolist()
    assert beside.person[0].tolist() == [True, False]


def test_both_ways_agree(tmp_path: Path) -> None:
    class Mirror(Teacher):
        def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """A bright spot's place, a little too far to the right."""
            left = int(picture[0, :, 0].argmax())
            return np.array([[left + 1.0, 0, 20, 30]]), np.array([0.5])

    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 30:50] = 255
    boxes, scores = both_ways(Mirror(), picture)
    assert boxes.tolist() == [[30, 0, 20, 30]] and scores.tolist() == [0.5]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    one = pictures_of(tmp_path, np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
    two = finder_set._joined([one, pictures_of(tmp_path, np.zeros((0, 4)))])
    two.size[0] = (30, 20)
    two.save(tmp_path / "kept.npz")
    again = Pictures.load(tmp_path / "kept.npz")
    assert again.path == two.path and again.size == two.size
    for one_, other in zip(two.boxes + two.person, again.boxes + again.person, strict=True):
        np.testing.assert_array_equal(one_, other)
    assert again.picture(0).shape == (20, 30, 3) and again.picture(1).shape == (40, 80, 3)


def test_nothing_is_learnt_from_held_out_or_dev_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path / "data", tmp_path / "snapshots", tmp_path / "work")
    write_coco(places.data / "coco_part")
    (places.data / "coco_part" / "val2017").mkdir(exist_ok=True)
    names = ("-above", "aa", "bb", "cc")
    files = {f"train/images/{n}.jpg": jpeg(20 + i, (416, 416)) for i, n in enumerate(names)}
    files |= {f"train/labels/{n}.txt": b"0 0.5 0.5 0.2 0.8\n1 0.1 0.1 0.1 0.1" for n in names}
    write_snapshot(places.snapshots, "brianhuster/human-dataset", files)
    kept = json.loads((places.pictures("human_v2") / "ids.json").read_text())
    ids = {path: name for name, path in kept.items() if path.endswith(("aa.jpg", "bb.jpg"))}
    more(places, ids)
    flickr = {f"data/images/{n}.jpg": jpeg(50 + n, (60, 80)) for n in range(3)}
    held = next((places.data / "coco_part" / "val2017").glob("*.jpg"))
    flickr["data/images/copy.jpg"] = held.read_bytes()
    write_snapshot(places.snapshots, "quantumnaan/sic_translator", flickr)
    stanford = {"JPEGImages/a.jpg": jpeg(70, (60, 80))}
    write_snapshot(places.snapshots, "Mehranai/stanford40_pose", stanford)
    monkeypatch.setattr(finder_set, "Detector", Teacher)
    monkeypatch.setattr(finder_set, "DEV", 1)
    said: list[str] = []
    train, dev = finder_set.pictures(places, said.append)
    assert len(dev) == 1
    learnt = {Path(path).name for path in train.path}
    assert Path(dev.path[0]).name not in learnt
    assert not {"copy.jpg", "-above.jpg"} & learnt
    assert {"a.jpg", "0.jpg", "1.jpg", "2.jpg"} <= learnt
    assert any("1 like held-out" in line for line in said if line.startswith("flickr8k"))
    assert "cc.jpg" in learnt and len({"aa.jpg", "bb.jpg"} & learnt) == 1
    for person in train.person:  # what the teacher doubts is nobody
        assert person.any() and not person.all()
    count = len(said)
    again, _ = finder_set.pictures(places, said.append)
    assert again.path == train.path and len(said) == count
