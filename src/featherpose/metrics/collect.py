"""What every keypoint metric shares: it keeps predictions until the end and counts each person once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import Self

from featherpose.intervals import Evidence
from featherpose.metrics.errors import Radii
from featherpose.person import Person, Persons
from featherpose.skeletons import Skeleton


class KeypointMetric(Metric):
    """Keeps (index, keypoints, confidence) of a dataset's persons; subclasses score them in `compute`.

    Several processes pad the dataset to equal lengths, so a person may arrive twice: the first counts.
    The states are flat, so that a process that saw nothing can still be gathered with the others.
    """

    full_state_update = False
    higher_is_better = True
    main: str
    mean: str | None = None  # over joints, where the measure has a choice of it

    def __init__(self, persons: Iterable[Person], skeleton: Skeleton) -> None:
        super().__init__()
        self.persons = Persons.of(persons)
        self.skeleton = skeleton
        self.index: list[Tensor] | Tensor
        self.keypoints: list[Tensor] | Tensor
        self.confidence: list[Tensor] | Tensor
        for state in ("index", "keypoints", "confidence"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, keypoints: Tensor, confidence: Tensor) -> None:
        """Adds predictions: index (B,) into the persons, keypoints (B, K, 2) in the picture, confidence (B, K)."""
        for state, values in (
            ("index", index),
            ("keypoints", keypoints),
            ("confidence", confidence),
        ):
            getattr(self, state).append(values.detach().flatten())

    def on_this_rank(self) -> Self:
        """Its predictions are not gathered from other processes."""
        self.distributed_available_fn = lambda: False
        return self

    def by_joint(self) -> tuple[np.ndarray, np.ndarray]:
        """Each joint's score in percent and how many persons have it annotated: (K,) each."""
        raise NotImplementedError

    def by_person(self) -> tuple[np.ndarray, np.ndarray]:
        """Index (N,) and error from 0 to 1 of the persons that can be measured."""
        raise NotImplementedError

    def evidence(self) -> Evidence:
        """What the main score is made of, picture by picture: for its interval."""
        raise NotImplementedError

    def radii(self, index: np.ndarray) -> Radii:
        """How far the joints of the persons at `index` may be off, for what `metrics.errors` calls them."""
        raise NotImplementedError

    def part(self, chosen: np.ndarray) -> float:
        """The main score of some joints alone: `chosen` (N, K) of the collected persons, in annotated boxes."""
        raise NotImplementedError

    def collected(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """index (N,) in rising order without repetitions, keypoints (N, K, 2) and confidence (N, K), in float64."""
        if not len(self.index):
            return (
                np.zeros(0, np.int64),
                np.zeros((0, len(self.skeleton), 2)),
                np.zeros((0, len(self.skeleton))),
            )
        index = _whole(self.index, np.int64)
        keypoints = _whole(self.keypoints, np.float64).reshape(len(index), -1, 2)
        confidence = _whole(self.confidence, np.float64).reshape(len(index), -1)
        if (np.diff(index) > 0).all():
            return index, keypoints, confidence  # not copied: they may be a million people's
        index, first = np.unique(index, return_index=True)
        return index, keypoints[first], confidence[first]

    def people(self, index: np.ndarray) -> Persons:
        """The persons at `collected`'s index."""
        return self.persons if len(index) == len(self.persons) else self.persons[index]


def _whole(state: list[Tensor] | Tensor, kind: type) -> np.ndarray:
    """A state in one piece, which from then on it is."""
    if isinstance(state, list) and len(state) > 1:
        state[:] = [torch.cat(state)]
    values = state[0] if isinstance(state, list) else state
    values = values.float() if values.dtype == torch.bfloat16 else values
    return values.cpu().numpy().astype(kind, copy=False)
