"""A run's `predictions/val.npz`: every stage's keypoints beside the annotated ones, which samples and reports read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from featherpose.files import replacing
from featherpose.person import Persons


def keep_predictions(
    path: Path, index: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, persons: Persons
) -> dict[str, np.ndarray]:
    """What is written, by name.

    Args:
        path: of the file.
        index: (N,) which of the persons.
        keypoints: (S, N, K, 2) of all S outputs, in picture coordinates from 0.
        confidence: (S, N, K).
        persons: all of the split.
    """
    arrays: dict[str, Any] = {
        "index": index,
        "keypoints": keypoints,
        "confidence": confidence,
        "joints": persons.joints[index],
        "visible": persons.visible[index],
        "person_id": persons.person_id[index],
        "picture_size": persons.picture_size[index],
        "image": np.array(list(persons.pictures))[persons.picture[index]],
    }
    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)
    return arrays
