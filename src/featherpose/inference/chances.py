"""From a joint's confidence, the height of a peak, to the chance that the joint is near its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.settings import number, numbers, whole


@dataclass(frozen=True)
class Chances:
    """A rising curve for each joint, and what it was worth on people that it was not fitted on."""

    peaks: tuple[tuple[float, ...], ...]  # (K, n) confidences, rising; n may differ by joint
    values: tuple[tuple[float, ...], ...]  # (K, n) chances at those, never falling
    near: str  # what counts as near: OKS 0.5, PCKh@0.5, ...
    flip: bool  # the confidences are the flip test's
    people: int  # fitted on
    judged: int  # other people, on whom these four were found:
    error_before: float  # expected calibration error of the confidence itself
    error_after: float  # of the chance
    threshold: float  # confidence from which on joints are kept, for the highest F1
    f1: float

    def __call__(self, confidence: np.ndarray) -> np.ndarray:
        """Chances (..., K) of confidences (..., K); beyond the curve's ends its last values."""
        found = np.empty(confidence.shape)
        for joint, (peaks, values) in enumerate(zip(self.peaks, self.values, strict=True)):
            found[..., joint] = np.interp(confidence[..., joint], peaks, values)
        return found

    @classmethod
    def of(cls, given: dict[str, Any], joints: int) -> Chances:
        """As a file says it, in the ranges that predicting relies on."""
        peaks = _curves("peaks", given["peaks"])
        values = _curves("values", given["values"])
        if [len(each) for each in peaks] != [len(each) for each in values] or len(peaks) != joints:
            raise PoseError(f"its chances are not {joints} curves of peaks and values")
        if not all(each[0] >= 0 and each[-1] <= 1 for each in values):
            raise PoseError("its chances are not from 0 to 1")
        kept = {key: number(key, given[key]) for key in _NUMBERS}
        people = {key: whole(key, given[key], 1) for key in ("people", "judged")}
        near, flip = str(given["near"])[:40], bool(given["flip"])
        return cls(peaks=peaks, values=values, near=near, flip=flip, **people, **kept)


_NUMBERS = ("error_before", "error_after", "threshold", "f1")


def _curves(key: str, given: Sequence[Any]) -> tuple[tuple[float, ...], ...]:
    curves = tuple(tuple(numbers(key, each)) for each in given)
    for curve in curves:
        if not curve or any(b < a for a, b in pairwise(curve)):
            raise PoseError(f"the {key} of its chances do not rise")
    return curves
