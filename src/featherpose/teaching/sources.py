"""The sources of people17: who is in each, with what humans have said of them; and which pictures are held out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from featherpose.data.readers import coco, lsp, mpii
from featherpose.data.readers.joint import reorder, translation
from featherpose.image import read as read_image
from featherpose.inference.detector import Detector
from featherpose.person import Person, Persons
from featherpose.skeletons import COCO, LSP, MPII, Skeleton
from featherpose.teaching.listing import Listing, of_boxes, of_persons
from featherpose.teaching.snapshots import ORIGINS, unpack

LSPET_TRAIN = ((1, 3500), (4501, 8000))  # 3501 to 4500 are held out
LEAST_COSINE = -0.5  # conf/data/lspet.yaml's rule against left and right mixed up
GROW = 0.1  # LSPET and MPII have no boxes: the joints' extent, so much larger, reaches hands, feet and hair
HUMAN_V2_SIZE = (
    555,
    416,
)  # squeezed to 416 x 416: of 3:4, 1:1, 4:3 and 16:9 the one that keeps most people
LEAST_HEIGHT = {"ccp": 100, "human_v2": 200}  # pixels of a box: smaller people teach little
MOST = 2  # people of an unlabelled picture, the tallest first
LEAST_SCORE = 0.5  # of a detected box


@dataclass(frozen=True)
class Places:
    """Where the data lie."""

    data: Path  # coco_part/ coco_more/ lspet/ mpii_part/ teachers/ detectors/
    snapshots: Path  # bare git directories OWNER+NAME/repo
    work: Path  # what is unpacked and computed on the way

    def pictures(self, name: str) -> Path:
        return unpack(name, self.snapshots, self.work / "pictures")

    @property
    def mpii(self) -> Path:
        """The MPII part as its reader wants it."""
        folder = self.pictures("mpii")
        for name in ("mpii_annotations.json.gz", "detections_our_format.mat"):
            if not (folder / name).exists():
                (folder / name).symlink_to((self.data / "mpii_part" / name).resolve())
        return folder


def listing(name: str, places: Places) -> Listing:
    """The people of one source, to train on."""
    return {
        "coco_part": _coco_part,
        "coco_more": _coco_more,
        "lspet": _lspet,
        "mpii": _mpii,
        "stanford40": _stanford40,
        "ccp": _ccp,
        "human_v2": _human_v2,
    }[name](places)


def unpacked(names: list[str], places: Places) -> None:
    """The pictures of these sources and of the held-out people, first: a missing snapshot is said at once."""
    for name in ORIGINS:
        if name in names or name == "mpii" or (name == "human_v2" and "coco_more" in names):
            places.pictures(name)


def held_out(places: Places) -> list[str]:
    """Pictures on which shipped networks are scored: nothing that looks like one of them is learnt."""
    persons = [
        *coco.read(places.data / "coco_part", "val").persons,
        *lsp.read_extended(places.data / "lspet", "val", val=(3501, 4500)).persons,
        *mpii.read(places.mpii, "val", published=False).persons,
    ]
    return sorted({person.image for person in persons})


def _coco_part(places: Places) -> Listing:
    found = coco.read(places.data / "coco_part", "train")
    return of_persons("coco_part", found.persons, found.persons.box)


def coco_more_people(places: Places) -> tuple[list[Person], int]:
    """People of pictures that human_v2 holds squeezed, and how many are left to coco_part, where they stand too."""
    folder = places.pictures("human_v2")
    ids = json.loads((folder / "ids.json").read_text())
    known = {person.image_id for person in coco.read(places.data / "coco_part", "train").persons}
    found = coco.read(
        places.data / "coco_more",
        "train",
        annotations="person_keypoints_more.json.gz",
        pictures="ignore",
    )
    persons = [
        replace(person, image=str(folder / ids[Path(person.image).stem]))
        for person in found.persons
        if person.image_id not in known
    ]
    return persons, len(found.persons) - len(persons)


def _coco_more(places: Places) -> Listing:
    persons, left = coco_more_people(places)
    boxes = np.array([person.box for person in persons])
    people = of_persons("coco_more", persons, boxes, squeezed=True)
    people.skipped["in coco_part too"] = left
    return people


def _lspet(places: Places) -> Listing:
    persons: list[Person] = []
    skipped: dict[str, int] = {}
    for span in LSPET_TRAIN:
        found = lsp.read_extended(
            places.data / "lspet", "train", train=span, least_cosine=LEAST_COSINE
        )
        persons += found.persons
        for why, count in found.skipped.items():
            skipped[why] = skipped.get(why, 0) + count
    people = _in_coco("lspet", persons, LSP)
    people.skipped.update(skipped)
    return people


def _mpii(places: Places) -> Listing:
    found = mpii.read(places.mpii, "train", published=False)
    persons = [person for person in found.persons if (person.visible > 0).sum() >= 6]
    people = _in_coco("mpii", persons, MPII)
    people.skipped["fewer than 6 joints"] = len(found.persons) - len(persons)
    return people


def _in_coco(name: str, persons: Sequence[Person], skeleton: Skeleton) -> Listing:
    """Joints by name; the box is the extent of all joints of the own skeleton (the head's top too), and a tenth."""
    boxes = np.array([_extent(person) for person in persons])
    order = translation(skeleton, COCO)
    return of_persons(name, reorder(Persons.of(persons), order), boxes)


def _extent(person: Person) -> np.ndarray:
    points = person.joints[person.visible > 0]
    low, high = points.min(axis=0), points.max(axis=0)
    side = np.maximum(high - low, 1.0)
    return np.concatenate([low - side * GROW / 2, side * (1 + GROW)])


def _stanford40(places: Places) -> Listing:
    """One person a picture, whose box stands beside it."""
    folder = places.pictures("stanford40")
    pictures, boxes = [], []
    for path in sorted(folder.glob("XMLAnnotations/*.xml")):
        picture = folder / "JPEGImages" / f"{path.stem}.jpg"
        for box in ElementTree.parse(path).iter("bndbox"):
            left, top, right, bottom = (
                float(box.findtext(side, "nan")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if picture.is_file() and right > left and bottom > top:
                pictures.append(str(picture))
                boxes.append((left - 1, top - 1, right - left + 1, bottom - top + 1))  # from 1
    return of_boxes("stanford40", pictures, [(0, 0)] * len(boxes), boxes)


def _ccp(places: Places) -> Listing:
    """Full bodies on the street, found by the detector."""
    folder = places.pictures("ccp")
    finder = Detector(
        places.data / "detectors" / "yolox_nano.onnx", "yolox", LEAST_SCORE, threads=1
    )
    pictures: list[str] = []
    boxes: list[np.ndarray] = []
    for path in sorted(folder.glob("photos/*.jpg")):
        found, _ = finder(read_image(path))
        tall = _tallest(found, LEAST_HEIGHT["ccp"])
        pictures += [str(path)] * len(tall)
        boxes += list(tall)
    return of_boxes("ccp", pictures, [(0, 0)] * len(boxes), boxes)


def _human_v2(places: Places) -> Listing:
    """Boxes, or outlines, stand beside the pictures; the pictures with COCO's keypoints are coco_more's."""
    folder = places.pictures("human_v2")
    taken = set(_coco_more(places).picture.tolist())
    pictures: list[str] = []
    boxes: list[np.ndarray] = []
    for path in sorted(folder.glob("*/images/*.jpg")):
        labels = path.parents[1] / "labels" / f"{path.stem}.txt"
        if str(path) in taken or not labels.is_file():
            continue
        shares = np.array(
            [box for line in labels.read_text().splitlines() for box in yolo_boxes(line)]
        )
        tall = _tallest(shares.reshape(-1, 4) * (HUMAN_V2_SIZE * 2), LEAST_HEIGHT["human_v2"])
        pictures += [str(path)] * len(tall)
        boxes += list(tall)
    return of_boxes("human_v2", pictures, [HUMAN_V2_SIZE] * len(boxes), boxes)


def yolo_boxes(line: str) -> Iterable[np.ndarray]:
    """The box (shares of the picture) of a line of a YOLO label: class and centre, size; or class and an outline."""
    numbers = np.array(line.split()[1:], float)
    if len(numbers) == 4:
        yield np.concatenate([numbers[:2] - numbers[2:] / 2, numbers[2:]])
    elif len(numbers) >= 6:
        points = numbers.reshape(-1, 2)
        yield np.concatenate([points.min(axis=0), np.ptp(points, axis=0)])


def _tallest(boxes: np.ndarray, least: float) -> np.ndarray:
    tall = boxes[boxes[:, 3] >= least]
    return tall[np.argsort(-tall[:, 3], kind="stable")][:MOST]
