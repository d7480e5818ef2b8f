"""COCO's person_keypoints json, and any json of that form with people's own skeleton."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.crop import centre_and_scale
from featherpose.data.readers import source
from featherpose.errors import PoseError
from featherpose.metrics.similarity import GroundTruth
from featherpose.person import People, Person
from featherpose.skeletons import Skeleton, skeleton_of

PAGE = "https://cocodataset.org/#download (2017 Train images, 2017 Val images, 2017 Train/Val annotations)"
CONTENTS = "annotations/person_keypoints_{train,val}2017.json, train2017/ and val2017/"


def read(
    root: str | Path | None,
    split: str,
    annotations: str = "annotations/person_keypoints_{split}2017.json",
    images: str = "{split}2017",
    skeleton: str | dict | Skeleton = "coco",
    category: str = "person",
    pictures: str = "require",
    dataset: str = "coco",
) -> People:
    """The persons with at least one annotated keypoint, as HRNet's protocol takes them.

    Left out and counted: crowds, persons without keypoints, boxes without size after clipping to the picture, zero
    areas, annotations whose picture is not listed.

    Args:
        root: the folder, as the official site gives it.
        split: train, val or test; it fills `{split}` in `annotations` and `images`.
        skeleton: its joints in the file's order; the file's own names have to agree.
        category: the name of the category that is read.
        pictures: require, skip (people without their picture are left out and counted) or ignore.
    """
    base = source.folder(root, dataset, PAGE, CONTENTS)
    path = source.first_of(base, [annotations.format(split=split)], dataset, PAGE)
    content = source.read_json(path)
    known = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    wanted = _category(content, path, category, known)
    listed = {record.get("id"): record for record in content["images"]}
    folder = base / images.format(split=split)
    skipped: Counter[str] = Counter()
    persons = []
    for record in content["annotations"]:
        if record.get("category_id") != wanted:
            continue
        person = _person(record, listed, folder, path, len(known), skipped)
        if person is not None:
            persons.append(person)
    missing = source.leave_out_missing((p.image for p in persons), pictures, skipped, dataset)
    persons = [p for p in persons if p.image not in missing]
    return People(persons, dict(skipped), {str(path): source.checksum(path)})


def _category(content: Any, path: Path, name: str, skeleton: Skeleton) -> Any:
    """The id of the category; its keypoint names have to be the skeleton's."""
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise PoseError(f"{path} has no list {key!r}: it is not of COCO's keypoint form.")
    found = [c for c in content["categories"] if c.get("name") == name]
    if not found:
        names = ", ".join(str(c.get("name")) for c in content["categories"])
        raise PoseError(f"{path} has no category {name!r}, only {names}; set data.read.category.")
    theirs = found[0].get("keypoints")
    if theirs is not None and tuple(theirs) != skeleton.joints:
        raise PoseError(
            f"{path} has the keypoints {', '.join(theirs)}, but data.skeleton has {', '.join(skeleton.joints)}: "
            "names and order have to agree."
        )
    return found[0]["id"]


def _person(
    record: dict[str, Any],
    listed: dict[Any, dict],
    folder: Path,
    path: Path,
    count: int,
    skipped: Counter[str],
) -> Person | None:
    name = record.get("id", "without an id")
    if record.get("iscrowd"):
        skipped["crowd"] += 1
        return None
    keypoints = source.finite(record.get("keypoints", []), "keypoints", path, name)
    if len(keypoints) == 0 or not keypoints.any() or record.get("num_keypoints") == 0:
        skipped["no keypoints"] += 1
        return None
    if keypoints.shape != (count * 3,):
        raise PoseError(
            f"{path}, record {name}: {keypoints.size} keypoint numbers instead of {count} times x, y, flag."
        )
    picture = listed.get(record.get("image_id"))
    if picture is None:
        skipped["annotation without a picture"] += 1
        return None
    width, height = (
        int(source.number(picture, side, path, f"image {picture.get('id')}"))
        for side in ("width", "height")
    )
    box = _clean_box(
        source.finite(record.get("bbox", []), "bbox", path, name), width, height, path, name
    )
    area = source.number(record, "area", path, name, default=float(box[2] * box[3]))
    if area <= 0 or box[2:].min() < 0 or box[2:].max() <= 0:
        skipped["box without size"] += 1
        return None
    table = keypoints.reshape(count, 3)
    visible = np.clip(table[:, 2], 0, 2).astype(np.uint8)
    centre, scale = centre_and_scale(box)
    return Person(
        image=source.picture_path(
            folder, picture.get("file_name"), path, f"image {picture.get('id')}"
        ),
        joints=np.where(visible[:, None] > 0, table[:, :2], 0.0),
        visible=visible,
        centre=centre,
        scale=scale,
        box=box,
        image_id=int(picture["id"]),
        person_id=int(source.number(record, "id", path, name)),
        area=area,
        picture_size=(width, height),
    )


def _clean_box(box: np.ndarray, width: int, height: int, path: Path, record: object) -> np.ndarray:
    """Clipped to the picture as HRNet does it: corners on pixels from 0, the last of them inside."""
    if box.shape != (4,):
        raise PoseError(
            f"{path}, record {record}: bbox has {box.size} numbers instead of x, y, width, height."
        )
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2 = min(width - 1.0, x1 + max(0.0, box[2] - 1))
    y2 = min(height - 1.0, y1 + max(0.0, box[3] - 1))
    return np.array([x1, y1, x2 - x1, y2 - y1])


def ground_truth(
    root: str | Path | None,
    split: str = "val",
    annotations: str = "annotations/person_keypoints_{split}2017.json",
    skeleton: str | dict | Skeleton = "coco",
    category: str = "person",
    dataset: str = "coco",
) -> GroundTruth:
    """Everything that the official AP is measured against: crowds, people without keypoints and empty pictures too."""
    base = source.folder(root, dataset, PAGE, CONTENTS)
    path = source.first_of(base, [annotations.format(split=split)], dataset, PAGE)
    content = source.read_json(path)
    known = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    wanted = _category(content, path, category, known)
    records = [record for record in content["annotations"] if record.get("category_id") == wanted]
    table = np.zeros((len(records), len(known), 3))
    for row, record in zip(table, records, strict=True):
        keypoints = source.finite(record.get("keypoints", []), "keypoints", path, record.get("id"))
        if len(keypoints):
            row[:] = keypoints.reshape(-1, 3)
    crowd = np.array([bool(record.get("iscrowd")) for record in records], bool)
    return GroundTruth(
        image_id=np.array([record["image_id"] for record in records], np.int64),
        keypoints=table[:, :, :2],
        visible=table[:, :, 2],
        box=np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4),
        area=np.array(
            [record.get("area", record["bbox"][2] * record["bbox"][3]) for record in records],
            np.float64,
        ),
        crowd=crowd,
        ignore=crowd | np.array([record.get("num_keypoints", 1) == 0 for record in records], bool),
        person_id=np.array([record["id"] for record in records], np.int64),
        images=np.unique(np.array([picture["id"] for picture in content["images"]], np.int64)),
    )
