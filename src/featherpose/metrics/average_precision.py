"""COCO's ten AP/AR numbers for keypoints, those of pycocotools, ties included.

The matching runs over all pictures, thresholds and area ranges at once, one detection rank after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featherpose.intervals import Matches
from featherpose.metrics.similarity import Detections, GroundTruth, similarity
from featherpose.nms import MAX_DETECTIONS

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e5**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e5**2)}
NAMES = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)")
WIDTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, *(2**n for n in range(6, 31))])


def average_precision(
    truth: GroundTruth, found: Detections, sigmas: Sequence[float]
) -> dict[str, float]:
    """COCO's ten numbers, from 0 to 1; -1 where there is nothing to measure, as pycocotools says it.

    Args:
        truth: annotated persons; only those and the detections in `truth.images` count.
        found: detections; the best 20 of each picture count.
        sigmas: (K,) per-joint constants of the similarity.
    """
    return _summary(curves(truth, found, sigmas))


@dataclass(frozen=True)
class Curves:
    """What the ten numbers are made of, by area range and threshold; -1 where an area range has nobody."""

    precision: np.ndarray  # (A, T, 101) at `RECALLS`
    score: np.ndarray  # (A, T, 101) of the detection at which the recall is reached
    recall: np.ndarray  # (A, T) the highest


def curves(truth: GroundTruth, found: Detections, sigmas: Sequence[float]) -> Curves:
    """pycocotools' arrays of one category and 20 detections a picture, for `average_precision`'s arguments."""
    matched, excused, ignored, _, score = _matched(truth, found, sigmas)
    return _curves(matched, excused, (~ignored).sum(axis=1), score)


def matches(truth: GroundTruth, found: Detections, sigmas: Sequence[float]) -> Matches:
    """What the AP over all areas is made of, picture by picture."""
    matched, excused, ignored, image_id, _ = _matched(truth, found, sigmas)
    pictures = np.unique(truth.images)
    counting = truth.image_id[np.isin(truth.image_id, pictures)][~ignored[0]]
    return Matches(
        pictures=pictures,
        persons=np.bincount(np.searchsorted(pictures, counting), minlength=len(pictures)),
        place=np.searchsorted(pictures, image_id),
        right=matched[0] & ~excused[0],
        counted=~excused[0],
    )


def _matched(
    truth: GroundTruth, found: Detections, sigmas: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Matched and excused detections (A, T, M) by falling score, ignored persons (A, N), detections' pictures and
    scores (M,).
    """
    truth = truth[np.isin(truth.image_id, truth.images)]
    counting = np.flatnonzero(np.isin(found.image_id, truth.images))
    found = found[counting[best_of_each_picture(found.image_id[counting], found.score[counting])]]
    ignored = np.stack(
        [truth.ignore | (truth.area < low) | (truth.area > high) for low, high in AREAS.values()]
    )
    outside = np.stack([(found.area < low) | (found.area > high) for low, high in AREAS.values()])
    matched, excused = _match(truth, found, ignored, np.asarray(sigmas, np.float64))
    excused |= ~matched & outside[:, None]
    order = np.argsort(-found.score, kind="stable")
    matched, excused = matched[..., order], excused[..., order]
    return matched, excused, ignored, found.image_id[order], found.score[order]


def best_of_each_picture(
    image_id: np.ndarray, score: np.ndarray, most: int = MAX_DETECTIONS
) -> np.ndarray:
    """Indices sorted by picture, then by falling score (equal scores stay in order); at most so many of a picture."""
    order = np.lexsort((-score, image_id))
    ids = image_id[order]
    rank = np.arange(len(ids)) - np.searchsorted(ids, ids, side="left")
    return order[rank < most]


