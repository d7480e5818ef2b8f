"""Pictures with boxes of people, to train the finder on: who is in them, and where nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from featherpose.data.readers import coco
from featherpose.image import read as read_image
from featherpose.inference.boxes import overlaps
from featherpose.inference.detector import Detector
from featherpose.person import Person
from featherpose.teaching import sieve, sources
from featherpose.teaching.sources import HUMAN_V2_SIZE, Places

DEV = 250  # pictures of coco_more that choose between checkpoints
MOST = {"human_v2": 5000, "stanford40": 2500}  # pictures beside COCO's
FROM_ABOVE = re.compile(r"^(-|DJI)")  # human_v2's pictures taken by drones: people are spots there
DOUBT, SURE = (
    0.15,
    0.4,
)  # the teacher's scores from which a place is left open, and from which it is a person
SAME = 0.4  # overlap of the teacher's box with a human's


@dataclass
class Pictures:
    """Pictures and their boxes; a box is a person, or a place where somebody may be."""

    path: list[str]
    size: list[
        tuple[int, int]
    ]  # width, height to which a squeezed picture is brought; 0 for as it is
    boxes: list[np.ndarray]  # (N, 4) x, y, width, height in that size
    person: list[np.ndarray]  # (N,) bool; False: nothing is learnt there

    def __len__(self) -> int:
        return len(self.path)

    def rows(self, chosen: Sequence[int] | np.ndarray) -> Pictures:
        at = [int(i) for i in chosen]
        return Pictures(
            [self.path[i] for i in at],
            [self.size[i] for i in at],
            [self.boxes[i] for i in at],
            [self.person[i] for i in at],
        )

    def save(self, path: Path) -> None:
        count = [len(each) for each in self.boxes]
        np.savez(
            path,
            path=np.array(self.path),
            size=np.array(self.size, int).reshape(-1, 2),
            end=np.cumsum(count),
            boxes=np.concatenate(self.boxes) if self.boxes else np.zeros((0, 4)),
            person=np.concatenate(self.person) if self.person else np.zeros(0, bool),
        )

    @classmethod
    def load(cls, path: Path) -> Pictures:
        with np.load(path) as file:
            ends = file["end"][:-1]
            size = [(int(w), int(h)) for w, h in file["size"]]
            boxes, person = np.split(file["boxes"], ends), np.split(file["person"], ends)
            return cls(file["path"].tolist(), size, boxes, person)

    def picture(self, at: int) -> np.ndarray:
        """RGB, in the size in which the boxes are."""
        image = read_image(self.path[at])
        if self.size[at][0]:
            image = cv2.resize(image, self.size[at], interpolation=cv2.INTER_LINEAR)
        return image


def pictures(places: Places, say: Callable[[str], None] = print) -> tuple[Pictures, Pictures]:
    """To train on, and the dev split; made once and kept in the work folder."""
    files = [places.work / f"finder_{split}.npz" for split in ("train", "dev")]
    if not all(file.is_file() for file in files):
        for file, each in zip(files, _make(places, say), strict=True):
            each.save(file)
    train, dev = (Pictures.load(file) for file in files)
    return train, dev


def held_out(places: Places) -> Pictures:
    """COCO's val pictures, on which the finder is scored."""
    return _labelled(coco.read(places.data / "coco_part", "val").persons)


def _make(places: Places, say: Callable[[str], None]) -> tuple[Pictures, Pictures]:
    teacher = Detector(
        places.data / "detectors" / "yolox_nano.onnx", "yolox", DOUBT, most=100, threads=1
    )
    dev = _dev(places)
    held = _hashes(held_out(places).path)
    avoided = np.concatenate([held, _hashes(dev.path)])
    parts = []
    known = np.zeros(0, np.uint64)
    for name, found in {
        "coco_part": _labelled(coco.read(places.data / "coco_part", "train").persons),
        "human_v2": _human_v2(places),
        "stanford40": _unlabelled(places, "stanford40", "JPEGImages/*.jpg"),
        "flickr8k": _unlabelled(places, "flickr8k", "data/images/*.jpg"),
    }.items():
        codes = _hashes(found.path)
        alike = sieve.near_any(codes, avoided, sieve.Rules.near)
        twice = sieve.repeated(np.array(found.path), codes, known, sieve.Rules.near_video)
        kept = np.flatnonzero(~alike & ~twice)
        say(
            f"{name}: {len(found)} pictures, {alike.sum()} like held-out or dev ones, "
            f"{(twice & ~alike).sum()} repeat one, {len(kept)} stay"
        )
        known = np.concatenate([known, codes[kept]])
        parts.append(_taught(found.rows(kept), teacher))
        say(f"{name}: {sum(each.sum() for each in parts[-1].person)} people")
    return _joined(parts), dev


