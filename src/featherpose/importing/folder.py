"""From labels to a data folder (pictures, annotations as COCO's) and the config that trains on it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from featherpose import image
from featherpose.errors import PoseError
from featherpose.files import below_shared_folder, replacing, write_atomically
from featherpose.importing.labels import PICTURES, Labelled, Labels, Picture, pairs_of
from featherpose.skeletons import COCO, MPII

MARGIN = 0.1  # of the joints' extent, on each side: people reach beyond their joints
UPPER = (
    "head",
    "nose",
    "eye",
    "ear",
    "mouth",
    "neck",
    "thorax",
    "shoulder",
    "elbow",
    "wrist",
    "hand",
)


@dataclass(frozen=True)
class Split:
    """Who is kept for validation, where the tool does not say it."""

    share: float = 0.2
    by: str = "picture"
    subject: str | None = None  # a regular expression with one group, of the picture's name

    def group(self, picture: Picture) -> str:
        """What must not stand on both sides."""
        if self.by == "picture":
            return picture.name
        if self.by == "folder":
            return str(Path(picture.name).parent)
        if self.subject is not None:
            found = re.search(self.subject, picture.name)
            if found is None:
                raise PoseError(f"--subject {self.subject!r} finds nothing in {picture.name}.")
            return found.group(1) if found.groups() else found.group(0)
        if picture.group is None:
            raise PoseError(
                f"The labels don't say whose {self.by} {picture.name} is: take --by folder, or "
                "--by subject --subject 'person(\\d+)' to read it from the name."
            )
        return picture.group


def divide(labels: Labels, split: Split) -> list[str]:
    """train, val or test of each picture: the tool's own, else whole groups in an order that depends on names alone."""
    given = [picture.split for picture in labels.pictures]
    if "train" in given and ("val" in given or "test" in given):
        return [each or "train" for each in given]
    people = np.bincount([p.picture for p in labels.people], minlength=len(labels.pictures))
    groups: dict[str, list[int]] = {}
    for place, picture in enumerate(labels.pictures):
        groups.setdefault(split.group(picture), []).append(place)
    if len(groups) < 2:
        raise PoseError(
            f"All pictures are one {split.by}, which can't be divided: choose another --by."
        )
    found = ["train"] * len(labels.pictures)
    wanted, taken = split.share * people.sum(), 0
    for name in sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if taken >= wanted:
            break
        taken += people[groups[name]].sum()
        for place in groups[name]:
            found[place] = "val"
    return found


def find_pictures(
    labels: Labels, roots: Iterable[Path], beside: Path, packed: bool = False
) -> list[str]:
    """Looks for the pictures that do not lie where the labels say; gives the names of those that are missing.

    What labels name is taken out of the roots and the folder `beside` alone: they may be anybody's. Only a project of
    one's own (SLEAP's), which is not packed, knows its pictures by their whole paths.
    """
    roots = list(roots)
    folders = [os.path.abspath(each) for each in (*roots, beside)]

    def within(path: Path) -> Path | None:
        """The file, without its `..`; links in the folders may lead anywhere (DVC, git-annex)."""
        straight = Path(os.path.abspath(path))
        there = any(straight.is_relative_to(each) for each in folders) and straight.is_file()
        return straight if there else None

    for picture in labels.pictures:
        if picture.path is not None and (packed or inside(picture.name) != Path(picture.name)):
            picture.path = within(picture.path)
    waiting = [p for p in labels.pictures if p.path is None and p.pixels is None]
    if not waiting:
        return []
    for picture in waiting:
        places = (within(root / each / picture.name) for root in roots for each in (".", "images"))
        picture.path = next((place for place in places if place is not None), None)
    waiting = [p for p in waiting if p.path is None]
    by_name: dict[str, list[Path]] = {}
    if waiting:
        for path in (path for root in roots for path in root.rglob("*")):
            if path.suffix.lower() in PICTURES:
                by_name.setdefault(path.name, []).append(path)
    for picture in waiting:
        same = by_name.get(Path(picture.name).name, [])
        picture.path = same[0] if len(same) == 1 else None
    return [p.name for p in waiting if p.path is None]


def box_of(person: Labelled, size: np.ndarray) -> np.ndarray:
    """The person's own box, else the joints' extent with a margin, within the picture."""
    if person.box is not None:
        return person.box
    points = person.joints[person.visible > 0]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * np.maximum(high - low, 1.0)
    low, high = np.clip(low - margin, 0, size), np.clip(high + margin, 0, size)
    return np.concatenate([low, np.maximum(high - low, 1.0)])


def write(
    labels: Labels,
    splits: list[str],
    out: Path,
    copy: bool = False,
    bar: Callable[[Sequence[Picture]], Iterable[Picture]] = iter,
) -> dict[str, tuple[int, int]]:
    """images/ and annotations/SPLIT.json; gives pictures and people of each split."""
    names_apart(labels.pictures)
    sizes = [place_picture(picture, out / "images", copy) for picture in bar(labels.pictures)]
    if turned := sum(picture.turned for picture in labels.pictures):
        labels.notes.append(
            f"{turned:,} pictures are turned or mirrored by their EXIF, and their sizes don't tell whether the labels "
            "are too: the labels are taken to lie as viewers show the pictures, which are written so."
        )
    counts = {}
    for split in sorted(set(splits)):
        chosen = {place for place, each in enumerate(splits) if each == split}
        people = [p for p in labels.people if p.picture in chosen and (p.visible > 0).any()]
        content = _coco(labels, sorted(chosen), people, sizes)
        path = out / "annotations" / f"{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content))
        counts[split] = (len(chosen), len(people))
    return counts


