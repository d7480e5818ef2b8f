"""PCKh and PCK against the definition written joint by joint, and against the figures of published predictions."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch

from featherpose.errors import PoseError
from featherpose.metrics.pck import PCK, PCKh, area_under_curve, distances, pck
from featherpose.person import Person
from featherpose.skeletons import LSP, MPII


def random_persons(count, skeleton, seed=0):
    rng = np.random.default_rng(seed)
    persons = []
    for n in range(count):
        joints = rng.uniform(0, 500, (len(skeleton), 2))
        visible = rng.integers(0, 3, len(skeleton)).astype(np.uint8)
        centre, scale, box = joints.mean(axis=0), np.full(2, 2.0), np.array([0.0, 0, 500, 500])
        head = float(rng.uniform(20, 90))
        persons.append(Person("none", joints, visible, centre, scale, box, n, n, head_size=head))
    return persons


def by_definition(persons, keypoints, sizes, threshold):
    """Counts joint by joint; a person without a size does not count."""
    joints = len(persons[0].joints)
    right, counts = [0] * joints, [0] * joints
    for person, points, size in zip(persons, keypoints, sizes, strict=True):
        for k in range(joints):
            if person.visible[k] and np.isfinite(size):
                dx, dy = points[k] - person.joints[k]
                counts[k] += 1
                right[k] += (dx**2 + dy**2) ** 0.5 / size <= threshold
    return np.array(right), np.array(counts)


@pytest.mark.parametrize("mean", ["weighted", "unweighted"])
def test_pckh_is_what_its_definition_says(mean):
    persons = random_persons(60, MPII)
    rng = np.random.default_rng(1)
    keypoints = np.array([p.joints for p in persons]) + rng.normal(0, 25, (60, 16, 2))
    metric = PCKh(persons, MPII, mean=mean)
    order = torch.randperm(60)
    for part in order.split(7):
        metric.update(part, torch.from_numpy(keypoints[part]), torch.ones(len(part), 16))
    result = metric.compute()
    right, counts = by_definition(persons, keypoints, [p.head_size for p in persons], 0.5)
    scored = list(MPII.scored)
    weighted = 100 * right[scored].sum() / counts[scored].sum()
    unweighted = (100 * right[scored] / counts[scored]).mean()
    assert result["PCKh@0.5 weighted"] == pytest.approx(weighted, abs=1e-9)
    assert result["PCKh@0.5 unweighted"] == pytest.approx(unweighted, abs=1e-9)
    assert result[metric.main] == pytest.approx(
        {"weighted": weighted, "unweighted": unweighted}[mean], abs=1e-9
    )
    wrists = list(MPII.columns["wrist"])
    assert result["joint/wrist"] == pytest.approx(
        (100 * right[wrists] / counts[wrists]).mean(), abs=1e-9
    )
    assert next(iter(result)) == metric.main == "PCKh@0.5"


def test_pck_measures_in_torsos_and_leaves_people_without_one_out():
    persons = random_persons(40, LSP, seed=2)
    rng = np.random.default_rng(3)
    keypoints = np.array([p.joints for p in persons]) + rng.normal(0, 40, (40, 14, 2))
    shoulder, hip = LSP.index("left_shoulder"), LSP.index("right_hip")
    sizes = [
        np.linalg.norm(p.joints[shoulder] - p.joints[hip])
        if p.visible[shoulder] and p.visible[hip]
        else np.nan
        for p in persons
    ]
    assert 0 < np.isnan(sizes).sum() < 40
    metric = PCK(persons, LSP)
    metric.update(torch.arange(40), torch.from_numpy(keypoints), torch.ones(40, 14))
    right, counts = by_definition(persons, keypoints, sizes, 0.2)
    assert metric.compute()["PCK@0.2"] == pytest.approx(100 * right.sum() / counts.sum(), abs=1e-9)


def test_without_a_torso_people_are_measured_by_their_boxes_under_another_name():
    persons = random_persons(20, LSP, seed=2)
    persons = [replace(p, box=np.array([0.0, 0, 100 + 10 * n, 50])) for n, p in enumerate(persons)]
    persons[0] = replace(persons[0], box=np.zeros(4))
    sizes = [np.nan, *(110.0 + 10 * n for n in range(19))]
    keypoints = np.array([p.joints for p in persons])
    keypoints = keypoints + np.random.default_rng(3).normal(0, 15, keypoints.shape)
    metric = PCK(persons, replace(LSP, torso=None))
    metric.update(torch.arange(20), torch.from_numpy(keypoints), torch.ones(20, 14))
    right, counts = by_definition(persons, keypoints, sizes, 0.1)
    assert metric.main == "PCKbox@0.1"
    found = metric.compute()
    assert found["PCKbox@0.1"] == pytest.approx(100 * right.sum() / counts.sum(), abs=1e-9)
    assert "PCKbox@0.05" in found
    with pytest.raises(PoseError, match=r"data\.metric\.threshold is 0"):
        PCK(persons, LSP, threshold=0)


def test_a_distance_of_just_the_threshold_counts_and_nan_never_does():
    joints, visible = np.zeros((1, 4, 2)), np.array([[2, 1, 2, 0]])
    predicted = np.array([[[5.0, 0], [5.0001, 0], [np.nan, 0], [np.nan, 0]]])
    errors = distances(predicted, joints, visible, np.array([10.0]))
    result = pck(errors, 0.5, range(4))
    assert result.joints[:3].tolist() == [100, 0, 0]
    assert np.isnan(result.joints[3])
    assert result.counts.tolist() == [1, 1, 1, 0]
    assert result.unweighted == pytest.approx(100 / 3)


def test_the_area_under_a_straight_curve_is_a_half():
    errors = np.linspace(0.0005, 0.4995, 500)[
        :, None
    ]  # evenly spread, so PCK rises in proportion to the threshold
    assert area_under_curve(errors, 0.5, [0]) == pytest.approx(50, abs=0.2)


def test_a_person_that_comes_twice_counts_once():
    persons = random_persons(5, MPII)
    points = torch.from_numpy(np.array([p.joints for p in persons]))
    once, twice = PCKh(persons, MPII), PCKh(persons, MPII)
    points[0] += 1000
    once.update(torch.arange(5), points, torch.ones(5, 16))
    twice.update(torch.arange(5), points, torch.ones(5, 16))
    twice.update(torch.tensor([0, 0]), points[[0, 0]], torch.ones(2, 16))
    assert once.compute() == twice.compute()


def _score_a_share(rank, port, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    persons = random_persons(7, MPII)
    points = torch.from_numpy(
        np.array([p.joints for p in persons]) + 20.0 * np.arange(7)[:, None, None]
    )
    share = torch.tensor(
        [0, 2, 4, 6] if rank == 0 else [1, 3, 5, 0]
    )  # padded with person 0, as samplers do
    metric = PCKh(persons, MPII)
    metric.update(share, points[share], torch.ones(4, 16))
    queue.put(metric.compute())
    torch.distributed.destroy_process_group()


def test_two_processes_score_like_one():
    persons = random_persons(7, MPII)
    points = torch.from_numpy(
        np.array([p.joints for p in persons]) + 20.0 * np.arange(7)[:, None, None]
    )
    alone = PCKh(persons, MPII)
    alone.update(torch.arange(7), points, torch.ones(7, 16))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    port = 20000 + os.getpid() % 20000
    workers = [
        context.Process(target=_score_a_share, args=(rank, port, queue)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert results[0] == results[1] == alone.compute()


def test_what_cannot_be_measured_is_said():
    persons = [replace(p, head_size=float("nan")) for p in random_persons(3, MPII)]
    with pytest.raises(PoseError, match="head sizes"):
        PCKh(persons, MPII)
    with pytest.raises(PoseError, match="known: weighted, unweighted"):
        PCK(persons, MPII, mean="average")


# The figures printed by the predictions' authors and, with HRNet's weighted mean, by HRNet's evaluation
PUBLISHED = {
    "bearpaw-hg_s1_b1.mat": {0.5: 85.085, 0.1: 22.81},
    "bearpaw-hg_s2_b1.mat": {0.5: 87.299, 0.1: 23.91},
}
COLUMNS_OF_HG_S2 = {
    "head": 95.80,
    "shoulder": 94.57,
    "elbow": 88.12,
    "wrist": 83.31,
    "hip": 86.24,
    "knee": 80.88,
    "ankle": 77.44,
}


def from_the_official_file(real_data):
    content = scipy.io.loadmat(real_data / "mpii" / "detections_our_format.mat")
    head = np.linalg.norm(content["headboxes_src"][1] - content["headboxes_src"][0], axis=0) * 0.6
    return content["pos_gt_src"].transpose(2, 0, 1), 1 - content["jnt_missing"].T, head


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_mpii_predictions_give_the_published_figures(name, real_data):
    joints, visible, head = from_the_official_file(real_data)
    predicted = scipy.io.loadmat(real_data / "mpii" / name)["preds"].astype(np.float64)
    errors = distances(predicted, joints, visible, head)
    for threshold, figure in PUBLISHED[name].items():
        assert pck(errors, threshold, MPII.scored).weighted == pytest.approx(
            figure, abs=0.005 if threshold < 0.5 else 5e-4
        )
    if name.startswith("bearpaw-hg_s2"):
        result = pck(errors, 0.5, MPII.scored)
        assert result.unweighted == pytest.approx(86.76, abs=0.005)
        for column, figure in COLUMNS_OF_HG_S2.items():
            assert result.joints[list(MPII.columns[column])].mean() == pytest.approx(
                figure, abs=0.006
            )
        shifted = pck(distances(predicted + 1, joints, visible, head), 0.5, MPII.scored)
        assert shifted.weighted == pytest.approx(87.497, abs=5e-4)


def misplaced(head_size, errors, hidden=()):
    """An MPII person all of whose joints lie at (100, 100), and predictions so many pixels off."""
    visible = np.full(16, 2, np.uint8)
    visible[list(hidden)] = 0
    visible[4] = 1  # occluded, and annotated all the same
    joints, centre = np.full((16, 2), 100.0), np.zeros(2)
    points = joints.copy()
    for joint, pixels in errors.items():
        points[joint, 1] += pixels
    person = Person("none", joints, visible, centre, centre, np.zeros(4), 0, 0, head_size=head_size)
    return person, points


def test_joints_and_persons_by_hand():
    """Heads of 40, 10, 0 and unknown size; only the first two can be measured."""
    people = [
        misplaced(40.0, {0: 20, 1: 30, 2: 60, 3: 999, 6: 400}, hidden=[3]),  # 6: not scored
        misplaced(10.0, {0: 6}),
        misplaced(0.0, {}),
        misplaced(float("nan"), {}),
    ]
    metric = PCKh([person for person, _ in people], MPII)
    order = torch.tensor([2, 1, 3, 0])
    points = torch.from_numpy(np.array([points for _, points in people]))
    metric.update(order, points[order], torch.ones(4, 16))

    percentages, counts = metric.by_joint()
    assert counts.tolist() == [2, 2, 2, 1] + [2] * 12
    assert percentages.tolist() == [50, 50, 50, 100, 100, 100, 50] + [100] * 9
    index, errors = metric.by_person()
    assert index.tolist() == [0, 1]
    # 13 and 14 scored joints; 60 pixels are one and a half heads, which count as one
    assert errors.tolist() == pytest.approx([(0.5 + 0.75 + 1) / 13, 0.6 / 14])
    found = metric.compute()
    assert found["PCKh@0.5"] == pytest.approx(100 * (11 + 13) / 27)
    assert found["EPE"] == pytest.approx((20 + 30 + 60 + 6) / 27)


def test_the_size_may_be_chosen_and_the_score_is_called_by_it():
    persons = [replace(p, head_size=20.0 + n) for n, p in enumerate(random_persons(20, LSP, 5))]
    elbows = (LSP.index("left_elbow"), LSP.index("right_elbow"))
    apart = [
        float(np.linalg.norm(p.joints[elbows[0]] - p.joints[elbows[1]]))
        if p.visible[list(elbows)].all()
        else np.nan
        for p in persons
    ]
    pair = PCK(persons, LSP, size=["left_elbow", "right_elbow"])
    assert pair.main == "PCK(left_elbow-right_elbow)@0.2"
    assert pair.sizes.tolist() == pytest.approx(apart, nan_ok=True)
    head = PCK(persons, LSP, size="head")
    assert (head.main, head.fine) == ("PCKh@0.5", 0.1)
    assert head.sizes.tolist() == [p.head_size for p in persons]
    assert PCK(persons, LSP, size="box").main == "PCKbox@0.1"
    assert PCK(persons, LSP, size="torso").main == PCK(persons, LSP).main == "PCK@0.2"
    assert PCK(persons, LSP, size=["left_shoulder", "right_hip"]).main == "PCK@0.2"
    other = replace(LSP, torso=elbows)  # somebody's own torso is not LSP's
    assert PCK(persons, other).main == "PCK(left_elbow-right_elbow)@0.2"


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("foot", r"data\.metric\.size is foot; known: torso, head, box"),
        (["left_elbow"], "two joints"),
        (["left_elbow", "tail"], "names tail, which the skeleton lsp does not have"),
        ("head", "PCKh can measure nobody"),
    ],
)
def test_a_size_that_cannot_be_is_refused(size, says):
    persons = [replace(p, head_size=np.nan) for p in random_persons(3, LSP, 5)]
    with pytest.raises(PoseError, match=says):
        PCK(persons, LSP, size=size)


def test_a_skeleton_without_a_torso_is_not_measured_by_it():
    with pytest.raises(PoseError, match="names no torso"):
        PCK(random_persons(3, LSP, 5), replace(LSP, torso=None), size="torso")
