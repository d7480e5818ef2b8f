"""Who is in the pictures of one source, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from featherpose.person import Person
from featherpose.skeletons import COCO


@dataclass
class Listing:
    """People of one source, in their pictures' pixels; a row a person, people of a picture one after another."""

    source: str
    picture: np.ndarray  # (N,) str: paths
    size: (
        np.ndarray
    )  # (N, 2) int: width, height to which a squeezed picture is brought first; 0 for as it is
    box: np.ndarray  # (N, 4) x, y, width, height
    joints: np.ndarray  # (N, 17, 2)
    visible: np.ndarray  # (N, 17) uint8, 0 where nobody has annotated it
    person: np.ndarray  # (N,) int64
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.picture)

    @property
    def labelled(self) -> np.ndarray:
        """(N,) whether a human has annotated any joint."""
        return np.any(self.visible > 0, axis=1)

    def rows(self, chosen: np.ndarray) -> Listing:
        return Listing(
            self.source,
            self.picture[chosen],
            self.size[chosen],
            self.box[chosen],
            self.joints[chosen],
            self.visible[chosen],
            self.person[chosen],
            self.skipped,
        )


def of_persons(
    source: str, persons: Sequence[Person], boxes: np.ndarray, squeezed: bool = False
) -> Listing:
    """Persons with COCO's joints, picture by picture."""
    order = sorted(range(len(persons)), key=lambda i: persons[i].image)
    chosen = [persons[i] for i in order]
    sizes = [(p.picture_size or (0, 0)) if squeezed else (0, 0) for p in chosen]
    return Listing(
        source,
        np.array([p.image for p in chosen], dtype=str),
        np.array(sizes, int).reshape(-1, 2),
        np.asarray(boxes, float).reshape(-1, 4)[order],
        np.array([p.joints for p in chosen], float).reshape(-1, len(COCO), 2),
        np.array([p.visible for p in chosen], np.uint8).reshape(-1, len(COCO)),
        np.array([p.person_id for p in chosen], np.int64),
    )


def of_boxes(
    source: str, pictures: list[str], sizes: list[tuple[int, int]], boxes: list
) -> Listing:
    """People of whom only the box is known."""
    count = len(pictures)
    return Listing(
        source,
        np.array(pictures, dtype=str),
        np.array(sizes, int).reshape(-1, 2),
        np.array(boxes, float).reshape(-1, 4),
        np.zeros((count, len(COCO), 2)),
        np.zeros((count, len(COCO)), np.uint8),
        np.arange(count),
    )
