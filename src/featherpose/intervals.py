"""How sure a score is: its interval, and that of the difference of two, by a bootstrap over pictures.

Pictures are drawn with replacement, all people of a picture together. A draw is a weight per picture, the same for all
scores of the same pictures, so a difference is paired. Everything is in percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError
from featherpose.files import replacing

DRAWS, SEED = 1000, 0
# Weights of draws that stay in memory; of more pictures they are drawn again each time
KEPT = 1 << 24
BOUNDS = (2.5, 97.5)  # percentiles: 95% lie between
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Counts:
    """What a PCK is made of: right and annotated joints of each picture."""

    pictures: np.ndarray  # (P,) their numbers, rising
    right: np.ndarray  # (P, K)
    annotated: np.ndarray  # (P, K)
    weighted: bool  # the mean over joints

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """(D,) scores of draws (D, P); the unweighted mean leaves out joints that a draw has not."""
        right, annotated = weights @ self.right, weights @ self.annotated  # (D, K)
        if self.weighted:
            return 100 * right.sum(axis=1) / np.maximum(annotated.sum(axis=1), 1)
        joints = np.where(annotated > 0, right / np.maximum(annotated, 1), np.nan)
        return 100 * np.nanmean(joints, axis=1)


@dataclass(frozen=True)
class Matches:
    """What an AP is made of: detections by falling score, and which of them are right at each threshold."""

    pictures: np.ndarray  # (P,) their numbers, rising
    persons: np.ndarray  # (P,) annotated persons that count
    place: np.ndarray  # (M,) each detection's picture, as an index into `pictures`
    right: np.ndarray  # (T, M) bool
    counted: np.ndarray  # (T, M) bool: right or wrong, not excused

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """(D,) APs of draws (D, P): precision at 101 recalls, mean over thresholds."""
        hits = [np.flatnonzero(row) for row in self.right]
        return np.array([100 * self._score(weight, hits) for weight in weights])

    def _score(self, weight: np.ndarray, hits: Sequence[np.ndarray]) -> float:
        persons = weight @ self.persons
        if not persons:
            return float("nan")
        each = weight[self.place].astype(np.float64)
        total = 0.0
        for counted, hit in zip(self.counted, hits, strict=True):
            right = np.cumsum(each[hit])
            # precision can only rise, and recall only grow, at a detection that is right
            precision = right / np.maximum(np.cumsum(each * counted)[hit], 1e-9)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            place = np.searchsorted(right / persons, RECALLS, side="left")
            total += best[place[place < len(best)]].sum() / len(RECALLS)
        return total / len(hits)


Evidence = Counts | Matches


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of two, with the bounds that 95% of the draws lie between."""

    value: float
    low: float
    high: float

    @property
    def noise(self) -> bool:
        """Whether a difference may be none."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    def judged(self) -> str:
        """As a table's cell says it."""
        return f"{self}{' noise' if self.noise else ''}"


def interval(evidence: Evidence) -> Interval:
    """A score and its 95% interval."""
    return _interval(_value(evidence), _drawn(evidence))


def difference(first: Sequence[Evidence], second: Sequence[Evidence]) -> Interval | None:
    """Second minus first, each the mean of its runs; None where they are not of the same pictures."""
    all_of_them = [*first, *second]
    pictures = all_of_them[0].pictures
    if not all(np.array_equal(each.pictures, pictures) for each in all_of_them):
        return None
    value = np.mean([_value(e) for e in second]) - np.mean([_value(e) for e in first])
    drawn = [np.mean([_drawn(e) for e in side], axis=0) for side in (first, second)]
    return _interval(float(value), drawn[1] - drawn[0])


def _value(evidence: Evidence) -> float:
    return float(evidence.scores(np.ones((1, len(evidence.pictures))))[0])


def _interval(value: float, draws: np.ndarray) -> Interval:
    low, high = np.nanpercentile(draws, BOUNDS)
    return Interval(value, float(low), float(high))


def _drawn(evidence: Evidence) -> np.ndarray:
    """(D,) scores."""
    pictures = len(evidence.pictures)
    weights = _kept(pictures) if DRAWS * pictures <= KEPT else _weights(pictures)
    return np.concatenate([evidence.scores(some) for some in weights])


def _weights(pictures: int) -> Iterator[np.ndarray]:
    """(d, P) of some draws after others: how often each picture is drawn."""
    rng = np.random.default_rng(SEED)
    step = max(1, KEPT // max(pictures, 1) // 8)
    for start in range(0, DRAWS, step):
        drawn = rng.integers(0, pictures, (min(step, DRAWS - start), pictures))
        yield np.stack([np.bincount(row, minlength=pictures) for row in drawn]).astype(np.float32)


@lru_cache(maxsize=2)
def _kept(pictures: int) -> list[np.ndarray]:
    return list(_weights(pictures))


def save(path: Path, evidence: Evidence) -> None:
    with replacing(path) as beside:
        np.savez_compressed(beside, **vars(evidence))


def load(path: Path) -> Evidence | None:
    """What `save` wrote; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        kind = Matches if "place" in found else Counts
        if kind is Counts:
            found["weighted"] = bool(found["weighted"])
        return kind(**found)
    except Exception as error:  # whatever zipfile, zlib and NumPy raise on a damaged file
        raise PoseError(f"{path} can't be read ({error}).") from error
