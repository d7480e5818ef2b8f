"""The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012): keypoints that neither tremble at rest nor lag in motion."""

from __future__ import annotations

import math

import numpy as np


class OneEuro:
    """One person's keypoints over time.

    Args:
        cutoff: in Hz, at rest: lower trembles less and lags more.
        speed: how much the cutoff rises with speed, per body height a second, so that it does not depend on how
            large a person is in the picture.
        speed_cutoff: in Hz, of the speed's own smoothing.
    """

    def __init__(self, cutoff: float = 1.0, speed: float = 8.0, speed_cutoff: float = 1.0) -> None:
        self.cutoff = cutoff
        self.speed = speed
        self.speed_cutoff = speed_cutoff
        self.last: np.ndarray | None = None
        self.velocity: np.ndarray | None = None

    def __call__(self, points: np.ndarray, seconds: float, size: float) -> np.ndarray:
        """Smoothed points (K, 2); `seconds` since the last call, `size` of the person in pixels."""
        points = np.asarray(points, dtype=np.float64)
        if self.last is None or self.velocity is None or seconds <= 0:
            self.last = points.copy()
            self.velocity = np.zeros_like(points)
            return points
        velocity = (points - self.last) / seconds
        self.velocity += _weight(self.speed_cutoff, seconds) * (velocity - self.velocity)
        speed = np.linalg.norm(self.velocity, axis=1, keepdims=True) / max(size, 1.0)
        self.last = self.last + _weight(self.cutoff + self.speed * speed, seconds) * (
            points - self.last
        )
        return self.last.copy()


def _weight(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    step = 2 * math.pi * cutoff * seconds
    return step / (step + 1)