def _match(
    truth: GroundTruth, found: Detections, ignored: np.ndarray, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections have a partner, and which an ignored one, per area range and threshold: (A, T, M) each."""
    shape = (len(AREAS), len(THRESHOLDS), len(found))
    matched, excused = np.zeros(shape, bool), np.zeros(shape, bool)
    for persons, detections in _tables(truth.image_id, found.image_id):
        of, at = np.broadcast_arrays(persons[:, None, :], detections[:, :, None])
        real = (at >= 0) & (of >= 0)
        oks = np.full(real.shape, -1.0)
        oks[real] = similarity(truth, found.keypoints, of[real], at[real], sigmas)
        _match_table(truth, persons, detections, oks, ignored, matched, excused)
    return matched, excused


def _match_table(
    truth: GroundTruth,
    persons: np.ndarray,
    detections: np.ndarray,
    oks: np.ndarray,
    ignored: np.ndarray,
    matched: np.ndarray,
    excused: np.ndarray,
) -> None:
    """Greedy matching in pictures of about the same number of persons, best detections first.

    A detection takes the free person of the highest OKS, the last of equal ones; an ignored person only where no other
    reaches the threshold. Crowds stay free.
    """
    # Axes: A area ranges, T thresholds, P pictures, G persons in a picture, D detections in a picture
    width = persons.shape[1]  # G
    aside = ignored[:, None, persons]  # (A, 1, P, G)
    crowd = truth.crowd[persons]  # (P, G)
    counts = truth.person_id[persons] != 0  # pycocotools notes the partner's id, and 0 means none
    free = np.ones((len(AREAS), len(THRESHOLDS), *persons.shape), bool)  # (A, T, P, G)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None, None]  # (T, 1, 1)
    present = (detections >= 0).sum(axis=0)  # (D,): pictures with more than d detections come first
    for d, n in enumerate(present):
        # Who could be the partner of each picture's d-th detection, and who of them is not ignored
        candidate = free[:, :, :n] & (oks[:n, d] >= least)  # (A, T, n, G)
        proper = candidate & ~aside[:, :, :n]
        has_proper = proper.any(axis=-1)  # (A, T, n)
        allowed = np.where(has_proper[..., None], proper, candidate)
        # The highest OKS among them; turned around, so that the last of equal ones is found first
        value = np.where(allowed, oks[:n, d], -1.0)
        partner = width - 1 - value[..., ::-1].argmax(axis=-1)  # (A, T, n)
        # Note it, for the person and for the detection
        paired = candidate.any(axis=-1)
        a, t, p = np.nonzero(paired)
        g = partner[paired]
        free[a, t, p, g] = crowd[p, g]
        matched[a, t, detections[p, d]] = counts[p, g]
        excused[a, t, detections[p, d]] = ~has_proper[paired]


def _tables(
    truth_image: np.ndarray, found_image: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures with both persons and detections, in batches of similar numbers of persons.

    Gives the persons' (P, G) and the detections' (P, D) indices, -1 where a picture has fewer, pictures with more
    detections first. `found_image` is sorted.
    """
    by_picture = np.argsort(truth_image, kind="stable")
    pictures, start, count = np.unique(
        truth_image[by_picture], return_index=True, return_counts=True
    )
    detected, first, number = np.unique(found_image, return_index=True, return_counts=True)
    _, i, j = np.intersect1d(pictures, detected, assume_unique=True, return_indices=True)
    start = start[i]
    count = count[i]
    first = first[j]
    number = number[j]
    width = WIDTHS[np.searchsorted(WIDTHS, count)]
    for each in np.unique(width):
        chosen = np.flatnonzero(width == each)
        chosen = chosen[np.argsort(-number[chosen], kind="stable")]
        persons = _ranges(start[chosen], count[chosen])
        yield (
            np.where(persons >= 0, by_picture[persons], -1),
            _ranges(first[chosen], number[chosen]),
        )


def _ranges(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Rows start, start + 1, ... of `count` numbers, filled up with -1."""
    step = np.arange(count.max())
    return np.where(step < count[:, None], start[:, None] + step, -1)


def _curves(
    matched: np.ndarray, excused: np.ndarray, persons: np.ndarray, score: np.ndarray
) -> Curves:
    areas, thresholds, detections = matched.shape
    precision = np.zeros((areas, thresholds, len(RECALLS)))
    reached_at = np.zeros_like(precision)
    recall = np.zeros((areas, thresholds))
    for area in range(areas):
        if persons[area] == 0:
            precision[area], reached_at[area], recall[area] = -1, -1, -1
            continue
        if not detections:
            continue
        right = np.cumsum(matched[area] & ~excused[area], axis=1, dtype=np.float64)
        wrong = np.cumsum(~matched[area] & ~excused[area], axis=1, dtype=np.float64)
        share = right / persons[area]
        exact = right / (wrong + right + np.spacing(1))
        best_from_here = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        recall[area] = share[:, -1]
        for threshold in range(thresholds):
            place = np.searchsorted(share[threshold], RECALLS, side="left")
            reached = place < detections
            precision[area, threshold, reached] = best_from_here[threshold, place[reached]]
            reached_at[area, threshold, reached] = score[place[reached]]
    return Curves(precision, reached_at, recall)


def _summary(found: Curves) -> dict[str, float]:
    at = {50: 0, 75: 5}

    def ten(values: np.ndarray) -> list[float]:
        parts = [values[0], values[0, at[50]], values[0, at[75]], values[1], values[2]]
        return [
            float(np.mean(part[part > -1])) if (part > -1).any() else -1.0
            for part in map(np.atleast_1d, parts)
        ]

    return dict(zip(NAMES, ten(found.precision) + ten(found.recall), strict=True))
