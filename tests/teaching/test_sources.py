"""Who is listed of each source: boxes from labels, joints by name, small people left out."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from featherpose.data.readers import lsp
from featherpose.skeletons import COCO, LSP
from featherpose.teaching import sources
from featherpose.teaching.sources import Places, listing

from ..small_sets import coco_json, smooth_picture, write_coco, write_picture
from .test_snapshots import write_snapshot


def jpeg(seed: int, size: tuple[int, int]) -> bytes:
    import cv2

    return cv2.imencode(".jpg", smooth_picture(seed, size))[1].tobytes()


@pytest.fixture
def places(tmp_path) -> Places:
    return Places(tmp_path / "data", tmp_path / "snapshots", tmp_path / "work")


def human_v2(places: Places, labels: dict[str, str]) -> dict[str, str]:
    """A snapshot with a squeezed picture for each label; gives the ids of its files by path."""
    files = {f"train/labels/{name}.txt": text.encode() for name, text in labels.items()}
    files |= {
        f"train/images/{name}.jpg": jpeg(i, (416, 416)) for i, name in enumerate(sorted(labels))
    }
    write_snapshot(places.snapshots, "brianhuster/human-dataset", files)
    ids = json.loads((places.pictures("human_v2") / "ids.json").read_text())
    return {path: name for name, path in ids.items()}


def more(places: Places, ids: dict[str, str]) -> None:
    """coco_more: of six annotated pictures the first two are those of `ids`."""
    content = coco_json(6)
    for picture, name in zip(content["images"], ids.values(), strict=False):
        picture["file_name"] = f"{name}.jpg"
    content["annotations"] = content["annotations"][: len(ids)]
    for record in content["annotations"]:
        record["image_id"] += 100  # not a picture of coco_part
    for picture in content["images"]:
        picture["id"] += 100
    folder = places.data / "coco_more"
    folder.mkdir(parents=True)
    with gzip.open(folder / "person_keypoints_more.json.gz", "wt") as file:
        json.dump(content, file)


def test_boxes_and_outlines_of_human_v2(places):
    write_coco(places.data / "coco_part")
    box, outline = "0 0.5 0.5 0.2 0.8", "0 0.1 0.1 0.4 0.1 0.4 0.9 0.1 0.9"
    small, crowd = "0 0.5 0.5 0.1 0.2", "\n".join(["0 0.5 0.5 0.2 0.5"] * 5)
    labels = {"a": box, "b": outline, "c": small, "d": crowd, "e": ""}
    ids = human_v2(places, {**labels, "coco": box})
    more(places, {"x": ids["train/images/coco.jpg"]})
    people = listing("human_v2", places)
    names = [path.rpartition("/")[2] for path in people.picture.tolist()]
    assert names == [
        "a.jpg",
        "b.jpg",
        "d.jpg",
        "d.jpg",
    ]  # two of five; none of coco_more's
    width, height = sources.HUMAN_V2_SIZE
    np.testing.assert_allclose(
        people.box[0], [0.4 * width, 0.1 * height, 0.2 * width, 0.8 * height]
    )
    np.testing.assert_allclose(
        people.box[1], [0.1 * width, 0.1 * height, 0.3 * width, 0.8 * height]
    )
    assert not people.labelled.any()


def test_coco_more_is_stretched_and_joined_by_id(places):
    write_coco(places.data / "coco_part")
    ids = human_v2(places, {"a": "", "b": ""})
    more(places, {path: ids[path] for path in ("train/images/a.jpg", "train/images/b.jpg")})
    people = listing("coco_more", places)
    assert [path.rpartition("/")[2] for path in people.picture.tolist()] == ["a.jpg", "b.jpg"]
    assert people.size.tolist() == [[160, 120]] * 2
    assert people.labelled.all()
    assert people.skipped == {"in coco_part too": 0}


def test_stanford40_takes_the_box_beside_the_picture(places):
    box = "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>60</xmax><ymax>100</ymax></bndbox>"
    files = {
        "JPEGImages/jumping_001.jpg": jpeg(0, (160, 120)),
        "XMLAnnotations/jumping_001.xml": f"<annotation><object>{box}</object></annotation>".encode(),
        "XMLAnnotations/lost_001.xml": f"<annotation><object>{box}</object></annotation>".encode(),
    }
    write_snapshot(places.snapshots, "Mehranai/stanford40_pose", files)
    people = listing("stanford40", places)
    assert people.box.tolist() == [[10, 20, 50, 80]]


def test_lspet_comes_in_cocos_joints_with_a_box_around_all_of_its_own(
    places, tiny_lspet, monkeypatch
):
    places.data.mkdir()
    (places.data / "lspet").symlink_to(tiny_lspet)
    monkeypatch.setattr(sources, "LSPET_TRAIN", ((1, 2), (4, 4)))
    people = listing("lspet", places)
    own = {
        p.image: p for p in lsp.read_extended(places.data / "lspet", "train", train=(1, 4)).persons
    }
    assert people.picture.tolist() == sorted(own)[:2] + sorted(own)[3:]
    first = own[str(people.picture[0])]
    shoulder = people.joints[0, COCO.index("left_shoulder")]
    np.testing.assert_allclose(shoulder, first.joints[LSP.index("left_shoulder")])
    assert people.visible[0, COCO.index("nose")] == 0  # LSPET's head top is no nose
    points = first.joints[first.visible > 0]
    np.testing.assert_allclose(people.box[0, 2:], np.ptp(points, axis=0) * 1.1)


def test_ccp_asks_the_detector(places, monkeypatch):
    write_snapshot(
        places.snapshots, "bearpaw/clothing-co-parsing", {"photos/1.jpg": jpeg(0, (200, 300))}
    )
    boxes = np.array([[0, 0, 50, 99], [10, 10, 80, 200], [20, 5, 90, 290]], float)

    class Finder:
        def __init__(self, *_, **__):
            pass

        def __call__(self, picture):
            assert picture.shape == (300, 200, 3)
            return boxes, np.ones(3)

    monkeypatch.setattr(sources, "Detector", Finder)
    people = listing("ccp", places)
    assert people.box.tolist() == [boxes[2].tolist(), boxes[1].tolist()]  # the tallest first


def test_a_missing_label_set_is_said(places):
    write_picture(places.data / "x.jpg", 0)
    from featherpose.errors import PoseError

    with pytest.raises(PoseError, match="coco data is missing"):
        listing("coco_part", places)
