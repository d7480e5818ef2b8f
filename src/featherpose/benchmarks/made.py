"""Files of annotations with so many made people, in the forms in which the sets come; no pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import scipy.io

from featherpose.data.readers import coco, lsp, mpii
from featherpose.person import People, Person
from featherpose.skeletons import COCO, LSP, MPII, Skeleton
from featherpose.synthetic import formats_mpii
from featherpose.synthetic.formats import write_json
from featherpose.synthetic.painted import Inhabitant

EACH = 4  # people in a picture; COCO has 2.3 with keypoints and 4.1 in all
EACH_MPII = 2  # MPII has 1.6
OUTLINE = 60  # numbers of a person's outline, which readers pass over
COCO_FILE = "annotations/person_keypoints_train2017.json"
AT_ONCE = 1 << 14  # people in memory, a whole number of pictures


@dataclass(frozen=True)
class Form:
    """How a file of so many people is made, and how it is read."""

    make: Callable[[Path, int], None]
    read: Callable[[Path], People]
    skeleton: Skeleton


def make_coco(folder: Path, count: int) -> None:
    path = folder / COCO_FILE
    path.parent.mkdir(parents=True)
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints)}
    with path.open("wb") as file:
        file.write(b'{"annotations":[')
        for start in range(0, count, AT_ONCE):
            people = _coco_people(start, min(count, start + AT_ONCE))
            file.write(b"," * (start > 0) + msgspec.json.encode(people)[1:-1])
        file.write(b'],"images":[')
        pictures = -(-count // EACH)
        for start in range(0, pictures, AT_ONCE):
            records = [_coco_picture(i) for i in range(start, min(pictures, start + AT_ONCE))]
            file.write(b"," * (start > 0) + msgspec.json.encode(records)[1:-1])
        file.write(b'],"categories":[' + msgspec.json.encode(category) + b"]}")


def _coco_picture(i: int) -> dict[str, Any]:
    return {"id": i + 1, "file_name": f"{i + 1:012d}.jpg", "width": 640, "height": 640}


def _coco_people(start: int, end: int) -> list[dict[str, Any]]:
    mix, count = np.random.default_rng(start), end - start
    corner, size = mix.uniform(0, 300, (count, 2)), mix.uniform(20, 300, (count, 2))
    points = (corner[:, None] + mix.random((count, 17, 2)) * size[:, None]).round()
    flags = mix.integers(0, 3, (count, 17, 1))
    keypoints = np.where(flags > 0, np.concatenate([points, flags], axis=2), 0).astype(int)
    outline = (np.tile(corner, OUTLINE // 2) + mix.uniform(0, 20, (count, OUTLINE))).round(2)
    box = np.concatenate([corner, size], axis=1).round(2)
    return [
        {
            "segmentation": [outline[i].tolist()],
            "num_keypoints": int((flags[i] > 0).sum()),
            "area": float(box[i, 2] * box[i, 3] / 2),
            "iscrowd": 0,
            "keypoints": keypoints[i].ravel().tolist(),
            "image_id": (start + i) // EACH + 1,
            "bbox": box[i].tolist(),
            "category_id": 1,
            "id": start + i + 1,
        }
        for i in range(count)
    ]


def _mpii_pictures(count: int) -> Iterator[formats_mpii.Picture]:
    """So many people to train, and one to validate."""
    mix = np.random.default_rng(0)
    for first in range(0, count, EACH_MPII):
        number = first // EACH_MPII + 1
        people = [_mpii_person(mix) for _ in range(min(EACH_MPII, count - first))]
        yield formats_mpii.Picture(f"{number:09d}.jpg", False, people)
    yield formats_mpii.Picture("000000000.jpg", True, [_mpii_person(mix)])


def _mpii_person(mix: np.random.Generator) -> Inhabitant:
    corner, side = mix.uniform(0, 500, 2), mix.uniform(100, 500)
    person = Person(
        image="",
        joints=corner + mix.random((16, 2)) * side,
        visible=mix.integers(0, 3, 16).astype(np.uint8),
        centre=corner + side / 2,
        scale=np.full(2, side / 200),
        box=np.array([*corner, side, side]),
        image_id=0,
        person_id=0,
        picture_size=(1280, 720),
    )
    head = np.array([*corner, *corner + side / 5]).round()
    return Inhabitant(person, head, [])


def make_mpii(folder: Path, count: int) -> None:
    train = [each for each in _mpii_pictures(count) if not each.validation]
    write_json(folder / "annot" / "train.json", formats_mpii.annot(train))


def make_mpii_flat(folder: Path, count: int) -> None:
    write_json(folder / "mpii_annotations.json", formats_mpii.flat(list(_mpii_pictures(count))))


def make_mpii_mat(folder: Path, count: int) -> None:
    pictures = list(_mpii_pictures(count))
    truth = formats_mpii.ground_truth(pictures)
    scipy.io.savemat(folder / "gt_valid.mat", truth)
    release = {"RELEASE": formats_mpii.release(pictures)}
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    scipy.io.savemat(path, release, do_compression=True, long_field_names=True)


def make_lspet(folder: Path, count: int) -> None:
    mix = np.random.default_rng(0)
    points = mix.uniform(0, 300, (count, 14, 2))
    table = np.concatenate([points, np.ones((count, 14, 1))], axis=2).transpose(1, 2, 0)
    scipy.io.savemat(folder / "joints.mat", {"joints": table})


def _read_mpii(folder: Path) -> People:
    return mpii.read(folder, "train", pictures="ignore", published=False)


def _read_lspet(folder: Path) -> People:
    (last,) = (shape[2] for _, shape, _ in scipy.io.whosmat(folder / "joints.mat"))
    return lsp.read_extended(folder, "train", train=(1, last), pictures="ignore")


FORMS = {
    "coco": Form(make_coco, lambda folder: coco.read(folder, "train", pictures="ignore"), COCO),
    "mpii": Form(make_mpii, _read_mpii, MPII),  # annot/train.json
    "mpii_flat": Form(make_mpii_flat, _read_mpii, MPII),  # mpii_annotations.json
    "mpii_mat": Form(make_mpii_mat, _read_mpii, MPII),  # the official .mat
    "lspet": Form(make_lspet, _read_lspet, LSP),
}
