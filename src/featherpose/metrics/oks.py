"""COCO's AP and AR of keypoints as a metric: rescoring, OKS-NMS, then the ten numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from featherpose.crop import PIXEL_STD, fit_aspect
from featherpose.intervals import Matches
from featherpose.metrics.average_precision import average_precision, matches
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.errors import Radii, similarity_radii
from featherpose.metrics.sigmas import similarity_by
from featherpose.metrics.similarity import Detections, GroundTruth, extent_area, joint_similarity
from featherpose.nms import oks_nms, rescore, soft_oks_nms
from featherpose.person import Person, Persons
from featherpose.settings import choice, number, switch
from featherpose.skeletons import Skeleton

SUPPRESSIONS = ("hard", "soft", "none")
AT_ONCE = 1 << 14  # people: what is computed of each joint is kept of so many


class OKS(KeypointMetric):
    """COCO's ten numbers in percent, for annotated and for detected boxes.

    Args:
        persons: the boxes that were predicted on; `update` gets indices into them.
        skeleton: with its sigmas; one that has none is measured by `DEFAULT_SIGMA`. The score's name says by which:
            `AP` is by COCO's own alone.
        truth: all annotated persons, or a function that reads them when first needed. Without it, `persons` are the
            annotated ones; the official number also knows crowds and people without keypoints, so give it for reports.
        suppression: `hard` OKS-NMS, `soft` (only the order of HRNet's soft suppression is used, as there), or `none`.
        threshold: of the suppression.
        least_confidence: joints below it do not count in the rescoring.
        rescoring: box score times mean joint confidence; else the box score alone.
        sigmas: in place of the skeleton's: `default`, one number for each joint, or a file of `data sigmas`.
        aspect: width / height of the crops. HRNet's suppression takes the area of the whole crop: of the padded box
            with its short side grown to this; None: of the padded box alone.
    """

    def __init__(
        self,
        persons: Iterable[Person],
        skeleton: Skeleton,
        truth: GroundTruth | Callable[[], GroundTruth] | None = None,
        suppression: str = "hard",
        threshold: float = 0.9,
        least_confidence: float = 0.2,
        rescoring: bool = True,
        aspect: float | None = None,
        sigmas: str | Sequence[float] | None = None,
    ) -> None:
        super().__init__(persons, skeleton)
        self.sigmas, self.main = similarity_by(sigmas, skeleton)
        self.suppression = choice("data.metric.suppression", suppression, SUPPRESSIONS)
        self.threshold = number("data.metric.threshold", threshold, least=0, most=1)
        self.least_confidence = number("data.metric.least_confidence", least_confidence)
        self.rescoring = switch("data.metric.rescoring", rescoring)
        self.aspect = None if aspect is None else number("data.aspect", aspect, above=0)
        self._truth = truth

    def results(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is submitted: index (M,) of the surviving persons, their keypoints, confidences and scores."""
        index, keypoints, confidence = self.collected()
        kept, score = self._survivors()
        return index[kept], keypoints[kept], confidence[kept], score

    def _survivors(self) -> tuple[np.ndarray, np.ndarray]:
        """Places (M,) in what is collected, and scores."""
        index, keypoints, confidence = self.collected()
        score = self.persons.score[index]
        if self.rescoring:
            score = rescore(score, confidence, self.least_confidence)
        kept = np.arange(len(index))
        if self.suppression != "none" and len(index):
            image = self.persons.image_id[index]
            area = self._crop_area(self.persons.scale[index])
            if self.suppression == "hard":
                kept = oks_nms(image, keypoints, score, area, self.sigmas, self.threshold)
            else:
                kept, _ = soft_oks_nms(image, keypoints, score, area, self.sigmas, self.threshold)
        return kept, score[kept]

    def _crop_area(self, scale: np.ndarray) -> np.ndarray:
        """(N,) of scales (N, 2)."""
        whole = scale if self.aspect is None else fit_aspect(scale, (self.aspect, 1))
        return np.prod(whole * PIXEL_STD, axis=-1)

    def compute(self) -> dict[str, float]:
        result = self.named(average_precision(*self._compared(), self.sigmas))
        by_joint, _ = self.by_joint()
        for column, members in self.skeleton.columns.items():
            values = by_joint[list(members)]
            if np.isfinite(values).any():
                result[f"joint/{column}"] = float(np.nanmean(values))
        return result

    def evidence(self) -> Matches:
        return matches(*self._compared(), self.sigmas)

    def radii(self, index: np.ndarray) -> Radii:
        return similarity_radii(self.persons[index], self.sigmas)

    def _compared(self) -> tuple[GroundTruth, Detections]:
        """The annotated persons that count, and what is submitted."""
        index, _, _ = self.collected()
        return self._truth_of(index), self._detections(*self._survivors())

    def _detections(self, kept: np.ndarray, score: np.ndarray) -> Detections:
        index, keypoints, _ = self.collected()
        image = self.persons.image_id[index[kept]]
        return Detections(image, keypoints, score, extent_area(keypoints)[kept], kept)

    def named(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """COCO's ten numbers in percent, the first under this metric's own name."""
        percent = {name: 100 * v if v > -1 else float("nan") for name, v in numbers.items()}
        return {self.main if name == "AP" else name: value for name, value in percent.items()}

    def official_truth(self) -> GroundTruth:
        """All annotated persons, read when first needed."""
        if self._truth is None:
            self._truth = truth_of_persons(self.persons)
        elif not isinstance(self._truth, GroundTruth):
            self._truth = self._truth()
        return self._truth

    def part(self, chosen: np.ndarray) -> float:
        """Of annotated persons with these joints alone, each with its own detections: crowds have no part in it."""
        index, _, _ = self.collected()
        truth = truth_of_persons(self.people(index))
        truth = replace(truth, visible=np.where(chosen, truth.visible, 0))
        there = np.any(truth.visible > 0, axis=1, keepdims=True)[:, 0]
        kept, score = self._survivors()
        found = self._detections(kept, score)[there[kept]]
        value = average_precision(truth[there], found, self.sigmas)["AP"]
        return 100 * value if value > -1 else float("nan")

    def by_joint(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) mean keypoint similarity in percent, and how many annotated joints it is of; NaN for detected boxes."""
        total, counts = np.zeros(len(self.skeleton)), np.zeros(len(self.skeleton), int)
        for _, similarity in self._similarity():
            total = np.nansum(np.concatenate([total[None], similarity]), axis=0)
            counts += (~np.isnan(similarity)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return 100 * total / np.where(counts > 0, counts, np.nan), counts

    def by_person(self) -> tuple[np.ndarray, np.ndarray]:
        """Index (N,) and 1 - OKS of the annotated persons with their own predictions: 0 best, 1 worst."""
        found, errors = [np.zeros(0, np.int64)], [np.zeros(0)]
        for index, similarity in self._similarity():
            some = (~np.isnan(similarity)).any(axis=1)
            found.append(index[some])
            errors.append(1 - np.nanmean(similarity[some], axis=1))
        return np.concatenate(found), np.concatenate(errors)

    def _similarity(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Index (n,) and keypoint similarities (n, K) of some people after others, NaN where nothing is annotated."""
        index, keypoints, _ = self.collected()
        everybody = len(index) == len(self.persons)
        for start in range(0, len(index), AT_ONCE):
            these = slice(start, start + AT_ONCE)
            truth = truth_of_persons(self.persons[these if everybody else index[these]])
            yield index[these], joint_similarity(truth, keypoints[these], np.asarray(self.sigmas))

    def _truth_of(self, predicted: np.ndarray) -> GroundTruth:
        """The annotated persons; where only a part of the persons was predicted, those of the same pictures."""
        truth = self.official_truth()
        if len(predicted) == len(self.persons):
            return truth
        return truth.only(np.unique(self.persons.image_id[predicted]))


def truth_of_persons(persons: Persons) -> GroundTruth:
    """Persons as COCO's ground truth; joints that are not annotated are treated as there."""
    crowd = np.zeros(len(persons), bool)  # readers leave them out
    named, first = np.unique(persons.image_id[persons.name >= 0], return_index=True)
    names = persons.name[persons.name >= 0][first].tolist()
    return GroundTruth(
        image_id=persons.image_id,
        keypoints=persons.joints,
        visible=persons.visible,
        box=persons.box,
        area=persons.area,
        crowd=crowd,
        ignore=crowd | ~persons.visible.any(axis=1),
        person_id=np.arange(1, len(persons) + 1),
        images=np.unique(persons.image_id),
        names={i: persons.names[n] for i, n in zip(named.tolist(), names, strict=True)},
    )
