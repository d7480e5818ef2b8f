"""Tiny datasets in the official formats, written by hand so that every number is known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from featherpose.skeletons import COCO, LSP, MPII

SIZE = (160, 120)  # width, height


def smooth_picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Random blobs: smooth enough for JPEG, different everywhere."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


def write_picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), smooth_picture(seed, size))


def random_joints(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform((50, 20), (110, 100), (count, 2)).round(1)


def coco_json(people: int, joints: int = len(COCO), names: tuple[str, ...] = COCO.joints) -> dict:
    images = [
        {"id": i + 1, "file_name": f"{i + 1:012d}.jpg", "width": SIZE[0], "height": SIZE[1]}
        for i in range(people)
    ]
    annotations = []
    for i in range(people):
        table = np.concatenate([random_joints(joints, i), np.full((joints, 1), 2)], axis=1)
        table[0] = 0  # one joint without an annotation
        annotations.append(
            {
                "id": 100 + i, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "num_keypoints": joints - 1,
                "bbox": [40.0, 10.0, 80.0, 100.0], "area": 5000.0, "keypoints": table.ravel().tolist(),
            }
        )  # fmt: skip
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }


def write_coco(root: Path, people: int = 6) -> Path:
    for split in ("train", "val"):
        content = coco_json(people)
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / f"annotations/person_keypoints_{split}2017.json").write_text(json.dumps(content))
        for i, picture in enumerate(content["images"]):
            write_picture(root / f"{split}2017" / picture["file_name"], i)
    return root


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


@pytest.fixture
def tiny_lsp(tmp_path: Path) -> Path:
    """2,000 records, but only the pictures 1 to 4 and 1001 to 1003."""
    root = tmp_path / "lsp"
    table = np.zeros((3, 14, 2000))
    for n in range(2000):
        table[:2, :, n] = random_joints(14, n).T
    table[2, 3, :] = 1  # the left hip is occluded
    root.mkdir()
    scipy.io.savemat(root / "joints.mat", {"joints": table})
    for n in (1, 2, 3, 4, 1001, 1002, 1003):
        write_picture(root / "images" / f"im{n:04d}.jpg", n)
    return root


@pytest.fixture
def tiny_lspet(tmp_path: Path) -> Path:
    root = tmp_path / "lspet"
    table = np.ones((14, 3, 10))
    for n in range(10):
        table[:, :2, n] = random_joints(14, n)
        write_picture(root / "images" / f"im{n + 1:05d}.jpg", n)
    table[0, :, :] = [[-300.0], [900.0], [0.0]]  # the right ankle: junk, not annotated
    table[5:, 2, 3] = 0  # picture 4 has four joints only
    table[LSP.index("left_shoulder"), :2, 5] = (
        table[LSP.index("right_hip"), :2, 5] + 0.1
    )  # picture 6: no torso
    scipy.io.savemat(root / "joints.mat", {"joints": table})
    return root


class TinyMpii:
    """The same four training and three validation persons in MPII's three forms; pixels from 1, as MATLAB has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.persons = []
        for i in range(7):
            joints = random_joints(len(MPII), i).round()
            visible = np.ones(len(MPII), int)
            visible[1] = 0  # annotated but occluded
            joints[0], visible[0] = 0, 0  # not annotated
            head = np.array([60 + i, 15, 80 + i, 35 + i], float)
            self.persons.append(
                {
                    "image": f"{i + 1:09d}.jpg", "joints": joints, "visible": visible, "centre": [80.0 + i, 60.0],
                    "scale": 0.4 + i / 100, "head": head, "validation": i >= 4,
                }
            )  # fmt: skip
            write_picture(root / "images" / f"{i + 1:09d}.jpg", i)
        self.write_truth()

    def write_truth(self) -> None:
        chosen = [p for p in self.persons if p["validation"]]
        scipy.io.savemat(
            self.root / "detections_our_format.mat",
            {
                "pos_gt_src": np.stack([p["joints"] for p in chosen], axis=2),
                "jnt_missing": np.stack(
                    [(p["joints"] == 0).all(axis=1) for p in chosen], axis=1
                ).astype(np.uint8),
                "headboxes_src": np.stack([p["head"].reshape(2, 2) for p in chosen], axis=2),
            },
        )

    def write_flat(self) -> Path:
        entries = [
            {
                "isValidation": float(p["validation"]), "img_paths": p["image"], "objpos": p["centre"],
                "scale_provided": p["scale"], "img_width": float(SIZE[0]), "img_height": float(SIZE[1]),
                "joint_self": np.concatenate([p["joints"], p["visible"][:, None]], axis=1).tolist(),
            }
            for p in self.persons
        ]  # fmt: skip
        return self._json("mpii_annotations.json", entries)

    def write_annot(self) -> None:
        for name, validation in (("train", False), ("valid", True)):
            entries = []
            for p in self.persons:
                if p["validation"] == validation:
                    missing = (p["joints"] == 0).all(axis=1)
                    joints = np.where(missing[:, None], -1, p["joints"])
                    entries.append(
                        {
                            "image": p["image"], "center": p["centre"], "scale": p["scale"],
                            "joints": joints.tolist(), "joints_vis": (~missing).astype(int).tolist(),
                        }
                    )  # fmt: skip
            self._json(f"annot/{name}.json", entries)

    def write_official(self) -> None:
        """A RELEASE structure; the last validation picture holds a second person, who belongs to no split."""
        annolist = [self._entry([p]) for p in self.persons]
        stranger = dict(
            self.persons[-1], head=np.array([1.0, 2, 3, 4]), image=self.persons[-1]["image"]
        )
        annolist[-1] = self._entry([self.persons[-1], stranger])
        annolist.append({"image": {"name": "test.jpg"}, "annorect": np.zeros((0, 0))})
        release = {"annolist": _structs(annolist), "img_train": np.array([1] * 7 + [0])}
        scipy.io.savemat(self.root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})

    @staticmethod
    def _entry(persons: list[dict]) -> dict:
        rects = []
        for p in persons:
            points = [
                {
                    "x": x,
                    "y": y,
                    "id": float(k),
                    "is_visible": np.float64(v) if v else np.zeros((0, 0)),
                }
                for k, ((x, y), v) in enumerate(zip(p["joints"], p["visible"], strict=True))
                if x or y
            ]
            x1, y1, x2, y2 = p["head"]
            rects.append(
                {
                    "x1": x1, "y1": y1, "x2": x2, "y2": y2, "scale": p["scale"],
                    "objpos": {"x": p["centre"][0], "y": p["centre"][1]}, "annopoints": {"point": _structs(points)},
                }
            )  # fmt: skip
        return {"image": {"name": persons[0]["image"]}, "annorect": _structs(rects)}

    def _json(self, name: str, content: object) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path


def _structs(records: list[dict]) -> np.ndarray:
    """A MATLAB struct array."""
    array = np.empty((1, len(records)), dtype=[(key, object) for key in records[0]])
    for i, record in enumerate(records):
        for key in records[0]:
            array[0, i][key] = record[key]
    return array


@pytest.fixture
def tiny_mpii(tmp_path: Path) -> TinyMpii:
    (tmp_path / "mpii").mkdir()
    return TinyMpii(tmp_path / "mpii")
