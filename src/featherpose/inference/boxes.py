"""Which boxes a picture's people lie in: the whole picture, a file, a detector, or where they were a frame ago."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from featherpose.crop import PADDING
from featherpose.errors import PoseError
from featherpose.inference.streams import Frame

if TYPE_CHECKING:
    from featherpose.inference.pose import FoundPose

Boxes = tuple[np.ndarray, np.ndarray]  # (N, 4) x, y, width, height; (N,) scores
FindBoxes = Callable[[Frame], Boxes]
MARGIN = (
    1.25  # the box of joints, grown to what an annotated box holds: the head's top, hands and feet
)
FARTHEST = 1e6  # pixels from a picture's corner that a box can lie
LOST = 0.25  # a person is lost where the mean confidence of its joints falls below this
MEMORY = 30  # frames for which a person who is not seen is known by the last box


def whole_picture(frame: Frame) -> Boxes:
    """One person who fills the picture. The crop's padding is taken off again, so that the crop is the picture."""
    height, width = frame.picture.shape[:2]
    grown = np.array([width, height]) / PADDING
    return np.concatenate([(np.array([width, height]) - grown) / 2, grown])[None], np.ones(1)


def filled(frame: Frame) -> Boxes:
    """The same where somebody says so (`boxes=whole`): it holds in every frame, and not as a finder's "nobody"."""
    return whole_picture(frame)


def is_whole(frame: Frame, boxes: np.ndarray) -> bool:
    """Whether these are `whole_picture`'s: nobody knows yet where the person is."""
    return np.array_equal(boxes, whole_picture(frame)[0])


class _Box(NamedTuple):
    box: np.ndarray  # x, y, width, height
    score: float
    number: int | None  # of the picture, or of a video's frame
    record: int


