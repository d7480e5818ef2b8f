"""MPII Human Pose in its three usual forms, with the accepted split: 22,246 persons to train, 2,958 to validate.

All forms count pixels from 1, as MATLAB does; here they count from 0. The crop is HRNet's: the centre moved down by
15 * scale, the scale times 1.25.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.crop import PADDING, PIXEL_STD
from featherpose.data.readers import source
from featherpose.errors import PoseError
from featherpose.person import SC_BIAS, People, Person, Persons

PAGE = "http://human-pose.mpi-inf.mpg.de/#download (images, 12.9 GB, and annotations)"
CONTENTS = (
    "images/, and as annotations annot/train.json, annot/valid.json and annot/gt_valid.mat, or mpii_annotations.json "
    "and detections_our_format.mat, or mpii_human_pose_v1_u12_1.mat and detections_our_format.mat"
)
FORMS = (
    "annot/{split}.json",
    "mpii_annotations.json",
    "mpii_annotations.json.gz",
    "mpii_human_pose_v1_u12_1.mat",
    "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
)
GROUND_TRUTH = ("annot/gt_valid.mat", "gt_valid.mat", "detections_our_format.mat")
PAINTED = "painted.json"  # beside painted people in this format, who are nobody's published split
HEAD_SEGMENT = (
    0.75  # and that is 0.75 of neck to head top within 1e-3 for 94% of the validation persons
)
# Persons of the split and the SHA-256 of their sorted "picture x y" lines, x and y as `objpos` gives them
PUBLISHED = {
    "train": (22246, "c6cdb1aaeaff0a3b6c83f4f82a7cbabef11e904d4f3c85476c096ee3bbea4a27"),
    "val": (2958, "89af513ee2051b5f825a35769274b64c173dd014847f7cdd7bbf6a42e87d37a4"),
}


@dataclass
class Record:
    """A person as the files say it: pixels from 1, raw centre and scale."""

    image: str
    centre: np.ndarray
    scale: float
    joints: np.ndarray
    visible: np.ndarray
    name: str
    validation: bool
    head_box: np.ndarray | None = None
    size: tuple[int, int] | None = None


@dataclass
class _Truth:
    """gt_valid.mat: what PCKh is measured against, in the order of the validation persons."""

    joints: np.ndarray  # (N, 16, 2)
    missing: np.ndarray  # (N, 16)
    head_box: np.ndarray  # (N, 4)
    sources: dict[str, str] = field(default_factory=dict)


def read(
    root: str | Path | None,
    split: str,
    annotations: str | None = None,
    pictures: str = "require",
    published: bool = True,
) -> People:
    """MPII's persons of one split.

    Validation joints and head sizes are those of gt_valid.mat (detections_our_format.mat is the same): PCKh is
    measured against them. Training head sizes are estimated from the head's two joints.

    Args:
        root: the folder that holds images/ and the annotations in any of the three forms.
        split: train or val.
        annotations: the file below root, or null for the first form that is there.
        pictures: require, skip (people without their picture are left out and counted) or ignore.
        published: whether count and hash of the split must be the published ones (of painted people they are not).
    """
    base = source.folder(root, "mpii", PAGE, CONTENTS)
    forms = [annotations] if annotations else [form.format(split=_file(split)) for form in FORMS]
    path = source.first_of(base, forms, "mpii", PAGE)
    truth = _read_truth(base)
    skipped: Counter[str] = Counter()
    if path.suffix == ".mat":
        if truth is None:
            raise PoseError(_no_truth(base, "the split of the official .mat is found by it"))
        records = list(_official(path, truth, skipped))
    else:
        records = list(_from_json(path, split))
    records = [record for record in records if record.validation == (split != "train")]
    for record in records:
        _check_shape(record, path)
    digest = split_hash(records)
    painted = (base / PAINTED).is_file()
    if published and not painted:
        _check_published(records, split, digest, path)
    of = "painted" if painted else "mpii"
    sources = {
        str(path): source.checksum(path),
        f"{of} {split} split, {len(records)} persons": digest,
    }
    if split != "train":
        if truth is None:
            raise PoseError(_no_truth(base, "PCKh needs its head boxes"))
        records = _with_truth(records, truth, path)
        sources |= truth.sources
    persons = [
        _person(record, number, base / "images", path) for number, record in enumerate(records)
    ]
    there = source.with_pictures(Persons.of(persons), pictures, skipped, "mpii")
    return People(there, dict(skipped), sources)


def _check_shape(record: Record, path: Path) -> None:
    if (
        record.joints.shape != (16, 2)
        or record.visible.shape != (16,)
        or record.centre.shape != (2,)
    ):
        raise PoseError(
            f"{path}, record {record.name}: it needs 16 joints and a centre of two numbers."
        )
    if not record.scale > 0:
        raise PoseError(
            f"{path}, record {record.name}: its scale is {record.scale}, so it has no size."
        )


def split_hash(records: Iterable[Record]) -> str:
    """SHA-256 over the sorted persons (picture and centre), equal for all three forms."""
    lines = sorted(f"{r.image} {r.centre[0]:.0f} {r.centre[1]:.0f}\n" for r in records)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file(split: str) -> str:
    return "train" if split == "train" else "valid"


def _no_truth(base: Path, why: str) -> str:
    return (
        f"{base} holds none of {', '.join(GROUND_TRUTH)}, and {why}. gt_valid.mat comes with the usual annot/ folder, "
        "detections_our_format.mat with Tompson's validation set (mpii_valid_pred.zip)."
    )


def _check_published(records: list[Record], split: str, digest: str, path: Path) -> None:
    count, expected = PUBLISHED["train" if split == "train" else "val"]
    if len(records) != count:
        raise PoseError(
            f"{path} gives {len(records)} {split} persons; the accepted split has {count}. Fetch the file again, or "
            "set +data.read.published=false for a part of it (scores then compare with no paper)."
        )
    if digest != expected:
        raise PoseError(
            f"{path} gives {count} {split} persons, but not those of the accepted split (hash {digest[:12]} instead of "
            f"{expected[:12]}). Fetch the file again, or set +data.read.published=false."
        )


def _from_json(path: Path, split: str) -> Iterable[Record]:
    content = source.read_json(path)
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        raise PoseError(f"{path} is no list of MPII persons.")
    annot = "joints_vis" in content[0]  # the form of annot/*.json
    for number, entry in enumerate(content):
        try:
            yield _annot(entry, split, path, number) if annot else _flat(entry, path, number)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PoseError(
                f"{path}, record {number}: an entry is missing or malformed ({error})."
            ) from error


def _annot(entry: dict[str, Any], split: str, path: Path, number: int) -> Record:
    joints = source.finite(entry["joints"], "joints", path, number)
    visible = np.where(np.asarray(entry["joints_vis"]) > 0, 2, 0)
    centre = source.finite(entry["center"], "center", path, number)
    scale = source.number(entry, "scale", path, number)
    return Record(entry["image"], centre, scale, joints, visible, str(number), split != "train")


def _flat(entry: dict[str, Any], path: Path, number: int) -> Record:
    """A joint at (0, 0) is not annotated; flag 0 elsewhere means occluded."""
    table = source.finite(entry["joint_self"], "joint_self", path, number)
    annotated = (table[:, :2] != 0).any(axis=1)
    visible = np.where(annotated, np.where(table[:, 2] > 0, 2, 1), 0)
    return Record(
        image=entry["img_paths"],
        centre=source.finite(entry["objpos"], "objpos", path, number),
        scale=source.number(entry, "scale_provided", path, number),
        joints=table[:, :2],
        visible=visible,
        name=str(number),
        validation=bool(entry["isValidation"]),
        size=(int(entry["img_width"]), int(entry["img_height"])),
    )


def _official(path: Path, truth: _Truth, skipped: Counter[str]) -> Iterable[Record]:
    """All persons of the pictures that MPII annotates; others in a validation picture belong to neither split."""
    release = source.read_mat(path, struct_as_record=False, squeeze_me=True).get("RELEASE")
    if release is None:
        raise PoseError(f"{path} has no RELEASE: is it MPII's annotation file?")
    boxes: dict[tuple[int, ...], list[int]] = {}
    for row, box in enumerate(truth.head_box):
        boxes.setdefault(tuple(np.rint(box).astype(int)), []).append(row)
    found: dict[int, Record] = {}
    for picture, (entry, train) in enumerate(
        zip(_list(release.annolist), _list(release.img_train), strict=True)
    ):
        if not train:
            continue
        records = []
        for person, rect in enumerate(_list(getattr(entry, "annorect", None))):
            record = _official_person(
                rect, entry.image.name, f"annolist {picture + 1}, annorect {person + 1}"
            )
            if record is None:
                skipped["without pose, centre or scale"] += 1
            else:
                records.append(record)
        matched = {id(r): row for r in records if (row := _row_of(r, boxes, truth)) is not None}
        for record in records:
            if id(record) in matched:
                found[matched[id(record)]] = replace(record, validation=True)
            elif matched:
                skipped["another person in a validation picture"] += 1
            else:
                yield record
    yield from (found[row] for row in sorted(found))


def _official_person(rect: Any, image: str, name: str) -> Record | None:
    points: Any = getattr(rect, "annopoints", None)
    centre: Any = getattr(rect, "objpos", None)
    scale: Any = getattr(rect, "scale", None)
    if (
        not hasattr(points, "point")
        or not hasattr(centre, "x")
        or scale is None
        or not np.size(scale)
    ):
        return None
    joints, visible = np.zeros((16, 2)), np.zeros(16, int)
    for point in _list(points.point):
        joints[int(point.id)] = point.x, point.y
        flag = getattr(point, "is_visible", 0)
        visible[int(point.id)] = 2 if np.size(flag) and int(np.asarray(flag).item() or 0) else 1
    head = np.array([rect.x1, rect.y1, rect.x2, rect.y2], dtype=np.float64)
    middle = np.array([centre.x, centre.y], dtype=np.float64)
    return Record(image, middle, float(scale), joints, visible, name, False, head)


def _row_of(record: Record, boxes: dict[tuple[int, ...], list[int]], truth: _Truth) -> int | None:
    """The validation row with this head box and these joints."""
    assert record.head_box is not None
    for row in boxes.get(tuple(np.rint(record.head_box).astype(int)), ()):
        both = (record.visible > 0) & (truth.missing[row] == 0)
        distance = np.abs(record.joints[both] - truth.joints[row][both]).max(axis=1, initial=0)
        if (
            both.any() and np.median(distance) < 0.5
        ):  # the median: it holds a few joints that were clipped to 0
            return row
    return None


def _list(value: Any) -> list[Any]:
    """MATLAB's arrays of one are squeezed away."""
    if value is None:
        return []
    return list(value) if isinstance(value, np.ndarray) else [value]


