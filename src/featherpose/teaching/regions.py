"""Each person's surroundings as a small upright picture: what packs hold and the teacher sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from featherpose.crop import PIXEL_STD, centre_and_scale, fit_aspect
from featherpose.errors import PoseError
from featherpose.teaching.listing import Listing

CROP = (192, 256)  # width, height of the plain crop inside a region
MARGIN = 1.25  # of a region around that crop, for rotation and scale: 240 x 320
QUALITY = 70  # WebP's; 6 KB a person


@dataclass(frozen=True)
class Region:
    data: bytes
    size: tuple[int, int]  # width, height
    zoom: np.ndarray  # (2,) a picture's point is at point * zoom + shift of the region
    shift: np.ndarray  # (2,)


def regions(people: Listing) -> Iterator[Region]:
    """In the listing's order; a picture whose people follow one another is decoded once."""
    picture, opened = np.zeros((0, 0, 3), np.uint8), None
    for path, size, box in zip(people.picture, people.size, people.box, strict=True):
        if opened != (path, *size):
            picture, opened = open_picture(str(path), size), (path, *size)
        yield cut_region(picture, box)


def open_picture(path: str, size: np.ndarray) -> np.ndarray:
    """BGR, lying as stored; squeezed pictures brought to `size` (width, height), 0 for as it is."""
    picture = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise PoseError(f"The picture {path} is missing or can't be decoded.")
    if size[0]:
        picture = cv2.resize(picture, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR)
    return picture


def cut_region(picture: np.ndarray, box: np.ndarray) -> Region:
    """Shrunk so that the crop is `CROP` wide, never enlarged; what lies outside the picture is not stored."""
    centre, scale = centre_and_scale(box)
    frame = fit_aspect(scale, CROP) * PIXEL_STD
    zoom = min(1.0, CROP[0] / frame[0])
    limit = np.array([picture.shape[1], picture.shape[0]])
    low = np.clip(np.floor(centre - frame * MARGIN / 2), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(centre + frame * MARGIN / 2), low + 1, limit).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]]
    size = np.maximum(np.round((high - low) * zoom), 1).astype(int)
    if zoom < 1:
        part = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    exact = size / (high - low)
    encoded = cv2.imencode(".webp", part, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
    # pixels are counted by their centres: (point - low + 0.5) * zoom - 0.5
    return Region(encoded, (int(size[0]), int(size[1])), exact, (0.5 - low) * exact - 0.5)