def names_apart(pictures: Sequence[Picture]) -> None:
    """Where two files of other folders have one name, all names are what tells the files apart."""
    named: dict[Path, set[Path]] = {}
    lying = [(p, p.path) for p in pictures if p.path is not None]
    for picture, path in lying:
        named.setdefault(inside(picture.name), set()).add(path.resolve())
    if all(len(files) == 1 for files in named.values()):
        return
    names = below_shared_folder([path for _, path in lying])
    for (picture, _), name in zip(lying, names, strict=True):
        picture.name = name


def place_picture(picture: Picture, folder: Path, copy: bool) -> np.ndarray:
    """Puts it there, by a hard link where that is possible; gives the size that the labels mean.

    Labels lie on pictures as viewers show them. Whoever trains ignores EXIF unless the sizes say otherwise; a picture
    of which they say nothing is written upright.
    """
    target = folder / inside(picture.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = b"" if picture.path is None else picture.path.read_bytes()
    picture.turned = image.hides_its_turn(data)
    if picture.pixels is not None:
        with replacing(target) as beside:
            image.write(beside, picture.pixels())
    elif picture.path is not None and picture.turned:
        if target.resolve() == picture.path.resolve():
            raise PoseError(
                f"{picture.path} would be written over, upright instead of turned by its EXIF: choose another --out."
            )
        with replacing(target, flush=False) as beside:
            beside.write_bytes(image.encoded_upright(data, str(picture.path)))
    elif picture.path is not None and not (target.exists() and target.samefile(picture.path)):
        with replacing(target, flush=False) as beside:
            beside.unlink(missing_ok=True)
            try:
                if copy:
                    raise OSError
                os.link(picture.path.resolve(), beside)  # of a link its file
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(picture.path, beside)
    return np.array(picture.size) if picture.size else image.upright_size(target)


def inside(name: str) -> Path:
    """The name without what would lead out of the folder."""
    parts = [part for part in Path(name).parts if part not in ("..", ".", "/") and ":" not in part]
    return Path(*parts)


def _coco(
    labels: Labels, places: list[int], people: list[Labelled], sizes: list[np.ndarray]
) -> dict[str, object]:
    category = {
        "id": 1,
        "name": "person",
        "keypoints": labels.joints,
        "skeleton": [[a + 1, b + 1] for a, b in labels.limbs],
    }
    pictures = [
        {
            "id": place + 1,
            "file_name": inside(labels.pictures[place].name).as_posix(),
            "width": int(sizes[place][0]),
            "height": int(sizes[place][1]),
        }
        for place in places
    ]
    annotations = []
    for number, person in enumerate(people, 1):
        box = box_of(person, sizes[person.picture])
        table = np.column_stack(
            [np.where(person.visible[:, None] > 0, person.joints, 0), person.visible]
        )
        annotations.append(
            {
                "id": number,
                "image_id": person.picture + 1,
                "category_id": 1,
                "iscrowd": 0,
                "keypoints": [round(float(v), 3) for v in table.ravel()],
                "num_keypoints": int((person.visible > 0).sum()),
                "bbox": [round(float(v), 3) for v in box],
                "area": round(float(person.area or box[2] * box[3]), 3),
            }
        )
    return {"images": pictures, "annotations": annotations, "categories": [category]}


def config_of(labels: Labels, name: str, root: str, source: str) -> str:
    """conf/data/NAME.yaml."""
    joints = labels.joints
    known = next((s for s in (COCO, MPII) if s.joints == tuple(joints)), None)
    ratio = [b[2] / b[3] for p in labels.people if (b := p.box) is not None]
    aspect = 0.75 if not ratio or float(np.median(ratio)) <= 0.9 else 1.0
    oks = known is COCO
    content = {
        "name": name,
        "skeleton": known.name if known else _skeleton(labels, name),
        "joints": len(joints),
        "root": root,
        "read": {
            "_target_": "featherpose.data.readers.coco.read",
            "_partial_": True,
            "annotations": "annotations/{split}.json",
            "images": "images",
            "skeleton": "${data.skeleton}",
            "category": "person",
            "pictures": "require",
            "dataset": name,
        },
        "metric": {
            "_target_": "featherpose.metrics.oks.OKS" if oks else "featherpose.metrics.pck.PCK",
            "_partial_": True,
        },
        "aspect": aspect,
        "scale_range": [0.7, 1.3],
    }
    text = yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return (
        f"# {labels.tool} of {source}, imported. Train: data={name}    What else can be set: conf/data/_base.yaml\n"
        f"# aspect: the crop's width over its height, by the boxes' median shape\n"
        f"defaults: [_base, _self_]\n{text}"
    )


def _skeleton(labels: Labels, name: str) -> dict[str, object]:
    joints = labels.joints
    bare = {joint: re.sub("^(left|right)_", "", joint) for joint in joints}
    columns: dict[str, list[str]] = {}
    for joint in joints:
        columns.setdefault(bare[joint], []).append(joint)
    found: dict[str, object] = {
        "name": name,
        "joints": list(joints),
        "limbs": [f"{joints[a]}-{joints[b]}" for a, b in labels.limbs],
        "columns": columns,
    }
    if {"left_shoulder", "right_hip"} <= set(joints):
        found["torso"] = ["left_shoulder", "right_hip"]
    upper = [joint for joint in joints if any(word in bare[joint].split("_") for word in UPPER)]
    if upper and len(upper) < len(joints) and pairs_of(joints):
        found["upper"] = upper
    return found
