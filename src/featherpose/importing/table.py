"""A CSV: a row a person with NAME_x, NAME_y columns, or a row a joint with joint, x, y."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError
from featherpose.importing.labels import PICTURES, Labelled, Labels, Picture, split_of

# What the columns may be called, in lower case
PICTURE = ("image", "picture", "file", "file_name", "filename", "image_path", "path", "img")
PERSON = ("person", "person_id", "instance", "individual", "track", "id")
SUBJECT = ("subject", "subject_id", "participant", "video", "group")
JOINT = ("joint", "keypoint", "bodypart", "part", "node", "label")
FLAG = ("v", "visible", "visibility", "flag")
SURE = ("likelihood", "confidence", "score")
BOX = (("box_x", "box_y", "box_w", "box_h"), ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
       ("x_min", "y_min", "box_width", "box_height"))  # fmt: skip
APART = ("_", ".", " ", "-")  # stands between a joint's name and x or y
SURE_ENOUGH = 0.6  # DeepLabCut's own cut-off: below it a tracker's point is no label


def read(source: Path, category: str | None = None) -> Labels | None:
    """One .csv or .tsv, or the only one of a folder; None where it is no table of joints."""
    path = source
    if source.is_dir():
        tables = sorted([*source.glob("*.csv"), *source.glob("*.tsv")])
        if len(tables) != 1:
            return None
        path = tables[0]
    if path.suffix.lower() not in (".csv", ".tsv"):
        return None
    rows = _rows(path)
    if not rows:
        raise PoseError(f"{path} holds no rows.")
    header = [column.strip() for column in rows[0]]
    if header[0].lower() == "scorer":
        return None  # DeepLabCut's, with three lines of header
    low = [column.lower() for column in header]
    picture = _column(low, PICTURE)
    if picture is None:
        raise PoseError(
            f"{path} has no column with the picture's file; it can be called {', '.join(PICTURE)}."
        )
    joint = _column(low, JOINT)
    _check(path, header, rows)
    records = [
        dict(zip_longest(low, row[: len(low)], fillvalue=""))
        for row in rows[1:]
        if any(cell.strip() for cell in row)
    ]
    if joint is not None and "x" in low and "y" in low:
        return _long(path, records, low, low[picture], low[joint])
    return _wide(path, records, header, low[picture])


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PoseError(f"{path} is not UTF-8 text: save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    mark = max((",", ";", "\t"), key=first.count)
    return [row for row in csv.reader(text.splitlines(), delimiter=mark) if row]


def _check(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """What would be dropped without a word."""
    low = [column.lower() for column in header]
    twice = next(
        (n for column, n in zip(low, header, strict=True) if column and low.count(column) > 1), None
    )
    if twice is not None:
        raise PoseError(f"{path}, row 1: the column {twice} stands twice.")
    for column, name in zip(low, header, strict=True):
        other = {"x": "y", "y": "x"}.get(column[-1:])
        if other and column[-2:-1] in APART and f"{column[:-1]}{other}" not in low:
            raise PoseError(
                f"{path}, row 1: there is {name}, but no {name[:-1]}{other}; rename it if it is no joint's."
            )
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row[len(low) :]):
            raise PoseError(
                f"{path}, row {number}: {len(row)} cells, but the first row names {len(low)} columns. "
                "A cell with the separator in it has to stand in quotes."
            )


def _column(low: Sequence[str], names: Sequence[str]) -> int | None:
    return next((low.index(name) for name in names if name in low), None)


def _number(text: str | None, path: Path, row: int, column: str) -> float:
    """A cell; NaN where it is empty."""
    text = (text or "").strip()
    if text.lower() in ("", "nan", "na", "none", "null"):
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise PoseError(f"{path}, row {row}: {column} is {text[:40]!r}, not a number.") from None


def _flags(joints: np.ndarray, given: np.ndarray, sure: np.ndarray, most: float) -> np.ndarray:
    """(K,) as COCO's; columns of 0 and 1 say whether a joint is there, with a 2 among them they are COCO's own."""
    there = np.isfinite(joints).all(axis=-1)
    flags = np.where(np.isnan(given), 2, given if most > 1 else 2 * (given > 0))
    flags = np.where(np.isnan(sure) | (sure >= SURE_ENOUGH), flags, 0)
    return np.where(there, np.clip(flags, 0, 2), 0).astype(np.uint8)


def _wide(path: Path, records: list[dict[str, str]], header: list[str], picture: str) -> Labels:
    """NAME_x and NAME_y (or NAME.x), NAME_v beside them."""
    ends = {}
    for column in header:
        for apart in APART:
            if column.lower().endswith(f"{apart}x") and f"{column[:-1].lower()}y" in map(
                str.lower, header
            ):
                ends[column[:-2]] = apart
    boxes = (
        next((names for names in BOX if all(n in records[0] for n in names)), None)
        if records
        else None
    )
    joints = [name for name in ends if not (boxes and f"{name.lower()}{ends[name]}x" in boxes)]
    if not joints:
        raise PoseError(
            f"{path} has no joints: wanted are columns like left_wrist_x, left_wrist_y, or joint, x, y."
        )
    flag = {j: _beside(records, j, ends[j], FLAG) for j in joints}
    sure = {j: _beside(records, j, ends[j], SURE) for j in joints}
    flags = np.full((len(records), len(joints)), np.nan)
    points = np.full((len(records), len(joints), 2), np.nan)
    sureness = np.full_like(flags, np.nan)
    for row, record in enumerate(records):
        for k, joint in enumerate(joints):
            for axis, letter in enumerate("xy"):
                column = f"{joint.lower()}{ends[joint]}{letter}"
                points[row, k, axis] = _number(record.get(column), path, row + 2, column)
            if (column := flag[joint]) is not None:
                flags[row, k] = _number(record.get(column), path, row + 2, column)
            if (column := sure[joint]) is not None:
                sureness[row, k] = _number(record.get(column), path, row + 2, column)
    labels, places = _empty(path, joints), {}
    most = float(np.nanmax(flags)) if np.isfinite(flags).any() else math.nan
    for row, record in enumerate(records):
        place = _place(labels, places, record, picture, path, row + 2)
        box = None
        if boxes:
            box = np.array([_number(record.get(name), path, row + 2, name) for name in boxes])
            box = box if np.isfinite(box).all() and (box[2:] > 0).all() else None
        visible = _flags(points[row], flags[row], sureness[row], most)
        labels.people.append(Labelled(place, np.nan_to_num(points[row]), visible, box))
    return labels


def _beside(
    records: list[dict[str, str]], joint: str, apart: str, ends: Sequence[str]
) -> str | None:
    names = [f"{joint.lower()}{apart}{end}" for end in ends]
    return next((name for name in names if records and name in records[0]), None)


def _long(
    path: Path, records: list[dict[str, str]], low: list[str], picture: str, joint: str
) -> Labels:
    """A row a joint; rows of one picture and person are one person."""
    joints = list(dict.fromkeys(record[joint].strip() for record in records))
    person, flag, sure = (_column(low, names) for names in (PERSON, FLAG, SURE))
    labels, places = _empty(path, joints), {}
    people: dict[tuple[str, str], list[int]] = {}
    for row, record in enumerate(records):
        who = record.get(low[person], "") if person is not None else ""
        people.setdefault((record[picture].strip(), who.strip()), []).append(row)
    given = np.full(len(records), np.nan)
    if flag is not None:
        cells = [record.get(low[flag]) for record in records]
        given[:] = [_number(cell, path, i + 2, low[flag]) for i, cell in enumerate(cells)]
    most = float(np.nanmax(given)) if np.isfinite(given).any() else math.nan
    for rows in people.values():
        points = np.full((len(joints), 2), np.nan)
        flags, sureness = np.full(len(joints), np.nan), np.full(len(joints), np.nan)
        for row in rows:
            k = joints.index(records[row][joint].strip())
            if np.isfinite(points[k]).any():
                raise PoseError(
                    f"{path}, row {row + 2}: {joints[k]} of the same person stands twice; "
                    f"a column {PERSON[0]} tells people of one picture apart."
                )
            points[k] = [_number(records[row].get(axis), path, row + 2, axis) for axis in "xy"]
            flags[k] = given[row]
            if sure is not None:
                sureness[k] = _number(records[row].get(low[sure]), path, row + 2, low[sure])
        place = _place(labels, places, records[rows[0]], picture, path, rows[0] + 2)
        labels.people.append(
            Labelled(place, np.nan_to_num(points), _flags(points, flags, sureness, most))
        )
    return labels


def _empty(path: Path, joints: list[str]) -> Labels:
    return Labels(f"table {path.name}", joints, [], [])


def _place(
    labels: Labels,
    places: dict[str, int],
    record: dict[str, str],
    picture: str,
    path: Path,
    row: int,
) -> int:
    """The place of a row's picture among the pictures."""
    name = record[picture].strip().replace("\\", "/")
    if name in places:
        return places[name]
    if not name.lower().endswith(PICTURES):
        raise PoseError(f"{path}, row {row}: {name[:60]!r} is not the name of a picture.")
    group = next((record[key].strip() for key in SUBJECT if record.get(key, "").strip()), None)
    there = path.parent / name
    split = split_of(record.get("split", ""))
    places[name] = len(labels.pictures)
    labels.pictures.append(
        Picture(name, there if there.is_file() else None, split=split, group=group)
    )
    return places[name]