class BoxesFromFile:
    """COCO's detection or annotation records: file_name or image_id, bbox, score; a video's records have its frame's
    number as image_id.

    Either a list of records, or `{"images": [...], "annotations": [...]}`.
    """

    def __init__(self, path: str | Path, threshold: float = 0.0) -> None:
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PoseError(f"There is no file of boxes {path}.") from error
        except (ValueError, OSError, RecursionError) as error:
            raise PoseError(f"{path} is not a json file of boxes: {error}.") from error
        self.path = path
        self.by_name: dict[str, dict[str, list[_Box]]] = {}  # the bare name, the whole one
        self.by_number: dict[int, list[_Box]] = {}
        self.left_out = 0  # records of other things than people, of no size, of too low a score
        self.asked: set[int] = set()  # the records that a frame has got
        records = content.get("annotations", []) if isinstance(content, dict) else content
        names = self._names(content.get("images", [])) if isinstance(content, dict) else {}
        if not isinstance(records, list) or not records:
            raise PoseError(
                f"{path} holds no boxes: expected is a list of records with bbox and image_id or file_name."
            )
        self.count = len(records)
        for number, record in enumerate(records):
            self._add(number, record, names, threshold)

    def _names(self, images: Any) -> dict[Any, str]:
        """The pictures' file names by their ids."""
        try:
            return {image["id"]: str(image["file_name"]) for image in images}
        except (KeyError, TypeError) as error:
            raise PoseError(
                f"{self.path}: each of its images needs an id and a file_name ({error})."
            ) from error

    def _add(self, number: int, record: Any, names: dict[Any, str], threshold: float) -> None:
        where = f"{self.path}, record {number}"
        try:
            box = np.array(record["bbox"], dtype=np.float64)
        except (ValueError, TypeError, KeyError, OverflowError):
            box = np.zeros(0)
        if box.shape != (4,) or not (np.abs(box) <= FARTHEST).all():  # NaN too
            raise PoseError(f"{where}: its bbox is not x, y, width, height in pixels.")
        score = record.get("score", 1.0)
        if type(score) not in (int, float) or not abs(score) < 1e300:  # NaN too
            raise PoseError(f"{where}: its score is {score!r:.40}, not a number.")
        if (
            record.get("category_id", 1) != 1
            or score < threshold
            or min(box[2:]) <= 0
            or record.get("iscrowd")
        ):
            self.left_out += 1
            return
        identity = record.get("image_id")
        known = names.get(identity) if isinstance(identity, (int, str)) else None
        name = record.get("file_name", known)
        seen = _Box(box, float(score), identity if type(identity) is int else None, number)
        if isinstance(name, str):
            self.by_name.setdefault(Path(name).name, {}).setdefault(str(Path(name)), []).append(
                seen
            )
        elif name is None and seen.number is not None:
            self.by_number.setdefault(seen.number, []).append(seen)
        else:
            raise PoseError(f"{where}: it has neither a file_name nor an image_id of a picture.")

    def __call__(self, frame: Frame) -> Boxes:
        path = Path(frame.name)
        found = self._named(path)
        if frame.moving:  # all frames have the video's name: the number tells them apart
            found = [each for each in found if each.number in (None, frame.index)]
            found += self.by_number.get(frame.index, [])
        elif not found:  # COCO names its pictures by their ids
            found = self.by_number.get(int(path.stem) if path.stem.isdecimal() else frame.index, [])
        self.asked.update(each.record for each in found)
        if not found:
            return np.zeros((0, 4)), np.zeros(0)
        return np.stack([each.box for each in found]), np.array([each.score for each in found])

    def unused(self) -> str | None:
        """What of the file was not asked for, in words; None where everything was."""
        said = {
            "are of no picture of the source": self.count - self.left_out - len(self.asked),
            "are left out for their score, size or category": self.left_out,
        }
        parts = [f"{count} {what}" for what, count in said.items() if count]
        if not parts:
            return None
        return f"{self.path}: of its {self.count} records {', '.join(parts)}"

    def _named(self, path: Path) -> list[_Box]:
        """Of the names that end alike, as `a/1.jpg` and `b/1.jpg`, the one that agrees furthest with the path.

        Of `1.jpg` and `a/1.jpg`, which agree as far with `b/1.jpg`, the one that agrees whole.
        """
        alike = self.by_name.get(path.name, {})
        agree = {}
        for name in alike:
            parts = Path(name).parts
            common = _common(parts, path.parts)
            agree[name] = (common, common == len(parts))
        best = [name for name in alike if agree[name] == max(agree.values())]
        if len(best) > 1:
            raise PoseError(
                f"{path} may be {best[0]} or {best[1]} of {self.path}: give the source with its folder."
            )
        return list(alike[best[0]]) if best else []


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many last parts of two paths are equal."""
    pairs = enumerate(zip(reversed(one), reversed(other), strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class Follow:
    """The extent of each person's last pose, as long as the network sees the person; else the boxes of `find`.

    A person seen twice (two poses grown together) is followed once. One whose joints are weak is looked for again, and
    known again by the box.

    Args:
        find: gives the boxes of a frame.
        every: it is asked after so many frames, and when nobody is followed; 0: only then.
        lost: the mean confidence of a person's joints below which they are weak.
    """

    def __init__(self, find: FindBoxes, every: int = 0, lost: float = LOST) -> None:
        self.find = find
        self.every = every
        self.lost = lost
        self.boxes = np.zeros((0, 4))
        self.identities: list[int] = []
        self.known: dict[int, tuple[np.ndarray, int]] = {}  # number: last box, and in which frame
        self.next = 0
        self.seen_at = self.now = -1

    def __call__(self, frame: Frame) -> Boxes:
        self.now = frame.index
        due = bool(self.every) and frame.index - self.seen_at >= self.every
        if len(self.boxes) and not due:
            return self.boxes, np.ones(len(self.boxes))
        boxes, scores = self.find(frame)
        self.seen_at = frame.index
        nobody = self.find is not filled and is_whole(frame, boxes)
        if len(self.boxes) and nobody:  # who is followed stays
            return self.boxes, np.ones(len(self.boxes))
        self.identities = self._named(boxes)
        return boxes, scores

    def _named(self, boxes: np.ndarray) -> list[int]:
        """A box keeps the number of the known person whom it overlaps most."""
        self.known = {n: seen for n, seen in self.known.items() if self.now - seen[1] <= MEMORY}
        free = {number: box for number, (box, _) in self.known.items()}
        alone = len(boxes) == 1 and len(free) == 1
        names = []
        for box in boxes:
            best = max(free, key=lambda number: iou(box, free[number]), default=None)
            # where there is one person only, a box of the whole picture is that person's too
            same = best is not None and (
                iou(box, free[best]) > 0.3 or (alone and contains(box, free[best]))
            )
            if best is not None and same:
                names.append(best)
                free.pop(best)
            else:
                names.append(self.next)
                self.next += 1
        return names

    def update(self, people: Sequence[FoundPose], size_wh: tuple[int, int]) -> None:
        """Takes in the poses seen in the boxes given last; boxes for the next frame come from them."""
        boxes, names = [], []
        for person in people:
            name, box = person.identity or 0, person.box
            clear = person.confidence > self.lost / 2
            if person.confidence.mean() >= self.lost and clear.sum() >= 3:
                seen = extent(person.keypoints[clear], size_wh)
                if min(seen[2:]) >= 2 and all(iou(seen, other) < 0.7 for other in boxes):
                    boxes.append(seen)
                    names.append(name)
                    box = seen
            self.known[name] = (box, self.now)
        self.boxes = np.array(boxes).reshape(-1, 4)
        self.identities = names


def extent(points: np.ndarray, size_wh: tuple[int, int], margin: float = MARGIN) -> np.ndarray:
    """The box around joints, grown by `margin` and cut at the picture's edge: x, y, width, height."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * margin
    low, high = np.clip(centre - half, 0, size_wh), np.clip(centre + half, 0, size_wh)
    return np.concatenate([low, high - low])


def contains(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether most of the smaller box lies in the larger one."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    smaller = float(min(one[2] * one[3], other[2] * other[3]))
    return float(np.prod(np.clip(high - low, 0, None))) > 0.7 * smaller


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(overlaps(one[None], other[None])[0, 0])


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes (N, 4) with boxes (M, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    both = np.prod(one[:, 2:], axis=-1)[:, None] + np.prod(other[:, 2:], axis=-1) - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
