"""COCO keypoints, as CVAT, Label Studio, Roboflow and RF-DETR write them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.importing.labels import Labelled, Labels, Picture, split_of

DEEPEST = 4  # folders below the one that is named


def files_of(source: Path) -> list[Path]:
    """Files that may be COCO's: each .json below the folder, or the file itself."""
    if source.is_file():
        return [source] if source.suffix == ".json" else []
    found = sorted(source.rglob("*.json"))
    return [path for path in found if len(path.relative_to(source).parts) <= DEEPEST + 1]


def read(source: Path, category: str | None = None) -> Labels | None:
    """All files of the source that hold keypoints, as one; None where there are none."""
    contents = {path: _content(path) for path in files_of(source)}
    contents = {path: content for path, content in contents.items() if content is not None}
    if not contents:
        return None
    joints, limbs = _agreed(contents, category)
    labels = Labels("COCO keypoints", joints, [], [], limbs)
    for path, content in contents.items():
        split = (
            split_of(*path.relative_to(source).parts[:-1], path.stem) if source.is_dir() else None
        )
        _add(labels, path, content, split, category)
    return labels


def _content(path: Path) -> Mapping[str, Any] | None:
    """The file, if it has pictures, annotations and a category with keypoints."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise PoseError(f"{path} can't be read as JSON ({str(error)[:100]}).") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        return None
    return content if _with_keypoints(content) else None


def _with_keypoints(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [c for c in content["categories"] if isinstance(c, dict) and c.get("keypoints")]


def _chosen(content: Mapping[str, Any], category: str | None) -> list[Mapping[str, Any]]:
    return [c for c in _with_keypoints(content) if category in (None, str(c.get("name")))]


def _agreed(
    contents: Mapping[Path, Mapping[str, Any]], category: str | None
) -> tuple[list[str], list[tuple[int, int]]]:
    """The joints and limbs of all categories, which have to be the same."""
    found = [c for content in contents.values() for c in _chosen(content, category)]
    names = sorted(
        {str(c.get("name")) for content in contents.values() for c in _with_keypoints(content)}
    )
    if not found:
        raise PoseError(
            f"No category is called {category}; with keypoints there are: {', '.join(names)}."
        )
    orders = {tuple(map(str, c["keypoints"])) for c in found}
    if len(orders) > 1:
        raise PoseError(
            f"The categories {', '.join(names)} have different joints: choose one with --category NAME."
        )
    joints = list(orders.pop())
    edges = [tuple(edge) for edge in found[0].get("skeleton") or [] if len(edge) == 2]
    lowest = min((min(edge) for edge in edges), default=1)
    first = 0 if lowest == 0 else 1  # COCO counts from 1, some tools from 0
    limbs = [(int(a) - first, int(b) - first) for a, b in edges]
    return joints, [(a, b) for a, b in limbs if 0 <= a < len(joints) and 0 <= b < len(joints)]


def _add(
    labels: Labels, path: Path, content: Mapping[str, Any], split: str | None, category: str | None
) -> None:
    count = len(labels.joints)
    ids = {c.get("id") for c in _chosen(content, category)}
    places: dict[object, int] = {}
    for record in content["images"]:
        name = record.get("file_name") if isinstance(record, dict) else None
        if not isinstance(name, str):
            raise PoseError(f"{path} has a picture without file_name: {str(record)[:80]}.")
        name = name.replace("\\", "/")
        earlier = places.setdefault(record.get("id"), len(labels.pictures))
        if earlier < len(labels.pictures):
            first = labels.pictures[earlier].name
            if first == name:
                continue  # listed twice
            raise PoseError(
                f"{path} gives two pictures the id {record.get('id')}, {first} and {name}: whose people are whose "
                "can't be told. Import the files that it was merged from, in one folder."
            )
        beside = path.parent / name
        there = beside if beside.is_file() else None
        own = split or split_of(*Path(name).parts[:-1])
        sides = record.get("width"), record.get("height")
        size = (
            (int(sides[0]), int(sides[1]))
            if all(isinstance(s, int) and s > 0 for s in sides)
            else None
        )
        labels.pictures.append(Picture(name, there, size, split=own))
    lost = crowds = 0
    for record in content["annotations"]:
        if record.get("category_id") not in ids or not record.get("keypoints"):
            continue
        if record.get("iscrowd"):
            crowds += 1
        elif record.get("image_id") not in places:
            lost += 1
        else:
            labels.people.append(_person(record, places[record["image_id"]], count, path))
    if crowds:
        labels.notes.append(f"{path.name}: {crowds} crowds are left out.")
    if lost:
        labels.notes.append(f"{path.name}: {lost} people whose picture is not listed are left out.")


def _person(record: Mapping[str, Any], place: int, count: int, path: Path) -> Labelled:
    try:
        table = np.asarray(record["keypoints"], np.float64).reshape(count, 3)
        box = np.asarray(record.get("bbox") or [], np.float64)
    except (TypeError, ValueError) as error:
        raise PoseError(
            f"{path}, record {record.get('id')}: its keypoints are not {count} times x, y, flag, or its box is no box."
        ) from error
    visible = np.clip(np.nan_to_num(table[:, 2]), 0, 2).astype(np.uint8)
    if not (np.isfinite(table[visible > 0]).all() and np.isfinite(box).all()):
        raise PoseError(
            f"{path}, record {record.get('id')}: a labelled joint or the box is a NaN or an infinity."
        )
    area = record.get("area")
    usable = box.shape == (4,) and bool((box[2:] > 0).all())
    return Labelled(
        place,
        table[:, :2],
        visible,
        box if usable else None,
        float(area) if isinstance(area, int | float) and 0 < area < math.inf else None,
    )
