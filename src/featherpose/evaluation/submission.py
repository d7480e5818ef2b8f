"""A submission to COCO's server: people of pictures whose annotations nobody has but the server."""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.readers import coco, source
from featherpose.errors import PoseError
from featherpose.evaluation import coco_json
from featherpose.evaluation.predictions import Predictions
from featherpose.files import replacing
from featherpose.metrics.average_precision import best_of_each_picture
from featherpose.metrics.oks import OKS
from featherpose.nms import MAX_DETECTIONS
from featherpose.person import People

PICTURES = "test2017"  # the folder of test-dev's pictures, too


def listing(root: Path | None, of: str) -> Path:
    """The file that lists the pictures and says nothing of who is in them."""
    path = Path(root or ".") / "annotations" / f"image_info_{of}.json"
    if not path.is_file():
        raise PoseError(
            f"There is no file {path}: it is in image_info_test2017.zip of COCO's download page."
        )
    return path


def people(root: Path | None, split: str, of: str, detections: str | None, joints: int) -> People:
    """The detected people of `of` (test-dev2017), whatever split is asked for."""
    del split
    if detections is None:
        raise PoseError(
            f"{of} has no annotated boxes: say where the detected ones are with data.detections=FILE.json."
        )
    pictures = Path(root or ".") / PICTURES
    return coco_json.detected_people(Path(detections), listing(root, of), pictures, joints)


def server_name(of: str, algorithm: str) -> str:
    """How the server wants the file called."""
    known = re.sub(r"[^A-Za-z0-9.-]+", "-", algorithm).strip("-") or "featherpose"
    return f"person_keypoints_{of}_{known}_results"


def write(
    folder: Path, data: PoseDataModule, predictions: Predictions, of: str, algorithm: str
) -> Path:
    """The last stage's people as the server takes them, checked and packed."""
    metric = data.new_metric()
    if not isinstance(metric, OKS):
        raise PoseError(
            f"submit= is for COCO's server, and {data.name} is scored by {metric.main}."
        )
    last = (predictions.index, predictions.keypoints[-1], predictions.confidence[-1])
    metric.update(*map(torch.from_numpy, last))
    index, keypoints, confidence, scores = metric.results()
    image_id = metric.persons.image_id[index]
    kept = np.sort(best_of_each_picture(image_id, scores))  # COCO counts no more
    path = folder / f"{server_name(of, algorithm)}.json"
    coco_json.write_results(path, image_id[kept], keypoints[kept], confidence[kept], scores[kept])
    check(path, listing(data.root, of), len(data.skeleton))
    return pack(path)


def check(path: Path, listed: Path, joints: int) -> int:
    """Refuses a file that the server would not take; gives its number of people."""
    pictures = coco.listed_pictures(listed)
    records = source.read_json(path)
    counts = Counter[int]()
    for number, record in enumerate(records):
        problem = _problem(record, pictures, joints)
        if problem:
            raise PoseError(f"{path}, record {number}: {problem}, which COCO's server refuses.")
        counts[record["image_id"]] += 1
    most = max(counts.values(), default=0)
    if most > MAX_DETECTIONS:
        raise PoseError(f"{path} has {most} people in a picture; COCO counts {MAX_DETECTIONS}.")
    return len(records)


def _problem(record: dict[str, Any], pictures: Any, joints: int) -> str | None:
    if set(record) != {"image_id", "category_id", "keypoints", "score"}:
        return f"its entries are {', '.join(record)}"
    if type(record["image_id"]) is not int or record["image_id"] not in pictures:
        return f"the picture {record['image_id']!r} is not listed"
    numbers = [*record["keypoints"], record["score"]]
    if len(numbers) != 3 * joints + 1:
        return f"{len(numbers) - 1} keypoint numbers instead of {3 * joints}"
    if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        return "a number is none"
    return None if record["category_id"] == coco_json.PERSON else "its category is not 1"


def pack(path: Path) -> Path:
    """The file in a zip of the same name, as the server takes it."""
    packed = path.with_suffix(".zip")
    with replacing(packed) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, path.name)
    return packed
