"""What networks give, in NumPy: heatmaps, or two vectors a joint. Each kind is turned back and decoded in its own way.

The arithmetic is that of `featherpose.heatmaps`, which does the same to tensors; tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from featherpose.errors import PoseError
from featherpose.protocol import DECODERS, Protocol

DARK_KERNEL = 11  # width of DARK's smoothing, for targets of sigma 2
FLOOR = 1e-10  # DARK takes the logarithm of heatmaps not below this

Points = tuple[np.ndarray, np.ndarray]  # (B, K, 2) crop pixels, (B, K) confidence


@dataclass(frozen=True)
class Heatmaps:
    """One map a joint; a pixel of it is `stride` crop pixels wide."""

    values: np.ndarray  # (B, K, h, w)
    stride: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def joints(self) -> int:
        return self.values.shape[1]

    def of_joints(self, order: Sequence[int]) -> Heatmaps:
        return Heatmaps(self.values[:, order], self.stride)

    def average_halves(self, flip_order: Sequence[int], protocol: Protocol) -> Heatmaps:
        """Of a batch whose second half are the mirrored crops of the first: the flip test's mean."""
        plain, mirrored = np.split(self.values, 2)
        back = flip_back(mirrored, flip_order, protocol.shifts(self.stride))
        return Heatmaps((plain + back) / 2, self.stride)

    def decode(self, how: str) -> Points:
        points, confidence = decode(self.values, how)
        return points * self.stride, confidence


@dataclass(frozen=True)
class Vectors:
    """Where each joint lies along x and along y, as RTMPose's heads say it: `bins` to a crop pixel."""

    x: np.ndarray  # (B, K, bins * W)
    y: np.ndarray  # (B, K, bins * H)
    bins: int = 2

    def __len__(self) -> int:
        return len(self.x)

    @property
    def joints(self) -> int:
        return self.x.shape[1]

    def of_joints(self, order: Sequence[int]) -> Vectors:
        return Vectors(self.x[:, order], self.y[:, order], self.bins)

    def average_halves(self, flip_order: Sequence[int], protocol: Protocol) -> Vectors:
        """As MMPose does it: nothing is moved, a bin is half a pixel only."""
        order = list(flip_order)
        x, mirrored_x = np.split(self.x, 2)
        y, mirrored_y = np.split(self.y, 2)
        return Vectors(
            (x + mirrored_x[:, order, ::-1]) / 2, (y + mirrored_y[:, order]) / 2, self.bins
        )

    def decode(self, how: str) -> Points:
        """The highest bins; `how` is a matter of heatmaps."""
        places = np.stack([self.x.argmax(axis=2), self.y.argmax(axis=2)], axis=2)
        confidence = np.minimum(self.x.max(axis=2), self.y.max(axis=2))
        return places.astype(np.float32) / self.bins, confidence


Output = Heatmaps | Vectors


def flip_back(heatmaps: np.ndarray, flip_order: Sequence[int], shift: bool) -> np.ndarray:
    """A mirrored picture's heatmaps (B, K, h, w) as those of the picture itself: see `heatmaps.flip_back`."""
    back = heatmaps[:, list(flip_order), :, ::-1]
    return np.concatenate([back[..., :1], back[..., :-1]], axis=3) if shift else back


def decode(heatmaps: np.ndarray, how: str = "quarter") -> Points:
    """Where each heatmap (B, K, h, w) has its joint, in heatmap pixels, and its peak: see `heatmaps.decode`."""
    if how not in DECODERS:
        raise PoseError(f"There is no decoder {how!r}; known: {', '.join(DECODERS)}.")
    if heatmaps.dtype not in (np.float32, np.float64):
        heatmaps = heatmaps.astype(np.float32)
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    place = flat.argmax(axis=2)  # (B, K)
    confidence = np.take_along_axis(flat, place[..., None], axis=2)[..., 0]
    place = place * (confidence > 0)
    width = heatmaps.shape[3]
    peak = np.stack([place % width, place // width], axis=2)
    if how == "argmax":
        return peak.astype(np.float32), confidence
    refine = _quarter if how == "quarter" else _dark
    return (peak + refine(heatmaps, peak, place)).astype(np.float32), confidence


def _quarter(heatmaps: np.ndarray, peak: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A quarter pixel towards the higher neighbour, along x and along y."""
    height, width = heatmaps.shape[2:]
    steps = np.array([1, -1, width, -width])
    neighbours = (place[..., None] + steps).clip(0, height * width - 1)  # (B, K, 4)
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    beside = np.take_along_axis(flat, neighbours, axis=2)
    slope = np.sign(beside[..., 0::2] - beside[..., 1::2])
    return np.where(_inside(peak, width, height, 1), slope, 0) * np.float32(0.25)


def _inside(peak: np.ndarray, width: int, height: int, margin: int) -> np.ndarray:
    """(B, K, 1): above 1 in both coordinates and `margin` below width and height, the references' conditions."""
    last = np.array([width - margin, height - margin])
    inside = (peak > 1) & (peak < last)
    return inside[..., :1] & inside[..., 1:]


def _dark(heatmaps: np.ndarray, peak: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One Newton step on the logarithm of the smoothed heatmap, of which only a patch around the peak is computed."""
    height, width = heatmaps.shape[2:]
    reach = DARK_KERNEL // 2 + 2
    padded = np.pad(heatmaps, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    offsets = np.arange(2 * reach + 1)
    batch, joint = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]
    rows = peak[..., 1, None, None] + offsets[:, None]  # (B, K, side, 1)
    columns = peak[..., 0, None, None] + offsets  # (B, K, 1, side)
    patch = padded[batch[..., None, None], joint[..., None, None], rows, columns]
    smoothing = _smoothing(len(offsets))
    log = np.log(np.maximum(smoothing @ patch.astype(np.float64) @ smoothing.T, FLOOR))
    # first and second derivatives at the middle of the 5 x 5 smoothed values
    dx = (log[..., 2, 3] - log[..., 2, 1]) / 2
    dy = (log[..., 3, 2] - log[..., 1, 2]) / 2
    dxx = (log[..., 2, 4] - 2 * log[..., 2, 2] + log[..., 2, 0]) / 4
    dyy = (log[..., 4, 2] - 2 * log[..., 2, 2] + log[..., 0, 2]) / 4
    dxy = (log[..., 3, 3] - log[..., 1, 3] - log[..., 3, 1] + log[..., 1, 1]) / 4
    determinant = (dxx * dyy - dxy**2)[..., None]
    solved = _inside(peak, width, height, 2) & (determinant != 0)
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=2)
    return np.divide(step, determinant, out=np.zeros_like(step), where=solved).astype(np.float32)


@lru_cache
def _smoothing(side: int) -> np.ndarray:
    """(5, side) matrix that smooths a patch's line to its five middle pixels; sigma as OpenCV derives it: 2 for 11."""
    sigma = 0.3 * ((DARK_KERNEL - 1) / 2 - 1) + 0.8
    kernel = np.array(
        [math.exp(-0.5 * ((i - DARK_KERNEL // 2) / sigma) ** 2) for i in range(DARK_KERNEL)]
    )
    matrix = np.zeros((5, side))
    for i in range(5):
        matrix[i, i : i + DARK_KERNEL] = kernel / kernel.sum()
    return matrix
