"""MPII Human Pose in its three usual forms, with the accepted split: 22,246 persons to train, 2,958 to validate.

All forms count pixels from 1, as MATLAB does; here they count from 0. The crop is HRNet's: the centre moved down by
15 * scale, the scale times 1.25.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.crop import PADDING, PIXEL_STD
from featherpose.data.readers import mpii_files, source
from featherpose.data.readers.kept import kept
from featherpose.data.readers.mpii_files import Record, Table, Truth
from featherpose.errors import PoseError
from featherpose.person import SC_BIAS, People, Persons, Texts, numbered

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
    official = path.suffix == ".mat"
    truth = _truth(base, official) if official or split != "train" else None
    painted = (base / PAINTED).is_file()
    made_of = _Made(base / "images", path, split, truth, published and not painted)
    persons, facts, digest = kept(Persons, path, made_of.what, made_of.read)
    of = "painted" if painted else "mpii"
    sources = {
        str(path): digest,
        f"{of} {split} split, {len(persons)} persons": facts["split"],
    }
    if split != "train":
        sources[str(truth)] = made_of.what["truth"]
    skipped = Counter(facts["left out"])
    there = source.with_pictures(persons, pictures, skipped, "mpii")
    return People(there, dict(skipped), sources)


@dataclass(frozen=True)
class _Made:
    """What the people of a split are made of."""

    images: Path
    path: Path
    split: str
    truth: Path | None
    published: bool

    @cached_property
    def what(self) -> dict[str, Any]:
        return {
            "reader": "mpii",
            "folder": str(self.images),
            "split": self.split,
            "truth": None if self.truth is None else source.checksum(self.truth),
            "published": self.published,
        }

    def read(self) -> tuple[Persons, dict[str, Any]]:
        skipped: Counter[str] = Counter()
        table = self._table(skipped)
        digest = split_hash(table)
        if self.published:
            _check_published(len(table), self.split, digest, self.path)
        if self.split != "train":
            assert self.truth is not None
            table = _with_truth(table, _read_truth(self.truth), self.path)
        persons = _persons(table, self.images, self.path)
        return persons, {"left out": dict(skipped), "split": digest}

    def _table(self, skipped: Counter[str]) -> Table:
        wanted = self.split != "train"
        if self.path.suffix == ".mat":
            assert self.truth is not None
            records = mpii_files.official(self.path, _read_truth(self.truth), skipped)
        else:
            table = mpii_files.columns(self.path, validation=wanted)
            if table is not None:
                return table
            records = mpii_files.one_by_one(self.path, self.split)  # one is odd: which of them
        chosen = [record for record in records if record.validation == wanted]
        for record in chosen:
            _check(record, self.path, self.images)
        return Table.of(chosen)


def _check(record: Record, path: Path, images: Path) -> None:
    if not isinstance(record.image, str):
        source.picture_path(images, record.image, path, record.name)  # which refuses it
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


def split_hash(table: Table) -> str:
    """SHA-256 over the sorted persons (picture and centre), equal for all three forms."""
    people = zip(table.image, table.centre.tolist(), strict=True)
    lines = sorted(f"{image} {x:.0f} {y:.0f}\n" for image, (x, y) in people)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file(split: str) -> str:
    return "train" if split == "train" else "valid"


def _truth(base: Path, official: bool) -> Path:
    for name in GROUND_TRUTH:
        if (base / name).is_file():
            return base / name
    split = "the split of the official .mat is found by it"
    raise PoseError(
        f"{base} holds none of {', '.join(GROUND_TRUTH)}, and {split if official else 'PCKh needs its head boxes'}. "
        "gt_valid.mat comes with the usual annot/ folder, detections_our_format.mat with Tompson's validation set "
        "(mpii_valid_pred.zip)."
    )


def _check_published(persons: int, split: str, digest: str, path: Path) -> None:
    count, expected = PUBLISHED["train" if split == "train" else "val"]
    if persons != count:
        raise PoseError(
            f"{path} gives {persons} {split} persons; the accepted split has {count}. Fetch the file again, or "
            "set +data.read.published=false for a part of it (scores then compare with no paper)."
        )
    if digest != expected:
        raise PoseError(
            f"{path} gives {count} {split} persons, but not those of the accepted split (hash {digest[:12]} instead of "
            f"{expected[:12]}). Fetch the file again, or set +data.read.published=false."
        )


def _read_truth(path: Path) -> Truth:
    content = source.read_mat(path)
    try:
        joints, missing, head_box = (
            np.asarray(content[name], np.float64)
            for name in ("pos_gt_src", "jnt_missing", "headboxes_src")
        )
        count = joints.shape[-1]
        return Truth(
            joints=joints.transpose(2, 0, 1).reshape(count, 16, 2),
            missing=missing.T.reshape(count, 16),
            head_box=head_box.transpose(2, 0, 1).reshape(count, 4),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise PoseError(
            f"{path} lacks pos_gt_src, jnt_missing or headboxes_src of 16 joints ({error}): fetch it again."
        ) from error


def _with_truth(table: Table, truth: Truth, path: Path) -> Table:
    if len(table) != len(truth.joints):
        raise PoseError(
            f"{path} gives {len(table)} validation persons, but the ground truth has {len(truth.joints)}."
        )
    both = (table.visible > 0) & (truth.missing == 0)
    known = np.flatnonzero(both.any(axis=1))
    apart = np.abs(table.joints - truth.joints).max(axis=2)[known]
    wrong = known[np.nanmedian(np.where(both[known], apart, np.nan), axis=1) > 0.5]
    if len(wrong):
        raise PoseError(
            f"{path}, record {table.name[wrong[0]]}: its joints are not those of the ground truth's row."
        )
    visible = np.where(truth.missing > 0, 0, np.maximum(table.visible, 1))
    return replace(table, joints=truth.joints, visible=visible, head_box=truth.head_box)


def _persons(table: Table, folder: Path, path: Path) -> Persons:
    seen = table.visible > 0
    joints = np.where(seen[..., None], table.joints - 1.0, 0.0)
    centre = table.centre - 1.0 + np.stack([np.zeros(len(table)), 15.0 * table.scale], axis=1)
    side = (table.scale * PADDING)[:, None]
    box = np.concatenate([centre - side * PIXEL_STD / 2, *[side * PIXEL_STD] * 2], axis=1)
    number = np.arange(len(table))
    files, picture = numbered(table.image)
    stems = [Path(file).stem for file in files]
    ids = np.array([int(stem) if stem.isdigit() else -1 for stem in stems], np.int64)[picture]
    first = np.unique(picture, return_index=True)[1].tolist()
    return Persons.from_columns(
        joints=joints,
        visible=table.visible.astype(np.uint8),
        centre=centre,
        scale=np.concatenate([side, side], axis=1),
        box=box,
        image_id=np.where(ids < 0, number, ids),
        person_id=number,
        pictures=Texts.of(
            source.picture_path(folder, file, path, table.name[row])
            for file, row in zip(files, first, strict=True)
        ),
        picture=picture,
        head_size=_head_sizes(table, joints, seen),
        picture_size=table.size,
    )


def _head_sizes(table: Table, joints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of the head boxes or, where there is none, estimated from neck and head top; NaN where these are not known."""
    diagonal = np.linalg.norm(table.head_box[:, 2:] - table.head_box[:, :2], axis=1)
    segment = np.linalg.norm(joints[:, 8] - joints[:, 9], axis=1)
    estimate = np.where(seen[:, 8] & seen[:, 9], HEAD_SEGMENT * segment, np.nan)
    return np.where(np.isnan(diagonal), estimate, SC_BIAS * diagonal)
