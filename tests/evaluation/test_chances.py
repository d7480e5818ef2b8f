"""What a confidence means, fitted on half of the pictures and judged on the other half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.evaluation import chances
from featherpose.evaluation.chances import Joints
from featherpose.metrics.oks import OKS
from featherpose.metrics.pck import PCKh
from featherpose.skeletons import skeleton_of
from featherpose.synthetic import painted


def known(count: int = 4000, joints: int = 3) -> Joints:
    """Joints that are near in as many cases as the root of their confidence says; a fifth unlabelled."""
    rng = np.random.default_rng(0)
    confidence = rng.random((count, joints))
    labelled = rng.random((count, joints)) > 0.2
    near = labelled & (rng.random((count, joints)) < np.sqrt(confidence))
    return Joints(np.arange(count) // 4, confidence, labelled, near)


def test_the_chance_is_what_comes_true() -> None:
    fitted = chances.fit(*chances.halves(known()), near="OKS 0.5", flip=False)
    # between a value and its root lies a sixth on average
    assert fitted.error_before == pytest.approx(1 / 6, abs=0.02)
    assert fitted.error_after < 0.02
    given = np.full((1, 3), 0.25)
    np.testing.assert_allclose(fitted(given), 0.5, atol=0.06)


def test_curves_rise_and_never_are_certain() -> None:
    fitted = chances.fit(*chances.halves(known()), near="OKS 0.5", flip=False)
    sweep = fitted(np.linspace(-1, 2, 200)[:, None] * np.ones(3))
    assert (np.diff(sweep, axis=0) >= 0).all()
    assert sweep.min() > 0 and sweep.max() < 1


def test_a_rarely_labelled_joint_takes_the_common_curve() -> None:
    joints = known()
    rare = joints.labelled.copy()
    rare[100:, 1] = False
    near = joints.near & rare
    near[:, 0] = joints.labelled[:, 0]  # always right
    fitted = chances.fit(
        *chances.halves(joints._replace(labelled=rare, near=near)), near="OKS 0.5", flip=False
    )
    low = fitted(np.full(3, 0.04))
    assert low[0] > 0.95 and low[2] < 0.35
    assert low[2] < low[1] < low[0]


def test_no_picture_is_in_both_halves() -> None:
    one, other = chances.halves(known())
    assert not set(one.picture) & set(other.picture)
    assert len(one.picture) == len(other.picture) == 2000


def test_too_few_joints_say_nothing() -> None:
    with pytest.raises(PoseError, match="too few to say what a confidence means: 200 are needed"):
        chances.halves(known(count=100))


def test_the_threshold_of_the_highest_f1() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    near = np.array([True, True, True, False, False, False])
    # three right of three kept, of six to be found: 2 * 3 / (3 + 6)
    assert chances.best_threshold(confidence, near) == (0.7, pytest.approx(2 / 3))


def test_the_error_of_what_is_always_right_and_of_what_never_is() -> None:
    half = np.full(100, 0.5)
    right = np.arange(100) % 2 == 0
    assert chances.calibration_error(half, right) == 0
    assert chances.calibration_error(np.ones(100), ~right | right) == 0
    assert chances.calibration_error(np.ones(100), np.zeros(100, bool)) == 1


@pytest.mark.parametrize(("metric", "near"), [(OKS, "OKS 0.5"), (PCKh, "PCKh@0.5")])
def test_near_is_the_measures_own(metric: type, near: str) -> None:
    kind = "coco" if metric is OKS else "mpii"
    people = painted.read(split="val", people=12, skeleton=kind)
    made = metric(people.persons, skeleton_of(kind))
    index = np.arange(12)
    radii = made.radii(index)
    radius = radii.far if metric is OKS else radii.near
    seen = people.persons.visible > 0
    for factor, right in ((0.99, True), (1.01, False)):
        moved = people.persons.joints.copy()
        moved[..., 0] += factor * np.nan_to_num(radius)
        made.reset()
        made.update(*map(torch.from_numpy, (index, moved, np.ones(seen.shape))))
        joints, said = chances.joints_of(made)
        assert said == near
        assert joints.labelled.any() and not (joints.labelled & ~seen).any()
        assert (joints.near[joints.labelled] == right).all()


def test_the_diagram_is_drawn(tmp_path: Path) -> None:
    one, other = chances.halves(known())
    chances.draw(tmp_path / "c.png", other, chances.fit(one, other, "OKS 0.5", False))
    drawn = cv2.imread(str(tmp_path / "c.png"))
    assert drawn.shape[1] > 1.5 * drawn.shape[0] and drawn.std() > 20


@pytest.fixture
def scored(write_run: Callable[..., Path]) -> tuple[Path, SimpleNamespace]:
    """The best checkpoint of a run that predicted 60 painted people, each joint up to a head's size off."""
    people = painted.read(split="val", people=60)
    rng = np.random.default_rng(1)
    confidence = rng.random((60, 16))
    off = (1 - confidence) * people.persons.head_size[:, None]
    keypoints = people.persons.joints + off[..., None] * [1, 0]
    predictions = {
        "index": np.arange(60),
        "keypoints": keypoints[None],
        "confidence": confidence[None],
    }
    folder = write_run("lapx", predictions=predictions)
    skeleton = skeleton_of("mpii")
    data = SimpleNamespace(
        new_metric=lambda: PCKh(people.persons, skeleton), val_people=people, skeleton=skeleton
    )
    return folder / "checkpoints" / "best.ckpt", data


def test_a_runs_own_predictions(scored: tuple[Path, SimpleNamespace]) -> None:
    found, judged = chances.of_run(*scored, flip=False)
    assert found.near == "PCKh@0.5"
    assert (found.people, found.judged, len(judged.picture)) == (30, 30, 30)
    assert found(np.full(16, 0.9)).min() > 0.8 and found(np.full(16, 0.1)).max() < 0.2


def test_why_there_are_none(scored: tuple[Path, SimpleNamespace]) -> None:
    best, data = scored
    for checkpoint, known_data, flip, reason in (
        (best.with_name("last.ckpt"), data, False, "not the best checkpoint"),
        (best, None, False, "labels .* are not here"),
        (best, data, True, "another flip test"),
    ):
        with pytest.raises(PoseError, match=reason):
            chances.of_run(checkpoint, known_data, flip)
    (best.parent.parent / "predictions" / "val.npz").unlink()
    with pytest.raises(PoseError, match=r"has no val\.npz"):
        chances.of_run(best, data, False)


def test_an_evaluation_says_it_where_it_can(
    scored: tuple[Path, SimpleNamespace], tmp_path: Path
) -> None:
    metric = scored[1].new_metric()
    kept = np.load(scored[0].parent.parent / "predictions" / "val.npz")
    index, keypoints = torch.from_numpy(kept["index"]), torch.from_numpy(kept["keypoints"][0])
    metric.update(index, keypoints, torch.ones(60, 16))
    assert chances.of_score(metric, tmp_path / "c.png") == {}  # a file without confidences
    metric.reset()
    metric.update(index, keypoints, torch.from_numpy(kept["confidence"][0]))
    found = chances.of_score(metric, tmp_path / "c.png")["confidence"]
    assert found["near"] == "PCKh@0.5" and found["judged"] == 30
    assert found["error_after"] < found["error_before"]
    assert (tmp_path / "c.png").is_file()
