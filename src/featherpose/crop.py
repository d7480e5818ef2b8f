"""Between picture and crop: the only place where crop geometry stands; training, scoring and prediction all use it.

The conventions are those of HRNet's protocol: `scale` is a box's width and height in units of 200 pixels with 1.25
padding in it, the side that is too short for the crop's aspect ratio grows, the centre maps to (width / 2, height / 2)
of the crop. Pixels count from 0 and an integer is a pixel's centre. All in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

import cv2
import numpy as np

PIXEL_STD = 200.0
PADDING = 1.25


def centre_and_scale(
    box_xywh: Sequence[float] | np.ndarray, padding: float = PADDING
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes' (..., 4) centre (..., 2) and padded scale (..., 2): the crop before its aspect ratio is fitted."""
    box = np.asarray(box_xywh, np.float64)
    corner, sides = box[..., :2], box[..., 2:]
    return corner + sides * 0.5, sides * (padding / PIXEL_STD)


def fit_aspect(scale: Sequence[float] | np.ndarray, size_wh: Sequence[float]) -> np.ndarray:
    """`scale` (..., 2) with its short side grown to the crop's aspect ratio."""
    sides = np.asarray(scale, np.float64)
    width, height = sides[..., 0], sides[..., 1]
    aspect = size_wh[0] / size_wh[1]
    return np.stack(
        [np.maximum(width, height * aspect), np.maximum(height, width / aspect)], axis=-1
    )


def turned(scale: Sequence[float] | np.ndarray, rotation: float) -> np.ndarray:
    """The `scale` (2,) in a turned picture: that of the ellipse in the box, so a quarter turn swaps sides."""
    width, height = np.asarray(scale, np.float64)
    c, s = cos(radians(rotation)), sin(radians(rotation))
    return np.hypot([width * c, width * s], [height * s, height * c])


def crop_matrix(
    centre: Sequence[float] | np.ndarray,
    scale: Sequence[float] | np.ndarray,
    size_wh: Sequence[int],
    rotation: float = 0.0,
    flip: bool = False,
) -> np.ndarray:
    """The (2, 3) matrix from picture to crop pixels; `rotation` in degrees turns the frame clockwise in the picture.

    With `flip` the picture is mirrored first, as HRNet does it, and then rotated: one matrix for all, so one warp.
    """
    width, height = size_wh
    zoom = width / (fit_aspect(scale, size_wh)[0] * PIXEL_STD)
    angle = radians(rotation)
    linear = zoom * np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    if flip:
        linear[:, 0] *= -1
    offset = np.array([width * 0.5, height * 0.5]) - linear @ np.asarray(centre, dtype=np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def upright_matrices(centre: np.ndarray, scale: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    """(N, 2, 3): `crop_matrix` of every upright crop, to the bit."""
    width, height = size_wh
    zoom = width / (fit_aspect(scale, size_wh)[:, 0] * PIXEL_STD)
    matrices = zoom[:, None, None] * np.array([[1.0, 0.0, 0.0], [-0.0, 1.0, 0.0]])
    matrices[:, :, 2] = np.array([width * 0.5, height * 0.5]) - zoom[:, None] * centre
    return matrices


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix of the way back."""
    (a, b, x), (c, d, y) = np.asarray(matrix, dtype=np.float64)
    determinant = a * d - b * c
    back = np.array([[d, -b], [-c, a]]) / determinant
    return np.concatenate([back, -back @ np.array([[x], [y]])], axis=1)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points (..., 2)."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def inside(points: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    """Which crop points (..., 2) lie on one of its pixels: the first one's area begins half a pixel before 0."""
    within = (points >= -0.5) & (points < np.asarray(size_wh) - 0.5)
    return within[..., 0] & within[..., 1]


def to_pictures(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Crop pixels (..., B, K, 2) in their pictures' coordinates, by each crop's matrix (B, 2, 3)."""
    matrices = np.asarray(matrices, dtype=np.float64)
    back = np.linalg.inv(matrices[:, :, :2])  # (B, 2, 2)
    offset = np.asarray(points, dtype=np.float64) - matrices[:, None, :, 2]
    return (offset[..., None, :] * back[:, None]).sum(axis=-1)


def split_channels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) as contiguous (3, H, W); cv2 takes the channels apart faster than numpy's strided copy."""
    out = np.empty((3, *image.shape[:2]), dtype=np.uint8)
    cv2.split(np.ascontiguousarray(image), list(out))
    return out


def cut(
    picture: np.ndarray, matrix: np.ndarray, size_wh: Sequence[int], origin: Sequence[int] = (0, 0)
) -> np.ndarray:
    """The crop (H, W, 3): one bilinear warp, black outside; `origin` is where `picture` lay in a larger one."""
    back = invert(matrix)
    back[:, 2] -= origin
    if (
        np.linalg.det(back[:, :2]) < 0
    ):  # mirrored: cv2 counts in 1/1024 px and rounds ties up, here they have to go down
        back[0, 2] -= 1 / 1024  # now the crop is that of the mirrored picture, bit for bit
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, back, (int(size_wh[0]), int(size_wh[1])), flags=flags)


def around(
    picture: np.ndarray, centre: np.ndarray, scale: np.ndarray, side: int, border: int = 0
) -> np.ndarray:
    """The square around a person, as a tile of `side` pixels; outside the picture all channels are `border`."""
    matrix = crop_matrix(centre, scale, (side, side))
    colour = (border, border, border)
    return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=colour)
