"""The further sets that a network is scored on (`data.also`): each score lies beside the run's own, for tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from featherpose import intervals
from featherpose.metrics.breakdown import breakdown, table_of
from featherpose.metrics.collect import KeypointMetric
from featherpose.runs.record import RunRecord
from featherpose.runs.score import Score
from featherpose.training.module import Gathered, PoseModule


def keep(folder: Path, record: RunRecord, module: PoseModule, data: Any) -> list[Score]:
    """Of the last validation, which was the best checkpoint's."""
    sets = getattr(data, "also", {}).values()
    return [
        _keep(folder, record, module, part, found)
        for part, found in zip(sets, module.last_also, strict=True)
    ]


def _keep(folder: Path, record: RunRecord, module: PoseModule, data: Any, found: Gathered) -> Score:
    metric = metric_of(module, data, found)
    values, evidence = metric.compute(), metric.evidence()
    bounds = intervals.interval(evidence)
    score = Score(
        metric=metric.main,
        values={"score": values[metric.main], **values},
        data=data.scored_on,
        persons=len(np.unique(found[0])),
        input_size=list(data.input_size),
        protocol=data.stamp(module.protocol, module.stride, metric),
        precision=record.precision,
        epoch=record.best.epoch if record.best else None,
        interval=[bounds.low, bounds.high],
    )
    score.write(folder, evidence, table_of(breakdown(metric)))
    return score


def metric_of(module: PoseModule, data: Any, found: Gathered) -> KeypointMetric:
    """With the final output's keypoints of all processes."""
    index, keypoints, confidence = found
    metric = data.new_metric(module.protocol.mean).on_this_rank()
    metric.update(*map(torch.as_tensor, (index, keypoints[-1], confidence[-1])))
    return metric
