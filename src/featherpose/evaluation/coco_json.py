"""COCO's files around keypoint evaluation: result files, detected boxes, and pycocotools as an oracle."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.crop import centre_and_scale
from featherpose.data.readers import coco, source
from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.metrics.average_precision import NAMES
from featherpose.metrics.similarity import Detections, GroundTruth, extent_area
from featherpose.person import People, Person
from featherpose.skeletons import Skeleton

PERSON = 1  # COCO's category id
AT_ONCE = 1 << 14  # people written from one table


def read_results(
    path: Path, truth: GroundTruth, skeleton: Skeleton
) -> tuple[Detections, np.ndarray]:
    """A result file as arrays, and the third number (M, K) of its keypoints.

    A detection's area is that of its `bbox` where the file has boxes, else of its keypoints' extent, as pycocotools
    takes it.
    """
    records = _records(path)
    joints = len(skeleton)
    for number, record in enumerate(records):
        problem = _problem(record, joints)
        if problem:
            raise PoseError(f"{path}, record {number}: {problem}.")
    records = [record for record in records if record.get("category_id", PERSON) == PERSON]
    if not records:
        raise PoseError(f"{path} holds no person: all its records are of other categories.")
    try:
        flat = np.fromiter(
            chain.from_iterable(r["keypoints"] for r in records),
            np.float64,
            len(records) * joints * 3,
        )
        score = np.array([record["score"] for record in records], np.float64)
    except OverflowError as error:
        raise PoseError(f"{path}: a keypoint or a score is beyond all numbers.") from error
    image_id = _image_ids(path, records, truth)
    table = flat.reshape(-1, joints, 3)
    bad = ~(np.isfinite(table).all(axis=(1, 2)) & np.isfinite(score))
    if bad.any():
        raise PoseError(
            f"{path}: {bad.sum()} of {len(records)} records hold a NaN or an infinity, the first in picture "
            f"{image_id[bad][0]}; a network that gives NaN has no score."
        )
    foreign = ~np.isin(image_id, truth.images)
    if foreign.any():
        raise PoseError(
            f"{path}: {foreign.sum()} of {len(records)} records are in pictures that the annotations do not list, e.g. "
            f"{records[int(foreign.argmax())]['image_id']}: are these predictions for another split?"
        )
    keypoints = table[..., :2]
    area = _box_areas(path, records) if records[0].get("bbox") else extent_area(keypoints)
    return Detections(image_id, keypoints, score, area), table[..., 2]


def _records(path: Path) -> list[dict[str, Any]]:
    records = source.read_json(path)
    if isinstance(records, dict) and "annotations" in records:
        raise PoseError(
            f"{path} is an annotation file; predictions are a list of image_id, keypoints and score."
        )
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise PoseError(
            f"{path} is not a list of records with image_id, category_id, keypoints and score."
        )
    if not records:
        raise PoseError(f"{path} holds no prediction at all: an empty list has no score.")
    return records


def _problem(record: dict[str, Any], joints: int) -> str | None:
    for key in ("image_id", "keypoints", "score"):
        if key not in record:
            return f"it has no {key}"
    keypoints = record["keypoints"]
    if not isinstance(keypoints, list) or len(keypoints) != 3 * joints:
        found = len(keypoints) if isinstance(keypoints, list) else 0
        return f"{found} keypoint numbers instead of {joints} times x, y, score"
    numbers = [record["score"], *keypoints]
    if not all(type(value) in (int, float) for value in numbers):
        return "its score or a keypoint is not a number"
    return None


def _image_ids(path: Path, records: list[dict[str, Any]], truth: GroundTruth) -> np.ndarray:
    """The pictures' numbers; an id that is text is looked up, one that is not listed becomes -1."""
    number_of = {name: number for number, name in truth.names.items()}
    found = []
    for number, record in enumerate(records):
        identity = record["image_id"]
        if isinstance(identity, str):
            found.append(number_of.get(identity, -1))
        else:
            found.append(-1 if truth.names else source.whole(record, "image_id", path, number))
    return np.array(found, np.int64)