def _read_truth(base: Path) -> _Truth | None:
    path = next((base / name for name in GROUND_TRUTH if (base / name).is_file()), None)
    if path is None:
        return None
    content = source.read_mat(path)
    try:
        joints, missing, head_box = (
            np.asarray(content[name], np.float64)
            for name in ("pos_gt_src", "jnt_missing", "headboxes_src")
        )
        count = joints.shape[-1]
        return _Truth(
            joints=joints.transpose(2, 0, 1).reshape(count, 16, 2),
            missing=missing.T.reshape(count, 16),
            head_box=head_box.transpose(2, 0, 1).reshape(count, 4),
            sources={str(path): source.checksum(path)},
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise PoseError(
            f"{path} lacks pos_gt_src, jnt_missing or headboxes_src of 16 joints ({error}): fetch it again."
        ) from error


def _with_truth(records: list[Record], truth: _Truth, path: Path) -> list[Record]:
    if len(records) != len(truth.joints):
        raise PoseError(
            f"{path} gives {len(records)} validation persons, but the ground truth has {len(truth.joints)}."
        )
    merged = []
    for record, joints, missing, box in zip(
        records, truth.joints, truth.missing, truth.head_box, strict=True
    ):
        both = (record.visible > 0) & (missing == 0)
        if both.any() and np.median(np.abs(record.joints[both] - joints[both]).max(axis=1)) > 0.5:
            raise PoseError(
                f"{path}, record {record.name}: its joints are not those of the ground truth's row."
            )
        visible = np.where(missing > 0, 0, np.maximum(record.visible, 1))
        merged.append(replace(record, joints=joints, visible=visible, head_box=box))
    return merged


def _person(record: Record, number: int, folder: Path, path: Path) -> Person:
    seen = record.visible > 0
    joints = np.where(seen[:, None], record.joints - 1.0, 0.0)
    centre = record.centre - 1.0 + np.array([0.0, 15.0 * record.scale])
    side = record.scale * PADDING
    if record.head_box is not None:
        head = SC_BIAS * float(np.linalg.norm(record.head_box[2:] - record.head_box[:2]))
    else:
        head = (
            HEAD_SEGMENT * float(np.linalg.norm(joints[8] - joints[9]))
            if seen[8] and seen[9]
            else float("nan")
        )
    corner = centre - side * PIXEL_STD / 2
    return Person(
        image=source.picture_path(folder, record.image, path, record.name),
        joints=joints,
        visible=record.visible.astype(np.uint8),
        centre=centre,
        scale=np.array([side, side]),
        box=np.concatenate([corner, [side * PIXEL_STD, side * PIXEL_STD]]),
        image_id=int(Path(record.image).stem) if Path(record.image).stem.isdigit() else number,
        person_id=number,
        head_size=head,
        picture_size=record.size,
    )