def _joined(parts: Sequence[Pictures]) -> Pictures:
    return Pictures(
        [path for part in parts for path in part.path],
        [size for part in parts for size in part.size],
        [boxes for part in parts for boxes in part.boxes],
        [person for part in parts for person in part.person],
    )


def _labelled(persons: Iterable[Person], squeezed: bool = False) -> Pictures:
    """Annotated people, by picture."""
    boxes: dict[str, list[np.ndarray]] = {}
    size: dict[str, tuple[int, int]] = {}
    for person in persons:
        boxes.setdefault(person.image, []).append(np.asarray(person.box, float))
        size[person.image] = (person.picture_size or (0, 0)) if squeezed else (0, 0)
    people = [np.array(each) for each in boxes.values()]
    return Pictures(
        list(boxes), list(size.values()), people, [np.ones(len(p), bool) for p in people]
    )


def _dev(places: Places) -> Pictures:
    """Pictures of coco_more, none like a held-out one."""
    found = _labelled(sources.coco_more_people(places)[0], squeezed=True)
    held = _hashes(held_out(places).path)
    clear = np.flatnonzero(~sieve.near_any(_hashes(found.path), held, sieve.Rules.near))
    names = np.array([Path(found.path[i]).name for i in clear])
    return found.rows(clear[np.isin(names, sorted(sieve.choose(names, DEV)))])


def _human_v2(places: Places) -> Pictures:
    """Boxes of people stand beside the pictures; all of COCO's, whose form is known, and some of the others."""
    folder = places.pictures("human_v2")
    form = {person.image: person.picture_size for person in sources.coco_more_people(places)[0]}
    every = [path for path in folder.glob("*/images/*.jpg") if not FROM_ABOVE.match(path.name)]
    others = np.array([path.name for path in every if str(path) not in form])
    some = sieve.choose(others, MOST["human_v2"])
    found = Pictures([], [], [], [])
    for path in sorted(every):
        labels = path.parents[1] / "labels" / f"{path.stem}.txt"
        if not labels.is_file() or (str(path) not in form and path.name not in some):
            continue
        size = form.get(str(path)) or HUMAN_V2_SIZE
        lines = [line for line in labels.read_text().splitlines() if line.startswith("0 ")]
        shares = np.array([box for line in lines for box in sources.yolo_boxes(line)])
        found.path.append(str(path))
        found.size.append(size)
        found.boxes.append(shares.reshape(-1, 4) * (size * 2))
        found.person.append(np.ones(len(shares), bool))
    return found


def _unlabelled(places: Places, name: str, pattern: str) -> Pictures:
    """Pictures of which the teacher says all."""
    every = sorted(places.pictures(name).glob(pattern))
    names = np.array([path.name for path in every])
    some = sieve.choose(names, MOST.get(name, len(names)))
    paths = [str(path) for path in every if path.name in some]
    nobody = [np.zeros((0, 4)) for _ in paths]
    return Pictures(paths, [(0, 0)] * len(paths), nobody, [np.zeros(0, bool) for _ in paths])


def _taught(found: Pictures, teacher: Detector) -> Pictures:
    """With the teacher's people: all where no human has said who is there, else places that nothing is learnt from."""
    boxes, person = [], []
    for at in range(len(found)):
        picture, known = found.picture(at), found.boxes[at]
        seen, score = teacher(picture) if len(known) else both_ways(teacher, picture)
        new = ~(overlaps(seen, known) > SAME).any(axis=1)
        sure = score >= SURE if not len(known) else np.zeros(len(seen), bool)
        boxes.append(np.concatenate([known, seen[new]]))
        person.append(np.concatenate([found.person[at], sure[new]]))
    return Pictures(found.path, found.size, boxes, person)


def both_ways(
    teacher: Detector, picture: np.ndarray, same: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """People of the picture and of the mirrored one; each box is the mean of those that agree with it, by score."""
    boxes, score = teacher(picture)
    turned, others = teacher(np.ascontiguousarray(picture[:, ::-1]))
    turned[:, 0] = picture.shape[1] - turned[:, 0] - turned[:, 2]
    boxes, score = np.concatenate([boxes, turned]), np.concatenate([score, others])
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), score.tolist(), 0.0, same)
    best = np.asarray(kept, int).reshape(-1)
    votes = np.where(overlaps(boxes[best], boxes) > same, score, 0.0)
    return votes @ boxes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-9), score[best]


def _hashes(paths: Sequence[str]) -> np.ndarray:
    return np.array([sieve.picture_hash(path) for path in paths], np.uint64)
