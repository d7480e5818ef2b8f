"""COCO's files around keypoint evaluation: result files, detected boxes, and pycocotools as an oracle."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from featherpose.crop import centre_and_scale
from featherpose.data.readers import coco, source
from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.metrics.average_precision import NAMES
from featherpose.metrics.similarity import Detections, GroundTruth, extent_area
from featherpose.person import People, Person, Persons, Texts
from featherpose.skeletons import Skeleton

PERSON = 1  # COCO's category id
AT_ONCE = 1 << 14  # people written from one table


class _Found(msgspec.Struct, gc=False):
    """A record of a result file."""

    image_id: Any
    keypoints: list[float]
    score: float
    category_id: Any = PERSON
    bbox: Any = None


class _Box(msgspec.Struct, gc=False):
    """A record of a file of boxes."""

    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    score: Any = None


def read_results(
    path: Path, truth: GroundTruth, skeleton: Skeleton
) -> tuple[Detections, np.ndarray]:
    """A result file as arrays, and the third number (M, K) of its keypoints.

    A detection's area is that of its `bbox` where the file has boxes, else of its keypoints' extent, as pycocotools
    takes it.
    """
    joints = len(skeleton)
    records = _decoded(path, joints) or _checked(path, joints)
    records = [record for record in records if record.category_id == PERSON]
    if not records:
        raise PoseError(f"{path} holds no person: all its records are of other categories.")
    try:
        flat = np.fromiter(
            chain.from_iterable(record.keypoints for record in records),
            np.float64,
            len(records) * joints * 3,
        )
        score = np.array([record.score for record in records], np.float64)
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
        first = records[int(foreign.argmax())].image_id
        why = "are these predictions for another split?"
        if isinstance(first, str) and not truth.names:
            why = "image_id is text here and a number in the annotations."
        elif isinstance(first, int) and truth.names:
            why = "image_id is a number here and text in the annotations."
        raise PoseError(
            f"{path}: {foreign.sum()} of {len(records)} records are in pictures that the annotations do not list, e.g. "
            f"{first}: {why}"
        )
    keypoints = table[..., :2]
    area = _box_areas(path, records) if records[0].bbox else extent_area(keypoints)
    return Detections(image_id, keypoints, score, area), table[..., 2]


def _decoded(path: Path, joints: int) -> list[_Found]:
    """The records of a file without a fault in any; else none."""
    try:
        found = msgspec.json.decode(source.read_bytes(path), type=list[_Found])
    except (ValueError, RecursionError):
        return []
    return found if all(len(each.keypoints) == 3 * joints for each in found) else []


def _checked(path: Path, joints: int) -> list[_Found]:
    """The records one by one, or which of them is wrong."""
    records = _records(path)
    for number, record in enumerate(records):
        problem = _problem(record, joints)
        if problem:
            raise PoseError(f"{path}, record {number}: {problem}.")
    return [_Found(**_known(record, _Found)) for record in records]


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


def _image_ids(path: Path, records: list[_Found], truth: GroundTruth) -> np.ndarray:
    """The pictures' numbers; an id that is text is looked up, one that is not listed becomes -1."""
    number_of = {name: number for number, name in truth.names.items()}
    found = []
    for number, record in enumerate(records):
        identity = record.image_id
        if isinstance(identity, str):
            found.append(number_of.get(identity, -1))
        else:
            said = {"image_id": identity}
            found.append(-1 if truth.names else source.whole(said, "image_id", path, number))
    return np.array(found, np.int64)


def _box_areas(path: Path, records: Sequence[_Found]) -> np.ndarray:
    areas = []
    for number, record in enumerate(records):
        box = source.finite([] if record.bbox is None else record.bbox, "bbox", path, number)
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
    images = coco.listed_pictures(annotations)
    found = _boxes(detections)
    reasons = [_unusable(each, images) for each in found]
    skipped = dict(Counter(why for why in reasons if why))
    rows = [row for row, why in enumerate(reasons) if why is None]
    if not rows:
        said = ", ".join(f"{count} {why}" for why, count in skipped.items())
        raise PoseError(f"{detections} has no box to use ({said}): is it of another split?")
    box = np.array([source.finite(found[row].bbox, "bbox", detections, row) for row in rows])
    score = [source.number({"score": found[r].score}, "score", detections, r) for r in rows]
    ids = list(dict.fromkeys(found[row].image_id for row in rows))  # of the pictures in use
    places = {identity: place for place, identity in enumerate(ids)}
    picture = np.array([places[found[row].image_id] for row in rows])
    centre, scale = centre_and_scale(box)
    names = [identity if isinstance(identity, str) else "" for identity in ids]
    name = np.array([place if name else -1 for place, name in enumerate(names)])
    persons = Persons.from_columns(
        joints=np.zeros((len(rows), joints, 2)),
        visible=np.zeros((len(rows), joints), np.uint8),
        centre=centre,
        scale=scale,
        box=box,
        image_id=np.array([images[identity].number for identity in ids], np.int64)[picture],
        person_id=np.array(rows, np.int64),
        pictures=Texts.of(
            source.picture_path(pictures, images[identity].file, annotations, identity)
            for identity in ids
        ),
        picture=picture,
        picture_size=np.array([images[identity].size for identity in ids], np.int64)[picture],
        score=np.array(score),
        name=name[picture],
        names=Texts.of(names),
    )
    checksums = {str(detections): source.checksum(detections)}
    return People(persons, skipped, checksums, boxes="detections")


def folder_of(person: Person, annotations: Path) -> Path:
    """Where the names that the file lists begin: a name may have folders of its own."""
    images = coco.listed_pictures(annotations).values()
    name = next(str(each.file) for each in images if each.number == person.image_id)
    return Path(person.image).parents[len(Path(name).parts) - 1]


def _boxes(path: Path) -> list[_Box]:
    try:
        boxes = msgspec.json.decode(source.read_bytes(path), type=list[_Box])
    except (ValueError, RecursionError):  # a NaN, or no list of objects
        records = source.read_json(path)
        whole = isinstance(records, list) and all(isinstance(each, dict) for each in records)
        boxes = [_Box(**_known(each, _Box)) for each in records] if whole else []
    if not boxes:
        raise PoseError(
            f"{path} is not a list of detected boxes with image_id, category_id, bbox and score."
        )
    return boxes


def _known(record: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key in kind.__struct_fields__}


def _unusable(record: _Box, images: Mapping[int | str, coco.Picture]) -> str | None:
    if record.category_id != PERSON:
        return "of other categories"
    identity, box = record.image_id, record.bbox
    if not isinstance(identity, (int, str)) or identity not in images:
        return "in other pictures"
    numbers = isinstance(box, list) and all(type(side) in (int, float) for side in box)
    return None if numbers and len(box) == 4 and min(box[2:]) > 0 else "without size"


def official_scores(annotations: Path, results: Path, sigmas: Sequence[float]) -> dict[str, float]:
    """The ten numbers as pycocotools itself gives them for these two files, in percent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints whatever it does
        truth.dataset = source.read_json(annotations)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(source.read_json(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: 100 * value if value > -1 else float("nan")
        for name, value in zip(NAMES, evaluation.stats, strict=True)
    }
