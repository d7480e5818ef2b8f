"""COCO's person_keypoints json, and any json of that form with people's own skeleton."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from featherpose.crop import centre_and_scale
from featherpose.data.readers import coco_columns, source
from featherpose.data.readers.kept import kept
from featherpose.errors import PoseError
from featherpose.metrics.similarity import GroundTruth
from featherpose.person import People, Person, Persons, Texts
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
    known = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    folder = base / images.format(split=split)
    what = {"reader": "coco", "folder": str(folder), "skeleton": known.joints, "category": category}
    make = partial(_read, path, folder, known, category)
    persons, left_out, digest = kept(Persons, path, what, make)
    skipped = Counter(left_out)
    there = source.with_pictures(persons, pictures, skipped, dataset)
    return People(there, dict(skipped), {str(path): digest})


def _read(
    path: Path, folder: Path, skeleton: Skeleton, category: str
) -> tuple[Persons, dict[str, int]]:
    skipped: Counter[str] = Counter()
    wanted = partial(_category, path, category, skeleton)
    columns = coco_columns.read(path, len(skeleton), wanted)
    if columns is not None:
        persons = _persons(columns, folder, path, skipped)
    else:  # a record is odd: one by one, which of them
        file = read_file(path, category, skeleton)
        each = (_person(r, file, folder, path, len(skeleton), skipped) for r in file.annotations)
        persons = Persons.of(person for person in each if person is not None)
    return persons, dict(skipped)


@dataclass(frozen=True)
class Picture:
    """A listed picture: its id or, where that is text, its place in the file; and its record."""

    number: int
    record: dict[str, Any]

    @property
    def file(self) -> Any:
        return self.record.get("file_name")

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height, 0 where they are not told."""
        sides = self.record.get("width"), self.record.get("height")
        told = all(isinstance(side, int) and 0 < side < 2**31 for side in sides)
        return (int(sides[0] or 0), int(sides[1] or 0)) if told else (0, 0)


@dataclass(frozen=True)
class File:
    """An annotation file of one category, with its form checked; single records are checked where they are used."""

    pictures: dict[int | str, Picture]  # by their ids
    annotations: list[dict[str, Any]]

    @property
    def names(self) -> dict[int, str]:
        """The ids that are text, by the pictures' numbers."""
        return {p.number: name for name, p in self.pictures.items() if isinstance(name, str)}


def read_file(path: Path, category: str, skeleton: Skeleton) -> File:
    """The file's pictures and the annotations of the category."""
    content = source.read_json(path)
    pictures = pictures_of(content, path)
    wanted = _category(path, category, skeleton, _records(content, "categories", path))
    annotations = _records(content, "annotations", path)
    return File(pictures, [each for each in annotations if each.get("category_id") == wanted])


class _Listing(msgspec.Struct):
    images: list[dict[str, Any]]


def listed_pictures(path: Path) -> dict[int | str, Picture]:
    """`pictures_of` a file whose annotations are passed over."""
    try:
        listing = msgspec.json.decode(source.read_bytes(path), type=_Listing)
    except (ValueError, RecursionError):  # what is wrong is said in reading all of it
        return pictures_of(source.read_json(path), path)
    return pictures_of({"images": listing.images}, path)


def pictures_of(content: Any, path: Path) -> dict[int | str, Picture]:
    """The listed pictures by their ids. Ids that are text, as many tools write them, are numbered in order."""
    images = {_identity(record, path): record for record in _records(content, "images", path)}
    text = any(isinstance(identity, str) for identity in images)
    return {
        identity: Picture(place if text else int(identity), record)
        for place, (identity, record) in enumerate(images.items(), start=1)
    }


