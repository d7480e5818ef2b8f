"""The one record that every reader gives: a person in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

SC_BIAS = 0.6  # MPII's head size is this part of its head box's diagonal


@dataclass(frozen=True, slots=True)
class Person:
    """One annotated person, in picture coordinates (pixels from 0; the centre of the first pixel is 0, 0).

    `visible` per joint: 0 not annotated (its coordinates mean nothing), 1 annotated but occluded, 2 visible.
    `centre` and `scale` are the crop before the aspect ratio is fitted: `scale` is its width and height in units of
    200 pixels with the protocol's padding already in.
    """

    image: str  # the picture's path, or whatever the dataset's `load` understands
    joints: np.ndarray  # (K, 2) float64
    visible: np.ndarray  # (K,) uint8
    centre: np.ndarray  # (2,) float64
    scale: np.ndarray  # (2,) float64
    box: np.ndarray  # (4,) float64: x, y, width, height
    image_id: int
    person_id: int
    area: float = float("nan")  # COCO's segment area, for OKS
    head_size: float = float("nan")  # MPII's head size with SC_BIAS already in, for PCKh
    score: float = 1.0  # of a detected box; 1 for ground truth
    picture_size: tuple[int, int] | None = None  # width, height where the annotation tells it
    image_name: str | None = None  # the file's own id of the picture, where that is text


def spread(count: int, most: int) -> np.ndarray:
    """Up to `most` of `count` places, from the first to the last, evenly apart."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


@dataclass
class People:
    """What a reader found, what it left out and why, and which files (with their SHA-256) it read."""

    persons: list[Person]
    skipped: dict[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    boxes: str = "ground_truth"  # or "detections": where they come from
