"""Measures of a pose that give wrong annotations away; readers leave people out by them, the doctor reports them."""

from __future__ import annotations

import numpy as np

from featherpose.person import bounds_of
from featherpose.skeletons import Skeleton


def torso_share(joints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Torso over the larger side of the joints' extent, for people (N, K, 2); NaN where either end is missing."""
    where, extent = _annotated(joints, visible)
    if skeleton.torso is None:
        return np.full(len(where), np.nan)
    first, second = skeleton.torso
    return np.linalg.norm(where[:, first] - where[:, second], axis=1) / extent


def sides_cosine(joints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Between the lines from right to left shoulder and from right to left hip; below 0 they point opposite ways.

    NaN where a line is missing, or too short to have a direction: 10% of the extent for shoulders, 6% for hips. A body
    can turn its shoulders by 90 degrees against its hips; clearly more means that left and right are mixed up.
    """
    where, extent = _annotated(joints, visible)
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    if not set(names) <= set(skeleton.joints):
        return np.full(len(where), np.nan)
    ends = [where[:, skeleton.index(name)] for name in names]
    shoulders, hips = ends[0] - ends[1], ends[2] - ends[3]
    across, below = np.linalg.norm(shoulders, axis=1), np.linalg.norm(hips, axis=1)
    clear = (across > 0.1 * extent) & (below > 0.06 * extent)
    return np.where(
        clear, (shoulders * hips).sum(axis=1) / np.maximum(across * below, 1e-9), np.nan
    )


def _annotated(joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints with NaN where not annotated, and the larger side of each person's extent."""
    seen = visible > 0
    low, high = bounds_of(joints, seen)
    extent = np.where(seen.any(axis=1), (high - low).max(axis=1), 0)
    return np.where(seen[..., None], joints, np.nan), np.maximum(extent, 1e-9)
