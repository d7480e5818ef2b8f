"""OKS-NMS, its soft form and rescoring against HRNet's loops."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.benchmarks.evaluation import hard_loop, oks_to_the_rest
from featherpose.nms import oks_nms, rescore, soft_oks_nms
from featherpose.skeletons import COCO

SIGMAS = np.array(COCO.sigmas)


def soft_loop(members, keypoints, score, area, threshold, most=20):
    order = members[np.argsort(-score[members], kind="stable")]
    scores, kept, left = score[order], [], []
    while len(order) and len(kept) < most:
        oks = oks_to_the_rest(keypoints, area, order[0], order[1:])
        kept.append(order[0])
        left.append(scores[0])
        scores, order = scores[1:] * np.exp(-(oks**2) / threshold), order[1:]
        again = np.argsort(-scores, kind="stable")
        scores, order = scores[again], order[again]
    return kept, left


def detections(seed, count, pictures):
    """Several detections of each of a few people in each picture, some nearly the same."""
    rng = np.random.default_rng(seed)
    image_id = rng.integers(0, pictures, count) * 7
    centre, pose = (
        rng.uniform(0, 300, (pictures * 7, 3, 1, 2)),
        rng.random((pictures * 7, 3, 17, 2)),
    )
    which, size = rng.integers(0, 3, count), rng.uniform(80, 120, count)
    noise = rng.choice([0.003, 0.01, 0.03, 0.2], count)[:, None, None] * rng.normal(
        size=(count, 17, 2)
    )
    keypoints = centre[image_id, which] + (pose[image_id, which] + noise) * size[:, None, None]
    return image_id, keypoints, rng.random(count), size**2


@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.0])
@pytest.mark.parametrize(("count", "pictures"), [(400, 20), (150, 1), (60, 200), (1, 1)])
def test_survivors_are_those_of_the_loop(count, pictures, threshold):
    image_id, keypoints, score, area = detections(count, count, pictures)
    kept = oks_nms(image_id, keypoints, score, area, COCO.sigmas, threshold)
    expected = [
        i
        for picture in np.unique(image_id)
        for i in hard_loop(np.flatnonzero(image_id == picture), keypoints, score, area, threshold)
    ]
    assert kept.tolist() == expected
    if threshold == 0.9 and count > 100:
        assert len(kept) < count


@pytest.mark.parametrize("count", [300, 30])
def test_soft_suppression_is_that_of_the_loop(count):
    image_id, keypoints, score, area = detections(9, count, 6)
    kept, left = soft_oks_nms(image_id, keypoints, score, area, COCO.sigmas, 0.9)
    expected, scores = [], []
    for picture in np.unique(image_id):
        order, values = soft_loop(np.flatnonzero(image_id == picture), keypoints, score, area, 0.9)
        expected += order
        scores += values
    assert kept.tolist() == expected
    np.testing.assert_allclose(left, scores, rtol=1e-12)


def test_equal_scores_keep_the_first():
    keypoints = np.repeat(np.random.default_rng(0).random((1, 17, 2)) * 100, 3, axis=0)
    kept = oks_nms(np.zeros(3, int), keypoints, np.ones(3), np.full(3, 1e4), COCO.sigmas)
    assert kept.tolist() == [0]


def test_nothing_survives_of_nothing():
    none = np.zeros(0, int), np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0)
    assert len(oks_nms(*none, COCO.sigmas)) == 0
    assert [len(part) for part in soft_oks_nms(*none, COCO.sigmas)] == [0, 0]


def test_rescoring_takes_the_mean_of_confident_joints():
    confidence = np.array([[0.9, 0.5, 0.2], [0.1, 0.1, 0.2]])
    np.testing.assert_allclose(rescore(np.array([0.5, 1.0]), confidence), [0.5 * 0.7, 0.0])
