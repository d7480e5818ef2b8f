"""YOLO-pose: data.yaml beside images/ and labels/, a text file a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from featherpose import image
from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.importing.folder import box_of, inside, place_picture
from featherpose.importing.labels import PICTURES, Labelled, Labels, Picture, split_of
from featherpose.skeletons import flipped

FIRST = 5  # numbers before the joints: class, centre x, centre y, width, height
CLASSES = "classes.txt"  # the names of the classes, which labelImg writes beside the labels
FARTHEST = 5.0  # pictures' sides from the corner; a labelled joint may lie a little outside


def read(source: Path, category: str | None = None) -> Labels | None:
    """A folder (or its data.yaml) in YOLO's layout; None where it is not one."""
    folder = source if source.is_dir() else source.parent
    described = _description(source)
    if described is None and not source.is_dir():
        return None
    described = described or {}
    files = sorted(p for p in folder.rglob("labels/**/*.txt") if p.name != CLASSES)
    pictures = {path: _picture_of(path) for path in files}
    found = {path: picture for path, picture in pictures.items() if picture is not None}
    count, width = _shape(described, list(found))
    if not pictures or count == 0:
        return None
    if alone := [path for path in files if path not in found]:
        raise PoseError(
            f"{len(alone):,} of {len(files):,} YOLO labels are without their picture, e.g. {alone[0]}: it has to lie "
            "below images/ as the label does below labels/."
        )
    labels = Labels("YOLO-pose", _names(described, count), [], [])
    labels.pairs = _pairs(described.get("flip_idx"), count)
    wanted = _class(described.get("names"), category)
    for path, picture in found.items():
        shown = picture.relative_to(folder).as_posix()
        split = split_of(*path.relative_to(folder).parts[:-1])
        labels.pictures.append(Picture(shown, picture, split=split))
        labels.people += _people(path, picture, len(labels.pictures) - 1, count, width, wanted)
    return labels


def _description(source: Path) -> Mapping[str, Any] | None:
    """data.yaml, or whichever .yaml of the folder has kpt_shape."""
    candidates = sorted(source.glob("*.y*ml")) if source.is_dir() else [source]
    for path in candidates:
        if path.suffix in (".yaml", ".yml"):
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise PoseError(f"{path} can't be read as YAML.") from error
            if isinstance(content, dict) and "kpt_shape" in content:
                return content
    return None


def _picture_of(label: Path) -> Path | None:
    """images/a/b.jpg of labels/a/b.txt: the last folder called labels counts."""
    parts = list(label.parts)
    place = len(parts) - 1 - parts[::-1].index("labels")
    parts[place] = "images"
    bare = Path(*parts)
    return next(
        (
            p
            for end in PICTURES
            for p in (bare.with_suffix(end), bare.with_suffix(end.upper()))
            if p.is_file()
        ),
        None,
    )