def _box_areas(path: Path, records: Sequence[dict[str, Any]]) -> np.ndarray:
    areas = []
    for number, record in enumerate(records):
        box = source.finite(record.get("bbox", []), "bbox", path, number)
        if box.shape != (4,):
            raise PoseError(
                f"{path}, record {number}: its bbox is not x, y, width, height. All records have one, or none."
            )
        areas.append(box[2] * box[3])
    return np.array(areas, np.float64)


def write_results(
    path: Path,
    image_id: np.ndarray,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    score: np.ndarray,
    names: Mapping[int, str] | None = None,
) -> None:
    """COCO's submission format without a space more than needed; written piece by piece.

    `names` are the ids of pictures whose file has text for them.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write("[")
        for n, record in enumerate(_submission(image_id, keypoints, confidence, score)):
            record["image_id"] = (names or {}).get(record["image_id"], record["image_id"])
            file.write((",\n" if n else "\n") + json.dumps(record, separators=(",", ":")))
        file.write("\n]\n")


def _submission(
    image_id: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, score: np.ndarray
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(keypoints), AT_ONCE):
        these = slice(start, start + AT_ONCE)
        shown = confidence[these, :, None].round(4)
        table = np.concatenate([keypoints[these], shown], axis=-1).reshape(len(shown), -1)
        people = zip(image_id[these].tolist(), table, score[these].tolist(), strict=True)
        for picture, row, value in people:
            yield {
                "image_id": picture,
                "category_id": PERSON,
                "keypoints": row.tolist(),
                "score": value,
            }


def detected_people(detections: Path, annotations: Path, pictures: Path, joints: int) -> People:
    """Detected boxes as people to predict on, in all pictures of the annotations: those without anybody count too.

    Args:
        detections: COCO's result json of a person detector: image_id, category_id, bbox, score.
        annotations: the annotation file, for the pictures' names.
        pictures: their folder.
        joints: of the skeleton; none is annotated.
    """
    images = coco.pictures_of(source.read_json(annotations), annotations)
    found = source.read_json(detections)
    if not isinstance(found, list) or not found or not all(isinstance(r, dict) for r in found):
        raise PoseError(
            f"{detections} is not a list of detected boxes with image_id, category_id, bbox and score."
        )
    persons, skipped = [], dict[str, int]()
    for number, record in enumerate(found):
        why = _unusable(record, images)
        if why:
            skipped[why] = skipped.get(why, 0) + 1
            continue
        box = source.finite(record["bbox"], "bbox", detections, number)
        centre, scale = centre_and_scale(box)
        persons.append(
            Person(
                image=source.picture_path(
                    pictures, images[record["image_id"]].file, annotations, record["image_id"]
                ),
                joints=np.zeros((joints, 2)),
                visible=np.zeros(joints, np.uint8),
                centre=centre,
                scale=scale,
                box=box,
                image_id=images[record["image_id"]].number,
                image_name=record["image_id"] if isinstance(record["image_id"], str) else None,
                person_id=number,
                score=source.number(record, "score", detections, number),
            )
        )
    if not persons:
        reasons = ", ".join(f"{count} {why}" for why, count in skipped.items())
        raise PoseError(f"{detections} has no box to use ({reasons}): is it of another split?")
    checksums = {str(detections): source.checksum(detections)}
    return People(persons, skipped, checksums, boxes="detections")


def _unusable(record: dict[str, Any], images: Mapping[int | str, coco.Picture]) -> str | None:
    if record.get("category_id") != PERSON:
        return "of other categories"
    identity = record.get("image_id")
    if not isinstance(identity, (int, str)) or identity not in images:
        return "in other pictures"
    box = record.get("bbox")
    numbers = isinstance(box, list) and all(type(side) in (int, float) for side in box)
    return None if numbers and len(box) == 4 and min(box[2:]) > 0 else "without size"


def official_scores(annotations: Path, results: Path, skeleton: Skeleton) -> dict[str, float]:
    """The ten numbers as pycocotools itself gives them for these two files, in percent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints whatever it does
        truth.dataset = source.read_json(annotations)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(source.read_json(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.similarity_sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: 100 * value if value > -1 else float("nan")
        for name, value in zip(NAMES, evaluation.stats, strict=True)
    }
