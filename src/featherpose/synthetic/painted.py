"""Synthetic people: articulated figures with exact annotations, drawn on demand; no download, no disk.

A person's picture follows from (seed, split, index) alone, so it is the same in any process and in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from featherpose.crop import PADDING, PIXEL_STD, centre_and_scale
from featherpose.errors import PoseError
from featherpose.person import SC_BIAS, People, Person
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.synthetic.bodies import PARTS, POINTS
from featherpose.synthetic.painting import paint
from featherpose.synthetic.scenes import Scene, build_scenes, layers, scene_draws, seen

SPLITS = ("train", "val", "test")
_COLOURS = (
    1  # colours have a stream of their own, so that geometry can be kept without its generator
)
_BATCH = 256  # scenes posed at once
_NAME = re.compile(r"synthetic:(\d+):(train|val|test):(\d+)")
_HEAD = PARTS.index("head")
MAX_PEOPLE = 10_000_000  # of a split, so that image ids of the splits do not meet


@dataclass(frozen=True)
class Inhabitant:
    """A figure in a picture: its record, its head box (x1, y1, x2, y2) and the outlines of what shows of it."""

    person: Person
    head_box: np.ndarray
    outlines: list[np.ndarray]


def read(
    root: object = None,
    split: str = "train",
    people: int | Mapping[str, int] = 2000,
    seed: int = 0,
    skeleton: str | Mapping | Skeleton = "mpii",
    start: int = 0,
) -> People:
    """`people` annotated figures of a split from index `start` on, or so many per split: {train: 2000, val: 500}.

    `root` is not used: nothing lies on disk.
    """
    if split not in SPLITS or (isinstance(people, Mapping) and split not in people):
        raise PoseError(
            f"There is no split {split!r} of the synthetic people; known: {', '.join(SPLITS)}."
        )
    people = int(people[split]) if isinstance(people, Mapping) else int(people)
    if people < 1 or start < 0 or start + people > MAX_PEOPLE or seed < 0:
        raise PoseError(
            f"data.people={people}, start={start}, seed={seed}: ask for 1 to {MAX_PEOPLE:,} people, "
            "and a start and a seed of 0 or more."
        )
    kind = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    unknown = [joint for joint in kind.joints if joint not in POINTS]
    if unknown:
        raise PoseError(
            f"Synthetic people have no joint {unknown[0]!r}; a skeleton for them is made of: {', '.join(POINTS)}."
        )
    persons = []
    for first in range(start, start + people, _BATCH):
        indices = range(first, min(first + _BATCH, start + people))
        scenes = build_scenes([scene_draws(_generator(seed, split, index)) for index in indices])
        for index, scene in zip(indices, scenes, strict=True):
            front, numbers = layers(scene)
            persons.append(
                _person(
                    scene, 0, front, numbers[0], kind, f"synthetic:{seed}:{split}:{index}", index
                )
            )
    return People(
        persons, sources={f"synthetic:{seed}:{split}:{start}-{start + people - 1}": "drawn"}
    )


def inhabitants(person: Person, skeleton: str | Mapping | Skeleton) -> list[Inhabitant]:
    """Everybody in a synthetic person's picture, the person first, with what the official formats want besides."""
    kind = skeleton if isinstance(skeleton, Skeleton) else skeleton_of(skeleton)
    scene = scene_of(person.image)
    front, numbers = layers(scene)
    found = []
    for figure in sorted(scene.sequence):
        own = numbers[figure]
        shown = ((front >= own.min()) & (front <= own.max())).astype(np.uint8)
        contours, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        head = scene.circles[figure, _HEAD]
        found.append(
            Inhabitant(
                person=_person(
                    scene, figure, front, own, kind, person.image, person.image_id % MAX_PEOPLE
                ),
                head_box=np.round(np.concatenate(_extent(head)), 3),
                outlines=[c.reshape(-1, 2) for c in contours if len(c) >= 3],
            )
        )
    return found


def load(person: Person) -> np.ndarray:
    """The person's picture, (H, W, 3) uint8 RGB."""
    return paint(scene_of(person.image), _generator(*_address(person.image), _COLOURS))


def _generator(seed: int, split: str, index: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng((seed, SPLITS.index(split), index, *purpose))


def _address(image: str) -> tuple[int, str, int]:
    match = _NAME.fullmatch(image)
    if not match:
        raise PoseError(
            f"{image!r} is no synthetic person: its name would read synthetic:SEED:SPLIT:INDEX."
        )
    return int(match[1]), match[2], int(match[3])


@lru_cache(
    maxsize=2048
)  # geometry is a third of a picture's cost and 20 KB a scene; epochs come back to it
def scene_of(image: str) -> Scene:
    return build_scenes([scene_draws(_generator(*_address(image)))])[0]


def _person(
    scene: Scene,
    figure: int,
    front: np.ndarray,
    own: np.ndarray,
    kind: Skeleton,
    image: str,
    index: int,
) -> Person:
    chosen = [POINTS.index(joint) for joint in kind.joints]
    # To a thousandth of a pixel, so that a batch of one and a batch of many agree to the bit.
    joints = np.round(scene.points[figure, chosen], 3)
    visible = seen(scene, figure, front, own)[chosen]
    low, high = np.clip(_extent(scene.circles[figure].reshape(-1, 4)), 0, scene.size)
    box = np.round(np.concatenate([low, high - low]), 3)
    if kind.name == "coco":
        centre, scale = centre_and_scale(box)
    else:  # MPII: the height in units of 200 px, the centre moved down by 15 px of it, then padded by 1.25
        size = max(box[2], box[3]) / PIXEL_STD
        centre, scale = box[:2] + box[2:] / 2 + (0, 15 * size), np.full(2, PADDING * size)
    head = _extent(scene.circles[figure, _HEAD])
    number = MAX_PEOPLE * SPLITS.index(image.split(":")[2]) + index
    return Person(
        image=image,
        joints=joints,
        visible=visible,
        centre=centre,
        scale=scale,
        box=box,
        image_id=number,
        person_id=number * 10 + figure,
        area=float(np.count_nonzero((front >= own.min()) & (front <= own.max()))),
        head_size=float(np.round(SC_BIAS * np.hypot(*(head[1] - head[0])), 3)),
        picture_size=scene.size,
    )


def _extent(circles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box around circles (C, 4)."""
    return (circles[:, :2] - circles[:, 3:]).min(axis=0), (circles[:, :2] + circles[:, 3:]).max(
        axis=0
    )
