"""Poses as the package `supervision` holds them, for its annotators, zones and trackers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.pose import CLEAR, FoundPose

if TYPE_CHECKING:
    from supervision import KeyPoints


def to_supervision(people: Sequence[FoundPose], threshold: float = CLEAR) -> KeyPoints:
    """One `supervision.KeyPoints` of a picture's people.

    Joints of a confidence below `threshold` are not `visible`. `data` holds where each person was looked for
    (`box`: x, y, width, height) and, in videos, the person's number (`identity`).
    """
    try:
        from supervision import KeyPoints
    except ImportError as error:
        raise PoseError(
            "to_supervision needs supervision: pip install 'supervision>=0.29'."
        ) from error
    if not people:
        return KeyPoints.empty()
    confidence = np.stack([person.confidence for person in people]).astype(np.float32)  # (N, K)
    data = {"box": np.stack([person.box for person in people])}
    if all(person.identity is not None for person in people):
        data["identity"] = np.array([person.identity for person in people])
    return KeyPoints(
        xy=np.stack([person.keypoints for person in people]).astype(np.float32),  # (N, K, 2)
        class_id=np.zeros(len(people), int),
        keypoint_confidence=confidence,
        detection_confidence=np.array([person.score for person in people], np.float32),
        visible=confidence >= threshold,
        data=data,
    )
