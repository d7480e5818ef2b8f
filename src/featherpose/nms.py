"""From raw predictions on detected boxes to results: HRNet's rescoring and the two OKS non-maximum suppressions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

MAX_DETECTIONS = 20  # of a picture, as COCO counts them
PAIRS = 1 << 15  # pairs of detections compared at once: their joints stay in the processor's cache
AT_ONCE = 1 << 16  # detections rescored or sorted
FIRST = 4  # joints that rule most pairs out


def rescore(box_score: np.ndarray, confidence: np.ndarray, least: float = 0.2) -> np.ndarray:
    """(M,) box score times the mean confidence of the joints above `least`; 0 where there is none, as in HRNet."""
    score = np.empty(len(box_score))
    for start in range(0, len(score), AT_ONCE):
        these = slice(start, start + AT_ONCE)
        counted = confidence[these] > least
        total = np.where(counted, confidence[these], 0.0).sum(axis=1)
        score[these] = box_score[these] * total / np.maximum(counted.sum(axis=1), 1)
    return score


def oks_nms(
    image_id: np.ndarray,
    keypoints: np.ndarray,
    score: np.ndarray,
    area: np.ndarray,
    sigmas: Sequence[float],
    threshold: float = 0.9,
) -> np.ndarray:
    """Indices of the detections that survive: by picture, then by falling score; equal scores in their order.

    The best detection stays and removes those of an OKS above `threshold` to it, and so on, in all pictures at once.
    `area` (M,) is that of the person; HRNet's scoring takes the whole crop's (`metrics.oks.OKS`).
    """
    spread = np.asarray(sigmas, np.float64)
    survivors = []
    for table in _pictures(image_id, score):
        alike = _overlaps(table, keypoints, area, spread, threshold) > threshold
        alive = table >= 0
        for rank in range(table.shape[1] - 1):
            alive[:, rank + 1 :] &= ~(alive[:, rank, None] & alike[:, rank, rank + 1 :])
        survivors.append(table[alive])
    kept = np.sort(_joined(survivors))
    return kept[by_picture(image_id[kept], score[kept])]


def soft_oks_nms(
    image_id: np.ndarray,
    keypoints: np.ndarray,
    score: np.ndarray,
    area: np.ndarray,
    sigmas: Sequence[float],
    threshold: float = 0.9,
    most: int = MAX_DETECTIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Soft suppression, HRNet's Gaussian one: overlapping detections lose score instead of going.

    Returns:
        indices of the `most` detections of each picture that come first, and the scores that they have left.
    """
    spread = np.asarray(sigmas, np.float64)
    survivors, scores = [], []
    for table in _pictures(image_id, score):
        decay = np.exp(-(_overlaps(table, keypoints, area, spread, None) ** 2) / threshold)
        rows = np.arange(len(table))
        left = np.where(table >= 0, score[table], -np.inf)
        for _ in range(min(most, table.shape[1])):
            best = left.argmax(axis=1)
            real = left[rows, best] > -np.inf
            survivors.append(table[rows, best][real])
            scores.append(left[rows, best][real])
            left[rows, best] = -np.inf
            left *= decay[rows, best]
    kept, left_over = _joined(survivors), np.concatenate([np.zeros(0), *scores])
    order = np.lexsort((-left_over, image_id[kept]))
    return kept[order], left_over[order]


def by_picture(image_id: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Indices by picture, then by falling score, equal scores in their order; sorted some pictures at a time."""
    order = np.argsort(image_id, kind="stable")
    ids = image_id[order]
    start = 0
    while start < len(ids):
        end = int(np.searchsorted(ids, ids[min(start + AT_ONCE, len(ids)) - 1], side="right"))
        some = order[start:end]
        order[start:end] = some[np.lexsort((-score[some], ids[start:end]))]
        start = end
    return order


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _pictures(image_id: np.ndarray, score: np.ndarray) -> Iterator[np.ndarray]:
    """Batches of pictures: the indices (P, D) of their detections by falling score, filled up with -1."""
    order = by_picture(image_id, score)
    _, start, count = np.unique(image_id[order], return_index=True, return_counts=True)
    by_count = np.argsort(count, kind="stable")
    at = 0
    while at < len(by_count):
        few = int(count[by_count[at]])
        similar = int(np.searchsorted(count[by_count], few + max(1, few // 16), side="right"))
        upto = min(similar, at + max(1, PAIRS // few**2))
        chosen = by_count[at:upto]
        step = np.arange(count[chosen].max())
        yield np.where(
            step < count[chosen, None],
            order[np.minimum(start[chosen, None] + step, len(order) - 1)],
            -1,
        )
        at = upto


def _overlaps(
    table: np.ndarray,
    keypoints: np.ndarray,
    area: np.ndarray,
    sigmas: np.ndarray,
    threshold: float | None,
) -> np.ndarray:
    """OKS between all detections of a picture (P, D, D), with the mean of both areas.

    With a threshold, pairs that cannot pass it whatever their remaining joints are keep 0.
    """
    variances = (sigmas * 2) ** 2
    upper = np.triu(np.ones((table.shape[1],) * 2, bool), k=1)
    picture, a, b = np.nonzero((table >= 0)[:, :, None] & (table >= 0)[:, None, :] & upper)
    one, other = table[picture, a], table[picture, b]
    size = (area[one] + area[other]) / 2 + np.spacing(1)
    if threshold is not None and len(sigmas) > FIRST:
        some = _terms(keypoints[:, :FIRST], one, other, variances[:FIRST], size).sum(axis=1)
        possible = (some + len(sigmas) - FIRST) / len(sigmas) > threshold - 1e-9
        picture, a, b, one, other, size = (v[possible] for v in (picture, a, b, one, other, size))
    oks = np.zeros((len(table), *upper.shape))
    value = _terms(keypoints, one, other, variances, size).sum(axis=1) / len(sigmas)
    oks[picture, a, b] = oks[picture, b, a] = value
    return oks


def _terms(
    keypoints: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    variances: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    offset = keypoints[one] - keypoints[other]
    squared = offset[..., 0] ** 2 + offset[..., 1] ** 2
    return np.exp(-(squared / variances / size[:, None] / 2))