def _records(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    records = content.get(key) if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise PoseError(f"{path} has no list {key!r}: it is not of COCO's keypoint form.")
    if not all(isinstance(record, dict) for record in records):
        raise PoseError(f"{path}: an entry of {key!r} is no object with names.")
    return records


def _identity(picture: dict[str, Any], path: Path) -> int | str:
    value = picture.get("id")
    return value if isinstance(value, str) else source.whole(picture, "id", path, "of a picture")


def _category(
    path: Path, name: str, skeleton: Skeleton, categories: list[dict[str, Any]]
) -> int | str:
    """The id of the category; its keypoint names have to be the skeleton's."""
    found = [category for category in categories if category.get("name") == name]
    if not found:
        names = ", ".join(str(category.get("name")) for category in categories)
        raise PoseError(
            f"{path} has no category {name!r}, only {names or 'none'}; set data.read.category."
        )
    if type(found[0].get("id")) not in (int, str):
        raise PoseError(f"{path}: the category {name!r} has no id.")
    theirs = found[0].get("keypoints")
    if theirs is None:
        return found[0]["id"]
    if not isinstance(theirs, list) or tuple(theirs) != skeleton.joints:
        said = ", ".join(map(str, theirs)) if isinstance(theirs, list) else repr(theirs)
        raise PoseError(
            f"{path} has the keypoints {said}, but data.skeleton has {', '.join(skeleton.joints)}: "
            "names and order have to agree."
        )
    return found[0]["id"]


def _persons(
    columns: coco_columns.Columns, folder: Path, path: Path, skipped: Counter[str]
) -> Persons:
    """What `_person` makes of each record, for all of them."""
    rules = {
        "crowd": columns.crowd,
        "no keypoints": ~columns.keypoints.any(axis=(1, 2)) | (columns.announced == 0),
        "annotation without a picture": columns.picture < 0,
    }
    kept = np.ones(len(columns.person_id), bool)
    for why, broken in rules.items():
        _leave_out(kept, broken, why, skipped)
    rows = np.flatnonzero(kept)
    size = columns.size[columns.picture[rows]]
    box = _clean_boxes(columns.box[rows], size)
    area = np.where(np.isnan(columns.area[rows]), box[:, 2] * box[:, 3], columns.area[rows])
    sized = np.ones(len(rows), bool)
    empty = (area <= 0) | (box[:, 2:].min(axis=1) < 0) | (box[:, 2:].max(axis=1) <= 0)
    _leave_out(sized, empty, "box without size", skipped)
    rows, size, box, area = rows[sized], size[sized], box[sized], area[sized]

    flags = np.clip(columns.keypoints[rows, :, 2], 0, 2).astype(np.uint8)
    centre, scale = centre_and_scale(box)
    used, picture = np.unique(columns.picture[rows], return_inverse=True)
    ids = [columns.ids[place] for place in used.tolist()]
    files = [columns.files[place] for place in used.tolist()]
    return Persons.from_columns(
        joints=np.where(flags[..., None] > 0, columns.keypoints[rows, :, :2], 0.0),
        visible=flags,
        centre=centre,
        scale=scale,
        box=box,
        image_id=columns.image_id[rows],
        person_id=columns.person_id[rows],
        pictures=Texts.of(coco_columns.paths(files, folder, path, ids)),
        picture=picture,
        area=area,
        picture_size=size,
        name=np.array([p if isinstance(i, str) else -1 for p, i in enumerate(ids)], np.int64)[
            picture
        ],
        names=Texts.of(i if isinstance(i, str) else "" for i in ids),
    )


def _leave_out(kept: np.ndarray, broken: np.ndarray, why: str, skipped: Counter[str]) -> None:
    count = int((kept & broken).sum())
    if count:
        skipped[why] += count
        kept &= ~broken


def _person(
    record: dict[str, Any],
    content: File,
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
    identity = record.get("image_id")
    listed = content.pictures.get(identity) if isinstance(identity, (int, str)) else None
    if listed is None:
        skipped["annotation without a picture"] += 1
        return None
    picture = listed.record
    width, height = (
        int(source.number(picture, side, path, f"image {picture.get('id')}"))
        for side in ("width", "height")
    )
    raw = _numbers(record.get("bbox", []), path, name)
    box = _clean_boxes(raw[None], np.array([[width, height]]))[0]
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
        image_id=listed.number,
        person_id=source.whole(record, "id", path, name),
        area=area,
        picture_size=(width, height),
        image_name=identity if isinstance(identity, str) else None,
    )


def _numbers(bbox: Any, path: Path, record: object) -> np.ndarray:
    box = source.finite(bbox, "bbox", path, record)
    if box.shape != (4,):
        raise PoseError(
            f"{path}, record {record}: bbox has {box.size} numbers instead of x, y, width, height."
        )
    if np.abs(box).max() > source.LARGEST:
        raise PoseError(f"{path}, record {record}: bbox is far outside any picture: {bbox!r:.80}.")
    return box


def _clean_boxes(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(N, 4) clipped to pictures (N, 2) as HRNet does it: corners on pixels from 0, the last of them inside."""
    first = np.where(box[:, :2] > 0, box[:, :2], 0.0)
    last = np.minimum(size - 1.0, first + np.maximum(0.0, box[:, 2:] - 1))
    return np.concatenate([first, last - first], axis=1)


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
    known = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    what = {"reader": "coco truth", "skeleton": known.joints, "category": category}
    return kept(GroundTruth, path, what, partial(_read_truth, path, known, category))[0]


def _read_truth(path: Path, skeleton: Skeleton, category: str) -> tuple[GroundTruth, dict]:
    wanted = partial(_category, path, category, skeleton)
    columns = coco_columns.read(path, len(skeleton), wanted)
    if columns is not None:
        return _truth(columns), {}
    return _truth_one_by_one(path, skeleton, category), {}  # a record is odd: which of them


def _truth_one_by_one(path: Path, known: Skeleton, category: str) -> GroundTruth:
    content = read_file(path, category, known)
    records = [record for record in content.annotations if _can_be_matched(record)]
    names = [record.get("id", "without an id") for record in records]
    table = np.zeros((len(records), len(known), 3))
    box = np.zeros((len(records), 4))
    for row, place, record, name in zip(table, box, records, names, strict=True):
        keypoints = source.finite(record.get("keypoints", []), "keypoints", path, name)
        if keypoints.size not in (0, row.size):
            raise PoseError(
                f"{path}, record {name}: {keypoints.size} keypoint numbers instead of {len(known)} times x, y, flag."
            )
        if keypoints.size:
            row[:] = keypoints.reshape(-1, 3)
        place[:] = _numbers(record.get("bbox", []), path, name)
    crowd = np.array([bool(record.get("iscrowd")) for record in records], bool)
    area = [
        source.number(record, "area", path, name, default=float(w * h))
        for record, name, (_, _, w, h) in zip(records, names, box, strict=True)
    ]
    return GroundTruth(
        image_id=np.array([_picture_of(r, content, path) for r in records], np.int64),
        keypoints=table[:, :, :2],
        visible=table[:, :, 2],
        box=box,
        area=np.array(area, np.float64),
        crowd=crowd,
        ignore=crowd | np.array([record.get("num_keypoints", 1) == 0 for record in records], bool),
        person_id=np.array(
            [source.whole(r, "id", path, name) for r, name in zip(records, names, strict=True)],
            np.int64,
        ),
        images=np.unique(np.array([p.number for p in content.pictures.values()], np.int64)),
        names=content.names,
    )


def _truth(columns: coco_columns.Columns) -> GroundTruth:
    number, box = columns.number.tolist(), columns.box
    return GroundTruth(
        image_id=columns.image_id,
        keypoints=columns.keypoints[:, :, :2],
        visible=columns.keypoints[:, :, 2],
        box=box,
        area=np.where(np.isnan(columns.area), box[:, 2] * box[:, 3], columns.area),
        crowd=columns.crowd,
        ignore=columns.crowd | (columns.announced == 0),
        person_id=columns.person_id,
        images=np.unique(columns.number),
        names={n: i for n, i in zip(number, columns.ids, strict=True) if isinstance(i, str)},
    )


def _can_be_matched(record: dict[str, Any]) -> bool:
    """Some tools write crowds with neither box nor keypoints: nothing can lie on those."""
    keypoints = record.get("keypoints") or []
    return "bbox" in record or not isinstance(keypoints, list) or any(keypoints)


def _picture_of(record: dict[str, Any], content: File, path: Path) -> int:
    """The number of its picture; one that is not listed keeps its own, and counts nowhere."""
    identity = record.get("image_id")
    if isinstance(identity, (int, str)) and identity in content.pictures:
        return content.pictures[identity].number
    name = record.get("id", "without an id")
    return -1 if isinstance(identity, str) else source.whole(record, "image_id", path, name)
