"""MPII's files, each person a row: annot/*.json, mpii_annotations.json and the official .mat.

A json is decoded into columns in one pass, where each record is as it should be; else one by one, and the wrong one is
named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from featherpose.data.readers import source
from featherpose.errors import PoseError


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


@dataclass(frozen=True)
class Table:
    """Such persons as columns."""

    image: list[str]
    centre: np.ndarray  # (N, 2)
    scale: np.ndarray  # (N,)
    joints: np.ndarray  # (N, 16, 2)
    visible: np.ndarray  # (N, 16)
    name: list[str]
    head_box: np.ndarray  # (N, 4), NaN where unknown
    size: np.ndarray  # (N, 2) int64, 0 where unknown

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def of(cls, records: Sequence[Record]) -> Table:
        count = len(records)
        none = np.full(4, np.nan)
        boxes = [none if r.head_box is None else r.head_box for r in records]
        return cls(
            image=[r.image for r in records],
            centre=np.array([r.centre for r in records], np.float64).reshape(count, 2),
            scale=np.array([r.scale for r in records], np.float64),
            joints=np.array([r.joints for r in records], np.float64).reshape(count, 16, 2),
            visible=np.array([r.visible for r in records], int).reshape(count, 16),
            name=[r.name for r in records],
            head_box=np.array(boxes, np.float64).reshape(count, 4),
            size=np.array([r.size or (0, 0) for r in records], np.int64).reshape(count, 2),
        )


@dataclass(frozen=True)
class Truth:
    """gt_valid.mat: what PCKh is measured against, in the order of the validation persons."""

    joints: np.ndarray  # (N, 16, 2)
    missing: np.ndarray  # (N, 16)
    head_box: np.ndarray  # (N, 4)


class _Annot(msgspec.Struct, gc=False):
    """Of annot/*.json."""

    image: str
    center: tuple[float, float]
    scale: float
    joints: list[tuple[float, float]]
    joints_vis: list[float]


class _Flat(msgspec.Struct, gc=False):
    """Of mpii_annotations.json."""

    img_paths: str
    img_width: float
    img_height: float
    isValidation: float | bool
    objpos: tuple[float, float]
    scale_provided: float
    joint_self: list[tuple[float, float, float]]


def columns(path: Path, validation: bool) -> Table | None:
    """The persons of a split, or None where a record is not as it should be."""
    data = source.read_bytes(path)
    for read in (_annots, _flats):
        try:
            table = read(data, validation)
        except (ValueError, OverflowError, RecursionError):
            continue
        sound = len(table) and (table.scale > 0).all() and (table.scale < source.LARGEST).all()
        return table if sound else None
    return None


def _annots(data: bytes, validation: bool) -> Table:
    """The file is of one split."""
    del validation
    people = msgspec.json.decode(data, type=list[_Annot])
    seen = np.array([each.joints_vis for each in people], np.float64).reshape(-1, 16)
    return _table(
        image=[each.image for each in people],
        centre=[each.center for each in people],
        scale=[each.scale for each in people],
        joints=np.array([each.joints for each in people], np.float64),
        visible=np.where(seen > 0, 2, 0),
        numbers=range(len(people)),
        size=np.zeros((len(people), 2), np.int64),
    )


def _flats(data: bytes, validation: bool) -> Table:
    """A joint at (0, 0) is not annotated; flag 0 elsewhere means occluded."""
    people = msgspec.json.decode(data, type=list[_Flat])
    numbers = [n for n, each in enumerate(people) if bool(each.isValidation) == validation]
    people = [people[number] for number in numbers]
    table = np.array([each.joint_self for each in people], np.float64).reshape(-1, 16, 3)
    annotated = (table[..., :2] != 0).any(axis=2)
    return _table(
        image=[each.img_paths for each in people],
        centre=[each.objpos for each in people],
        scale=[each.scale_provided for each in people],
        joints=table[..., :2],
        visible=np.where(annotated, np.where(table[..., 2] > 0, 2, 1), 0),
        numbers=numbers,
        size=np.array([(int(p.img_width), int(p.img_height)) for p in people], np.int64),
    )


def _table(
    image: list[str],
    centre: list[tuple[float, float]],
    scale: list[float],
    joints: np.ndarray,
    visible: np.ndarray,
    numbers: Sequence[int],
    size: np.ndarray,
) -> Table:
    return Table(
        image=image,
        centre=np.array(centre, np.float64).reshape(-1, 2),
        scale=np.array(scale, np.float64),
        joints=joints.reshape(-1, 16, 2),
        visible=visible,
        name=[str(number) for number in numbers],
        head_box=np.full((len(image), 4), np.nan),
        size=size,
    )


def one_by_one(path: Path, split: str) -> Iterable[Record]:
    """Both forms of json, or which record is wrong."""
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


def official(path: Path, truth: Truth, skipped: Counter[str]) -> Iterable[Record]:
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


def _row_of(record: Record, boxes: dict[tuple[int, ...], list[int]], truth: Truth) -> int | None:
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
