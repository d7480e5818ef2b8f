"""COCO's ten AP/AR numbers for keypoints, those of pycocotools, ties included.

The matching runs over many pictures and all thresholds and area ranges at once, one detection rank after the other, and
looks only at pairs that are near enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherpose.intervals import Matches
from featherpose.metrics.pairs import blocks, runs
from featherpose.metrics.similarity import Detections, GroundTruth, may_reach, similarity
from featherpose.nms import MAX_DETECTIONS, by_picture

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e5**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e5**2)}
NAMES = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)")
LEAST = np.minimum(THRESHOLDS, 1 - 1e-10)  # pycocotools takes no more
LEVELS = np.arange(len(LEAST))[:, None]
WRONG, RIGHT, EXCUSED = range(3)  # a detection; excused ones neither help nor harm


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
    judged = _judged(truth, found, sigmas)
    shape = (len(AREAS), len(THRESHOLDS), len(RECALLS))
    precision, score = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full(shape[:2], -1.0)
    persons = (~judged.ignored).sum(axis=1)
    for area in np.flatnonzero(persons):
        for t, verdict in enumerate(judged.verdict[area]):
            precision[area, t], score[area, t], recall[area, t] = _curve(
                verdict[judged.order], judged.score, int(persons[area])
            )
    return Curves(precision, score, recall)


def matches(truth: GroundTruth, found: Detections, sigmas: Sequence[float]) -> Matches:
    """What the AP over all areas is made of, picture by picture."""
    judged = _judged(truth, found, sigmas)
    pictures = np.unique(truth.images)
    counting = judged.person_image[~judged.ignored[0]]
    verdict = judged.verdict[0][:, judged.order]
    return Matches(
        pictures=pictures,
        persons=np.bincount(np.searchsorted(pictures, counting), minlength=len(pictures)),
        place=np.searchsorted(pictures, judged.image_id[judged.order]),
        right=verdict == RIGHT,
        counted=verdict != EXCUSED,
    )


@dataclass(frozen=True)
class _Judged:
    """What became of the M detections that count, for A area ranges and T thresholds; and of the N persons."""

    verdict: np.ndarray  # (A, T, M) uint8, picture by picture
    order: np.ndarray  # (M,) by falling score
    score: np.ndarray  # (M,) in that order
    image_id: np.ndarray  # (M,) picture by picture
    ignored: np.ndarray  # (A, N) bool
    person_image: np.ndarray  # (N,)


def _judged(truth: GroundTruth, found: Detections, sigmas: Sequence[float]) -> _Judged:
    listed = np.isin(truth.image_id, truth.images)
    truth = truth if listed.all() else truth[listed]
    found = _counting(truth, found)
    ignored = np.stack(
        [truth.ignore | (truth.area < low) | (truth.area > high) for low, high in AREAS.values()]
    )
    verdict = np.full((len(AREAS), len(THRESHOLDS), len(found)), WRONG, np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):  # a joint at infinity is only far away
        _judge(truth, found, ignored, np.asarray(sigmas, np.float64), verdict)
    for (low, high), each in zip(AREAS.values(), verdict, strict=True):
        each[(each == WRONG) & ((found.area < low) | (found.area > high))] = EXCUSED
    order = np.argsort(-found.score, kind="stable")
    return _Judged(verdict, order, found.score[order], found.image_id, ignored, truth.image_id)


def _counting(truth: GroundTruth, found: Detections) -> Detections:
    """The best of each picture that is listed, picture by picture. Those that are so already are not copied."""
    listed = np.flatnonzero(np.isin(found.image_id, truth.images))
    best = listed[best_of_each_picture(found.image_id[listed], found.score[listed])]
    same = len(best) == len(found) and bool((np.diff(best) == 1).all())
    return found if same and found.row is not None else found[best]


def best_of_each_picture(
    image_id: np.ndarray, score: np.ndarray, most: int = MAX_DETECTIONS
) -> np.ndarray:
    """Indices sorted by picture, then by falling score (equal scores stay in order); at most so many of a picture."""
    order = by_picture(image_id, score)
    ids = image_id[order]
    rank = np.arange(len(ids)) - np.searchsorted(ids, ids, side="left")
    return order[rank < most]


def _judge(
    truth: GroundTruth,
    found: Detections,
    ignored: np.ndarray,
    sigmas: np.ndarray,
    verdict: np.ndarray,
) -> None:
    """Looks for partners; `found` is sorted by picture, then by falling score."""
    for block in blocks(found.image_id, truth.image_id):
        people, points = truth[block.other], found.keypoints[found.rows[block.one]]
        at, of = block.at, block.of
        near = may_reach(LEAST[0], people, points, of, at, sigmas)
        at, of = at[near], of[near]
        oks = similarity(people, points, of, at, sigmas)
        near = np.flatnonzero(oks >= LEAST[0])
        # The best detections first; the persons of one by rising OKS, of equal ones the last is the last
        pictures = found.image_id[block.one]
        place = np.arange(len(pictures)) - np.searchsorted(pictures, pictures, side="left")
        near = near[np.lexsort((of[near], oks[near], at[near], place[at[near]]))]
        pairs = _Pairs(place[at[near]], at[near], of[near], oks[near])
        # Whoever is near a detection that is near others too has to be matched in turn
        several = np.bincount(pairs.at)[pairs.at] > 1
        contested = np.isin(pairs.of, pairs.of[several])
        aside = ignored[:, block.other]
        _match_alone(people, aside, pairs[~contested], verdict[:, :, block.one])
        _match(people, aside, pairs[contested], verdict[:, :, block.one])


@dataclass(frozen=True)
class _Pairs:
    """Detections and persons near each other, best detections first; the partner that one likes most is its last."""

    rank: np.ndarray  # (P,) of the detection in its picture
    at: np.ndarray  # (P,) detection
    of: np.ndarray  # (P,) person
    oks: np.ndarray  # (P,)

    def __getitem__(self, chosen: np.ndarray | slice) -> _Pairs:
        return _Pairs(self.rank[chosen], self.at[chosen], self.of[chosen], self.oks[chosen])


def _match_alone(
    truth: GroundTruth, ignored: np.ndarray, pairs: _Pairs, verdict: np.ndarray
) -> None:
    """What `_match` does where no detection has a choice: the first takes the person, up to the thresholds it reaches,
    those after it have what is above.
    """
    pairs = pairs[np.argsort(pairs.of, kind="stable")]
    reached = np.searchsorted(LEAST, pairs.oks, side="right")  # (P,) so many thresholds
    above = len(LEAST) + 1
    person = np.cumsum(np.diff(pairs.of, prepend=-1) > 0) * above
    highest = np.maximum.accumulate(person + reached)
    taken = (
        np.concatenate([[0], highest[:-1]])[: len(person)] - person
    )  # below 0: no detection before
    taken[truth.crowd[pairs.of]] = 0
    t, p = np.nonzero((taken <= LEVELS) & (reached > LEVELS))
    right = np.where(truth.person_id[pairs.of] != 0, RIGHT, WRONG)
    verdict[:, t, pairs.at[p]] = np.where(ignored[:, pairs.of], EXCUSED, right)[:, p]


def _match(truth: GroundTruth, ignored: np.ndarray, pairs: _Pairs, verdict: np.ndarray) -> None:
    """Greedy matching in all pictures at once, one rank of detections after the other.

    A detection takes the free person of the highest OKS, the last of equal ones; an ignored person only where no other
    reaches the threshold. Crowds stay free.
    """
    counts = truth.person_id != 0  # pycocotools notes the partner's id, and 0 means none
    free = np.ones((len(AREAS), len(THRESHOLDS), len(truth)), bool)
    # A detection takes the pair of the greatest number; those of persons that are not ignored have numbers from P on
    total = len(pairs.of)
    numbers = np.arange(total) + total * ~ignored[:, pairs.of]  # (A, P)
    starts = runs(pairs.rank)
    for start, end in zip(starts, np.append(starts, total)[1:], strict=True):
        these = slice(start, end)  # the pairs of each picture's d-th detection
        possible = free[:, :, pairs.of[these]] & (pairs.oks[these] >= LEAST[:, None])  # (A, T, p)
        number = np.where(possible, numbers[:, None, these], -1)
        first = runs(pairs.at[these])
        best = np.maximum.reduceat(number, first, axis=-1)  # (A, T, d)
        a, t, d = np.nonzero(best >= 0)
        taken = best[a, t, d]
        partner = pairs.of[taken % total]
        free[a, t, partner] = truth.crowd[partner]
        right = np.where(counts[partner], RIGHT, WRONG)
        verdict[a, t, pairs.at[these][first[d]]] = np.where(taken >= total, right, EXCUSED)


def _curve(
    verdict: np.ndarray, score: np.ndarray, persons: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Precision and score at `RECALLS`, and the highest recall, of verdicts (M,) by falling score (M,)."""
    precision, reached_at = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
    if not len(verdict):
        return precision, reached_at, 0.0
    # Precision can only rise, and recall only grow, at a detection that is right
    hits = np.flatnonzero(verdict == RIGHT)
    right = np.arange(1.0, len(hits) + 1)
    place = np.searchsorted(right / persons, RECALLS, side="left")
    exact = np.cumsum(verdict != EXCUSED, dtype=np.float64)[hits]
    exact += np.spacing(1)
    np.divide(right, exact, out=exact)
    np.maximum.accumulate(exact[::-1], out=exact[::-1])  # the best from here on
    reached = place < len(hits)
    precision[reached] = exact[place[reached]]
    reached_at[reached] = score[hits[place[reached]]]
    reached_at[RECALLS == 0] = score[0]  # which the first detection reaches, right or wrong
    return precision, reached_at, len(hits) / persons


def _summary(found: Curves) -> dict[str, float]:
    at = {50: 0, 75: 5}

    def ten(values: np.ndarray) -> list[float]:
        parts = [values[0], values[0, at[50]], values[0, at[75]], values[1], values[2]]
        return [
            float(np.mean(part[part > -1])) if (part > -1).any() else -1.0
            for part in map(np.atleast_1d, parts)
        ]

    return dict(zip(NAMES, ten(found.precision) + ten(found.recall), strict=True))
