"""Networks over a dataset: everybody's keypoints, and a score on a sample of people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError
from featherpose.evaluation.predictions import Predictions
from featherpose.inference.estimator import Estimator
from featherpose.intervals import Evidence, Interval, difference, interval
from featherpose.person import spread

BATCH = 8  # people at a time of a sample
DECIMALS = 3  # of coordinates in pixels: what is written is what is scored


def predict(
    estimator: Estimator, batches: Iterable[Mapping[str, Tensor]], quiet: bool = False
) -> Predictions:
    """Everybody's keypoints of every output. Only coordinates are kept, so memory does not grow with the pictures."""
    index = []
    keypoints = []
    confidence = []
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=quiet) as progress:
        for batch in progress.track(batches):
            points, peaks = estimator.in_pictures(batch["image"].numpy(), batch["matrix"].numpy())
            index.append(batch["index"].numpy())
            keypoints.append(points)
            confidence.append(peaks)
    if not index:
        raise PoseError("There is nobody to predict on.")
    return Predictions(
        np.concatenate(index),
        np.concatenate(keypoints, axis=1).round(DECIMALS),
        np.concatenate(confidence, axis=1).astype(np.float64),
    )


@dataclass(frozen=True)
class SampleScore:
    """The dataset's main score of some people."""

    name: str
    score: float
    persons: int
    evidence: Evidence | None = field(default=None, compare=False, repr=False)

    @cached_property
    def interval(self) -> Interval | None:
        """The score with its 95% interval over pictures."""
        return interval(self.evidence) if self.evidence else None

    def against(self, other: SampleScore) -> Interval | None:
        """This score minus another's, paired by pictures; None where they are not of the same."""
        if not self.evidence or not other.evidence or self.name != other.name:
            return None
        return difference([other.evidence], [self.evidence])


def score_sample(estimator: Estimator, data: PoseDataModule, most: int) -> SampleScore:
    """On up to `most` validation people spread over the set."""
    persons = data.val_people.persons
    chosen = spread(len(persons), most)
    picked = replace(data.val_people, persons=persons[chosen])
    dataset = CropDataset(picked, data.load, data.skeleton, data.input_size)
    found = predict(estimator, DataLoader(dataset, batch_size=BATCH), quiet=True)
    metric = data.new_metric(estimator.protocol.mean, picked.persons)
    last = (found.index, found.keypoints[-1], found.confidence[-1])
    metric.update(*map(torch.from_numpy, last))
    score = float(metric.compute()[metric.main])
    return SampleScore(metric.main, score, len(chosen), metric.evidence())
