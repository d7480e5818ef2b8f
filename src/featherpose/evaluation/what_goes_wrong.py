"""A score taken apart: errors by kind, and parts by joint, size, occlusion and the pictures' rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featherpose.data.datamodule import PoseDataModule
from featherpose.evaluation import chances
from featherpose.evaluation.predictions import Predictions
from featherpose.files import replacing
from featherpose.metrics import errors
from featherpose.metrics.breakdown import Part, breakdown, kinds, part_of, write
from featherpose.metrics.collect import KeypointMetric
from featherpose.runs import wrong

TABLE, PICTURE, CHANCES = "errors.csv", "errors.png", "chances.png"


def what_goes_wrong(
    metric: KeypointMetric,
    data: PoseDataModule,
    mean: str | None,
    folder: Path,
    turned: Mapping[float, Predictions],
) -> dict[str, Any]:
    """For `metrics.json`; the table and the picture go to the folder. Of detected boxes nothing: they are nobody's.

    Args:
        metric: with the final output's keypoints.
        data: the people that it is of.
        mean: the protocol's.
        folder: of the evaluation.
        turned: what was predicted in pictures turned by so many degrees.
    """
    if data.val_people.boxes != "ground_truth":
        return {}
    kind = kinds(metric)
    if not (kind >= 0).any():
        return {}
    parts = [*breakdown(metric), *_by_rotation(metric, kind, data, mean, turned)]
    write(folder / TABLE, parts)
    with replacing(folder / PICTURE) as beside:
        drawn = wrong.figure(wrong.read(folder / TABLE), metric.main)
        drawn.savefig(beside, dpi=130, format="png")
    names = ("right", *errors.KINDS)
    counts = np.stack([(kind == number).sum(axis=0) for number in range(len(names))])  # (5, K)
    return {
        "errors": {
            "joints": {
                joint: dict(zip(names, map(int, each), strict=True))
                for joint, each in zip(data.skeleton.joints, counts.T, strict=True)
            },
            "gain": _gains(metric, kind, data, mean),
            "parts": [asdict(part) for part in parts],
        },
        **chances.of_score(metric, folder / CHANCES),
    }


def _gains(
    metric: KeypointMetric, kind: np.ndarray, data: PoseDataModule, mean: str | None
) -> dict[str, float]:
    """What the main score would gain if one kind of error alone were mended."""
    index, predicted, confidence = metric.collected()
    before = metric.compute()[metric.main]
    gains = {}
    for which, name in enumerate(errors.KINDS, start=1):
        better = errors.mended(predicted, metric.people(index), kind, which)
        gains[name] = _metric(data, mean, index, better, confidence).compute()[metric.main] - before
    return gains


def _by_rotation(
    metric: KeypointMetric,
    kind: np.ndarray,
    data: PoseDataModule,
    mean: str | None,
    turned: Mapping[float, Predictions],
) -> list[Part]:
    if not turned:
        return []
    parts = [part_of(metric, kind, "rotation", "0")]
    for angle, found in turned.items():
        other = _metric(data, mean, found.index, found.keypoints[-1], found.confidence[-1])
        parts.append(part_of(other, kinds(other), "rotation", f"{angle:g}"))
    return parts


def _metric(data: PoseDataModule, mean: str | None, *found: np.ndarray) -> KeypointMetric:
    metric = data.new_metric(mean)
    metric.update(*map(torch.from_numpy, found))
    return metric
