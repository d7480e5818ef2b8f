"""How far off each joint is in the picture's pixels: what a laboratory asks for, beside scores in shares of a size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.pck import distances

PERCENTILES = (50, 75, 90, 95)


@dataclass(frozen=True)
class PixelError:
    """Of one joint, or of all: how many were annotated, and by how many pixels the network misses them."""

    joint: str
    joints: int
    mean: float
    p50: float
    p75: float
    p90: float
    p95: float


def pixel_errors(metric: KeypointMetric) -> list[PixelError]:
    """All scored joints together, then each that anybody has; of people in annotated boxes."""
    index, predicted, _ = metric.collected()
    persons = metric.people(index)
    errors = distances(predicted, persons.joints, persons.visible, 1.0)
    names, scored = metric.skeleton.joints, list(metric.skeleton.scored)
    rows = [_row("all", errors[:, scored]), *map(_row, names, errors.T)]
    return [row for row in rows if row.joints]


def _row(name: str, errors: np.ndarray) -> PixelError:
    known = errors[~np.isnan(errors)]
    if not len(known):
        return PixelError(name, 0, *[float("nan")] * 5)
    # an error that occurred, never between two: a joint that was not predicted is infinitely far off
    found = np.percentile(known, PERCENTILES, method="inverted_cdf")
    return PixelError(name, len(known), float(known.mean()), *found.tolist())
