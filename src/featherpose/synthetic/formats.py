"""Writes synthetic people to disk as COCO, MPII, LSP and LSPET come from their official sites.

Pixels count from 1 in MPII's files and from 0 in the others', as the readers take them.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import simplejpeg

from featherpose.errors import PoseError
from featherpose.person import Person
from featherpose.skeletons import COCO, LSP
from featherpose.synthetic import formats_mpii
from featherpose.synthetic.painted import Inhabitant, inhabitants, load, read

JPEG_QUALITY = 92
SMALLEST_AREA = 150  # visible pixels below which a bystander is left without an annotation
Step = Callable[[int], None]  # told the number of pictures done


def write(
    kind: str, folder: str | Path, people: int, seed: int = 0, step: Step = lambda done: None
) -> dict[str, int]:
    """Writes `people` pictures, each with one main person, as the dataset `kind` lies on disk after unpacking.

    COCO and MPII get four fifths to train and one to validate, LSP one half each as the official 2,000, LSPET all to
    train. COCO and MPII also annotate the other people in a picture.

    Returns:
        The number of annotated persons per split.
    """
    writers = {"coco": _write_coco, "mpii": _write_mpii, "lsp": _write_lsp, "lspet": _write_lspet}
    if kind not in writers:
        raise PoseError(f"There is no format {kind!r}; known: {', '.join(writers)}.")
    smallest = 1 if kind == "lspet" else 2
    if people < smallest:
        raise PoseError(f"The {kind} format needs at least {smallest} people, not {people}.")
    with _file_errors(Path(folder)):
        return writers[kind](Path(folder), people, seed, step)


@contextmanager
def _file_errors(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PoseError(
                f"The disk of {folder} is full: free some space or write fewer people."
            ) from error
        raise PoseError(
            f"{error.filename or folder} can't be written: {error.strerror or error}."
        ) from error


def _pictures(split: str, count: int, seed: int, skeleton: str, start: int = 0) -> Sequence[Person]:
    return read(None, split, count, seed, skeleton, start).persons


def save_picture(path: Path, person: Person) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        simplejpeg.encode_jpeg(
            load(person), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"
        )
    )


def annotated(person: Person, skeleton: str) -> list[Inhabitant]:
    """The person and the bystanders of whom enough shows."""
    first, *others = inhabitants(person, skeleton)
    return [
        first,
        *(o for o in others if o.person.area >= SMALLEST_AREA and (o.person.visible == 2).any()),
    ]


def _write_coco(folder: Path, people: int, seed: int, step: Step) -> dict[str, int]:
    validation = max(1, people // 5)
    done = 0
    counts = {}
    contents = {}
    for split, count in (("train", people - validation), ("val", validation)):
        images, annotations = [], []
        for person in _pictures(split, count, seed, "coco"):
            width, height = person.picture_size or (0, 0)
            name = f"{person.image_id + 1:012d}.jpg"
            images.append(
                {
                    "license": 1,
                    "file_name": name,
                    "height": height,
                    "width": width,
                    "id": person.image_id + 1,
                }
            )
            annotations += [_coco_annotation(found) for found in annotated(person, "coco")]
            save_picture(folder / f"{split}2017" / name, person)
            done += 1
            step(done)
        counts[split] = len(annotations)
        contents[split] = {**_coco_head(), "images": images, "annotations": annotations}
    for (
        split,
        content,
    ) in contents.items():  # after the pictures: a folder with annotations is a whole one
        write_json(folder / "annotations" / f"person_keypoints_{split}2017.json", content)
    return counts


def _coco_head() -> dict[str, Any]:
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(COCO.joints),
        "skeleton": [[a + 1, b + 1] for a, b in COCO.limbs],
    }
    info = {
        "description": "Synthetic people in COCO's format",
        "version": "1.0",
        "contributor": "featherpose",
    }
    return {
        "info": info,
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}],
        "categories": [category],
    }


def _coco_annotation(found: Inhabitant) -> dict[str, Any]:
    person = found.person
    labelled = person.visible > 0
    keypoints = np.concatenate(
        [np.where(labelled[:, None], person.joints, 0), person.visible[:, None]], axis=1
    )
    return {
        "segmentation": [outline.ravel().tolist() for outline in found.outlines],
        "num_keypoints": int(labelled.sum()),
        "area": person.area,
        "iscrowd": 0,
        "keypoints": [int(v) if v == int(v) else v for v in keypoints.ravel().tolist()],
        "image_id": person.image_id + 1,
        "bbox": person.box.tolist(),
        "category_id": 1,
        "id": person.person_id + 1,
    }


def _write_mpii(folder: Path, people: int, seed: int, step: Step) -> dict[str, int]:
    validation, done = max(1, people // 5), 0
    pictures = []
    for split, count in (("train", people - validation), ("val", validation)):
        for person in _pictures(split, count, seed, "mpii"):
            name = f"{person.image_id + 1:09d}.jpg"
            pictures.append(formats_mpii.Picture(name, split == "val", annotated(person, "mpii")))
            save_picture(folder / "images" / name, person)
            done += 1
            step(done)
    annot = folder / "annot"
    annot.mkdir(parents=True, exist_ok=True)
    train = formats_mpii.annot([p for p in pictures if not p.validation])
    valid = formats_mpii.annot([p for p in pictures if p.validation])
    for name, records in (("train", train), ("valid", valid), ("trainval", train + valid)):
        write_json(annot / f"{name}.json", records)
    scipy.io.savemat(
        annot / "gt_valid.mat", formats_mpii.ground_truth(pictures), do_compression=True
    )
    write_json(folder / "mpii_annotations.json", formats_mpii.flat(pictures))
    release = {"RELEASE": formats_mpii.release(pictures)}
    official = folder / "mpii_human_pose_v1_u12_2" / "mpii_human_pose_v1_u12_1.mat"
    official.parent.mkdir(exist_ok=True)
    scipy.io.savemat(official, release, do_compression=True, long_field_names=True)
    # the reader asks nobody's published counts of them
    write_json(folder / "painted.json", {"people": people, "seed": seed})
    return {"train": len(train), "val": len(valid)}


def _lsp_pictures(folder: Path, persons: Sequence[Person], digits: int, step: Step) -> np.ndarray:
    """Saves images/im0001.jpg, ... and gives their joints (N, 14, 2)."""
    for number, person in enumerate(persons, 1):
        save_picture(folder / "images" / f"im{number:0{digits}d}.jpg", person)
        step(number)
    return np.stack([person.joints for person in persons])


def _write_lsp(folder: Path, people: int, seed: int, step: Step) -> dict[str, int]:
    train = people // 2
    persons = [
        *_pictures("train", train, seed, "lsp"),
        *_pictures("val", people - train, seed, "lsp"),
    ]
    joints = _lsp_pictures(folder, persons, 4, step)
    hidden = np.stack(
        [person.visible < 2 for person in persons]
    )  # LSP annotates every joint; 1 says occluded
    table = np.concatenate([joints, hidden[..., None]], axis=2).transpose(2, 1, 0)  # 3 x 14 x N
    scipy.io.savemat(folder / "joints.mat", {"joints": np.ascontiguousarray(table, np.float64)})
    return {"train": train, "val": people - train}


def _write_lspet(folder: Path, people: int, seed: int, step: Step) -> dict[str, int]:
    # From an index that LSP's training people do not reach: the two sets are used together.
    persons = _pictures("train", people, seed, "lsp", start=1_000_000)
    joints = _lsp_pictures(folder, persons, 5, step)
    there = np.stack([person.visible > 0 for person in persons])  # here 1 says annotated
    junk = (
        -10.0 - np.arange(len(LSP)) * 1.5
    )  # what stands at unannotated joints means nothing in the official file
    joints = np.where(there[..., None], joints, junk[:, None])
    table = np.concatenate([joints, there[..., None]], axis=2).transpose(1, 2, 0)  # 14 x 3 x N
    scipy.io.savemat(folder / "joints.mat", {"joints": np.ascontiguousarray(table, np.float64)})
    return {"train": people}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