def _shape(described: Mapping[str, Any], files: list[Path]) -> tuple[int, int]:
    """Joints, and numbers a joint; from a label's length where no data.yaml says it."""
    shape = described.get("kpt_shape")
    if shape is not None:
        good = isinstance(shape, list) and len(shape) == 2 and shape[0] > 0 and shape[1] in (2, 3)
        if not good:
            raise PoseError(f"kpt_shape is {shape}; it has to be [joints, 2] or [joints, 3].")
        return int(shape[0]), int(shape[1])
    lengths = {
        len(line.split())
        for path in files[:100]
        for line in path.read_text().splitlines()
        if line.strip()
    }
    rest = lengths.pop() - FIRST if len(lengths) == 1 else 0
    if rest <= 0:
        return 0, 0  # boxes alone, or no YOLO at all
    if rest % 3 == 0 and rest % 2 == 0:
        raise PoseError(
            f"{rest} numbers a person can be joints of two or of three numbers: "
            "put a data.yaml with kpt_shape beside images/."
        )
    return (rest // 3, 3) if rest % 3 == 0 else (rest // 2, 2)


def _names(described: Mapping[str, Any], count: int) -> list[str]:
    given = described.get("kpt_names")
    if isinstance(given, dict) and given:  # by class: {0: [nose, ...]}
        given = next(iter(given.values()))
    if not given:
        return [str(i + 1) for i in range(count)]
    if not isinstance(given, list) or len(given) != count:
        raise PoseError(f"kpt_names is {given}; it has to be a list of {count} names.")
    return [str(name) for name in given]


def _pairs(order: object, count: int) -> list[tuple[int, int]]:
    """flip_idx says for each joint which one takes its place in a mirrored picture."""
    if not order:
        return []
    places = order if isinstance(order, list) and all(type(j) is int for j in order) else []
    if sorted(places) != list(range(count)) or any(places[j] != i for i, j in enumerate(places)):
        raise PoseError(
            f"flip_idx is {order}; it has to be {count} places from 0 to {count - 1}, each joint's partner and its own "
            "where it has none."
        )
    return [(i, j) for i, j in enumerate(places) if i < j]


def _class(names: object, category: str | None) -> int | None:
    if category is None:
        return None
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    listed = listed if isinstance(listed, dict) else {}
    for number, name in listed.items():
        if str(name) == category:
            return int(number)
    raise PoseError(
        f"No class is called {category}; there are: {', '.join(map(str, listed.values())) or 'none'}."
    )


def _people(
    path: Path, picture: Path, place: int, count: int, width: int, wanted: int | None
) -> list[Labelled]:
    found = []
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        return []
    size = image.upright_size(picture)
    for number, words in enumerate(lines, 1):
        if len(words) != FIRST + count * width:
            raise PoseError(
                f"{path}, line {number}: {len(words)} words instead of {FIRST + count * width} numbers "
                f"(class, box, {count} joints of {width})."
            )
        values = np.array([_number(word) for word in words])
        if not np.isfinite(values).all():
            bad = int(np.isfinite(values).argmin())
            raise PoseError(
                f"{path}, line {number}: word {bad + 1} is {words[bad][:40]!r}, not a number."
            )
        if wanted is not None and int(values[0]) != wanted:
            continue
        sides = values[3:5] * size
        corner = values[1:3] * size - sides / 2
        table = values[FIRST:].reshape(count, width)
        there = (table[:, :2] != 0).any(axis=1)  # YOLO writes 0 0 for what is not labelled
        flags = table[:, 2].clip(0, 2) if width == 3 else np.where(there, 2, 0)
        most = np.abs(np.concatenate([values[1:FIRST], table[flags > 0, :2].ravel()])).max()
        if most > FARTHEST:
            raise PoseError(
                f"{path}, line {number}: {most:g} is far outside of the picture. YOLO's numbers are shares of its "
                "width and height, from 0 to 1; these look like pixels."
            )
        box = np.concatenate([corner, sides])
        found.append(
            Labelled(
                place,
                table[:, :2] * size,
                flags.astype(np.uint8),
                box if (sides > 0).all() else None,
            )
        )
    return found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def write(labels: Labels, splits: list[str], out: Path) -> None:
    """data.yaml, images/SPLIT and labels/SPLIT: class 0, the box and the joints in parts of the picture."""
    lines: list[list[str]] = [[] for _ in labels.pictures]
    sizes = []
    for picture, split in zip(labels.pictures, splits, strict=True):
        sizes.append(place_picture(picture, out / "images" / split, copy=False))
    for person in labels.people:
        size = sizes[person.picture]
        x, y, width, height = box_of(person, size) / np.tile(size, 2)
        seen = person.visible[:, None] > 0
        table = np.column_stack([np.where(seen, person.joints / size, 0), person.visible])
        numbers = [x + width / 2, y + height / 2, width, height, *table.ravel()]
        lines[person.picture].append(" ".join(["0", *(f"{number:.6g}" for number in numbers)]))
    for picture, split, rows in zip(labels.pictures, splits, lines, strict=True):
        path = (out / "labels" / split / inside(picture.name)).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "".join(f"{row}\n" for row in rows))
    described = {
        "path": ".",
        **{split: f"images/{split}" for split in dict.fromkeys(splits)},
        "kpt_shape": [len(labels.joints), 3],
        "flip_idx": list(flipped(len(labels.joints), labels.pairs)),
        "kpt_names": {0: labels.joints},
        "names": {0: "person"},
    }
    write_atomically(out / "data.yaml", yaml.safe_dump(described, sort_keys=False))
