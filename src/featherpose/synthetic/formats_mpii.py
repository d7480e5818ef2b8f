"""MPII's annotations in the three forms in which people have them, and the ground truth that PCKh is measured against.

Pixels count from 1. As in the official set, centres are whole pixels, every person of a training picture belongs to the
training split, and of a validation picture the main one only belongs to the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featherpose.crop import PADDING
from featherpose.person import Person
from featherpose.synthetic.painted import Inhabitant

# The names of the 16 joints in gt_valid.mat, in the order of the skeleton
_SHORT_NAMES = (
    "rank rkne rhip lhip lkne lank pelv thor neck head rwri relb rsho lsho lelb lwri".split()
)


@dataclass(frozen=True)
class Picture:
    """A picture's file name, its split and its people, the main one first."""

    name: str
    validation: bool
    people: list[Inhabitant]

    @property
    def in_split(self) -> list[Inhabitant]:
        return self.people[:1] if self.validation else self.people


def centre_and_scale(person: Person) -> tuple[list[float], float]:
    """objpos and scale as the files hold them, without the protocol's padding and shift."""
    scale = float(person.scale[0]) / PADDING
    return np.round(person.centre - (0, 15 * scale) + 1).tolist(), round(scale, 6)


def annot(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """annot/train.json, valid.json: joints_vis 1 says annotated, occluded or not."""
    records = []
    for picture in pictures:
        for found in picture.in_split:
            person, (centre, scale) = found.person, centre_and_scale(found.person)
            there = person.visible > 0
            records.append(
                {
                    "joints_vis": there.astype(int).tolist(),
                    "joints": np.where(
                        there[:, None], np.round(person.joints + 1, 3), -1.0
                    ).tolist(),
                    "image": picture.name,
                    "scale": scale,
                    "center": centre,
                }
            )
    return records


def flat(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """mpii_annotations.json: one entry per person with the others in it; a missing joint is 0, 0, 0."""
    entries = []
    for number, picture in enumerate(pictures, 1):
        width, height = picture.people[0].person.picture_size or (0, 0)
        for index, found in enumerate(picture.in_split, 1):
            others = [o.person for o in picture.people if o is not found]
            places = [centre_and_scale(other) for other in others]
            centre, scale = centre_and_scale(found.person)
            entries.append(
                {
                    "dataset": "MPI",
                    "isValidation": float(picture.validation),
                    "img_paths": picture.name,
                    "img_width": float(width),
                    "img_height": float(height),
                    "objpos": centre,
                    "joint_self": _triples(found.person),
                    "scale_provided": scale,
                    "joint_others": _as_matlab([_triples(other) for other in others]),
                    "scale_provided_other": _as_matlab([place[1] for place in places]),
                    "objpos_other": _as_matlab([place[0] for place in places]),
                    "annolist_index": float(number),
                    "people_index": float(index),
                    "numOtherPeople": float(len(others)),
                }
            )
    return entries


def _as_matlab(values: list[Any]) -> Any:
    """As MATLAB's json writer leaves them: one without a list around it, none as the description of an empty array."""
    if not values:
        return {"_ArrayType_": "double", "_ArraySize_": [0, 0], "_ArrayData_": None}
    return values[0] if len(values) == 1 else values


def _triples(person: Person) -> list[list[float]]:
    there = (person.visible > 0)[:, None]
    table = np.concatenate([np.round(person.joints + 1, 3), (person.visible == 2)[:, None]], axis=1)
    return np.where(there, table, 0.0).tolist()


def ground_truth(pictures: Sequence[Picture]) -> dict[str, np.ndarray]:
    """gt_valid.mat: jnt_missing (16, N), pos_gt_src (16, 2, N), headboxes_src (2, 2, N), dataset_joints (1, 16)."""
    found = [person for picture in pictures if picture.validation for person in picture.in_split]
    missing = np.stack([f.person.visible == 0 for f in found])
    joints = np.stack([np.round(f.person.joints + 1, 3) for f in found])
    boxes = np.stack([f.head_box + 1 for f in found]).reshape(-1, 2, 2)
    names = np.empty((1, 16), dtype=object)
    names[0] = _SHORT_NAMES
    return {
        "jnt_missing": missing.T.astype(np.uint8),
        "pos_gt_src": np.where(missing[..., None], 0.0, joints).transpose(1, 2, 0),
        "headboxes_src": boxes.transpose(1, 2, 0),
        "dataset_joints": names,
    }


def release(pictures: Sequence[Picture]) -> dict[str, Any]:
    """RELEASE of mpii_human_pose_v1_u12_1.mat: the official nest of struct arrays."""
    annolist = _structs(
        [
            {
                "image": {"name": picture.name},
                "annorect": _structs([_annorect(found) for found in picture.people]),
                "frame_sec": np.zeros((0, 0)),
                "vididx": np.zeros((0, 0)),
            }
            for picture in pictures
        ]
    )
    single = np.empty((len(pictures), 1), dtype=object)
    for row, picture in enumerate(pictures):
        single[row, 0] = np.array([[1]], np.uint8) if len(picture.people) == 1 else np.zeros((0, 0))
    activity = {"cat_name": "synthetic", "act_name": "drawn people", "act_id": 1}
    return {
        "annolist": annolist,
        "img_train": np.ones(
            (1, len(pictures)), np.uint8
        ),  # the validation split is a part of the training pictures
        "version": "12",
        "single_person": single,
        "act": _structs([activity for _ in pictures]).T,
        "video_list": np.zeros((1, 0), dtype=object),
    }


def _annorect(found: Inhabitant) -> dict[str, Any]:
    person, (centre, scale) = found.person, centre_and_scale(found.person)
    points = [
        {"x": x, "y": y, "id": joint, "is_visible": int(person.visible[joint] == 2)}
        for joint, (x, y) in enumerate(np.round(person.joints + 1, 3).tolist())
        if person.visible[joint] > 0
    ]
    corners = dict(zip(("x1", "y1", "x2", "y2"), (found.head_box + 1).tolist(), strict=True))
    place = {"x": centre[0], "y": centre[1]}
    return {**corners, "annopoints": {"point": _structs(points)}, "scale": scale, "objpos": place}


def _structs(records: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array 1 x N."""
    array = np.empty((1, len(records)), dtype=[(key, object) for key in records[0]])
    for column, record in enumerate(records):
        array[0, column] = tuple(record.values())
    return array
