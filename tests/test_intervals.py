"""Intervals of scores and of paired differences: what is drawn, and how often they hold the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from featherpose import intervals
from featherpose.errors import PoseError
from featherpose.intervals import Counts, Matches, difference, interval, load, save
from featherpose.metrics.oks import OKS
from featherpose.metrics.pck import PCK
from featherpose.person import Person
from featherpose.skeletons import COCO, LSP

PICTURES = 300


def simulated_pck(rng: np.random.Generator, pictures: int = PICTURES) -> Counts:
    """Pictures of one to three people, of 14 joints each; a picture is easy or hard as a whole. Truth: 80%."""
    people = rng.integers(1, 4, pictures)
    ease = rng.beta(4, 1, pictures)  # mean 0.8
    annotated = np.repeat(people[:, None], 14, axis=1)
    return Counts(np.arange(pictures), rng.binomial(annotated, ease[:, None]), annotated, True)


def simulated_ap(rng: np.random.Generator, pictures: int = PICTURES) -> Matches:
    """One or two people in a picture, as many detections; the right ones have the higher scores, mostly."""
    people = rng.integers(1, 3, pictures)
    place = np.repeat(np.arange(pictures), people)
    right = rng.random(len(place)) < rng.beta(4, 1, pictures)[place]
    order = np.argsort(-(right + rng.normal(0, 1, len(place))), kind="stable")
    right = right[order][None]
    return Matches(np.arange(pictures), people, place[order], right, np.ones_like(right))


def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent() -> None:
    rng = np.random.default_rng(1)
    many = simulated_pck(rng, 200_000)
    truth = many.scores(np.ones((1, len(many.pictures))))[0]
    found = [interval(simulated_pck(rng)) for _ in range(1000)]
    assert 0.93 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.97


def test_intervals_of_ap_hold_the_truth_as_often() -> None:
    """100 trials, of which 95 give or take twice 2.2 should hold it; docs/tracking.md reports 1,000."""
    assert 0.90 <= coverage_of_ap(100) <= 0.99


def coverage_of_ap(trials: int) -> float:
    """The share of trials of 300 pictures whose interval holds the AP of 400,000."""
    rng = np.random.default_rng(1)
    many = simulated_ap(rng, 400_000)
    truth = many.scores(np.ones((1, len(many.pictures))))[0]
    found = [interval(simulated_ap(rng)) for _ in range(trials)]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def test_people_of_a_picture_are_drawn_together() -> None:
    """Ten people a picture, all right or all wrong: the interval is that of the pictures, not of the people."""
    right = np.repeat(np.arange(100) % 2, 1)[:, None] * 10
    one = interval(Counts(np.arange(100), right, np.full_like(right, 10), True))
    alone = interval(Counts(np.arange(100), right // 10, np.full_like(right, 1), True))
    assert (one.low, one.high) == (alone.low, alone.high)
    assert one.high - one.low == pytest.approx(4 * 100 * 0.5 / 10, rel=0.1)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    first = simulated_pck(rng)
    better = Counts(first.pictures, first.right.copy(), first.annotated, True)
    better.right[:30, 0] += better.right[:30, 0] < better.annotated[:30, 0]
    found = difference([first], [better])
    assert found is not None
    assert found.value > 0
    assert not found.noise
    assert (
        interval(first).high > interval(better).low
    )  # which two intervals of their own would hide
    back = difference([better], [first])
    assert back is not None
    assert back.value == pytest.approx(-found.value)


def test_equal_scores_differ_by_noise_and_other_people_do_not_compare() -> None:
    rng = np.random.default_rng(0)
    first, second = simulated_pck(rng), simulated_pck(rng)
    found = difference([first], [second])
    assert found is not None
    assert found.noise
    assert str(found).startswith(f"{found.value:+.2f} [")
    assert difference([first], [simulated_pck(rng, 200)]) is None


def test_seeds_are_averaged() -> None:
    rng = np.random.default_rng(0)
    first, second = simulated_pck(rng), simulated_pck(rng)
    found = difference([first], [first, second])
    whole = difference([first], [second])
    assert found is not None and whole is not None
    assert found.value == pytest.approx(whole.value / 2)


def test_draws_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for evidence in (simulated_pck(rng, 40), simulated_ap(rng, 40)):
        whole = interval(evidence)
        monkeypatch.setattr(intervals, "KEPT", 4000)  # 12 draws at a time, none kept
        assert interval(evidence) == whole
        monkeypatch.undo()


def test_files_give_back_what_was_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in (simulated_pck, simulated_ap):
        evidence = kind(rng, 20)
        save(tmp_path / "e.npz", evidence)
        again = load(tmp_path / "e.npz")
        assert type(again) is type(evidence)
        assert interval(again) == interval(evidence)
    assert load(tmp_path / "none.npz") is None
    (tmp_path / "e.npz").write_bytes(b"PK")
    with pytest.raises(PoseError, match=r"e\.npz can't be read"):
        load(tmp_path / "e.npz")


def people(skeleton, count: int = 24, pictures: int = 9) -> tuple[list[Person], np.ndarray]:
    rng = np.random.default_rng(3)
    joints = rng.uniform(0, 200, (count, len(skeleton), 2))
    visible = (rng.random((count, len(skeleton))) < 0.8).astype(np.uint8)
    visible[:, list(skeleton.torso or (0, 1))] = 1
    centre = {"centre": np.full(2, 100.0), "scale": np.ones(2)}
    persons = [
        Person(
            image="x", joints=joints[i], visible=visible[i], **centre, box=np.array([0.0, 0, 200, 200]),
            image_id=int(rng.integers(pictures)), person_id=i, area=2e4,
        )
        for i in range(count)
    ]  # fmt: skip
    return persons, joints + rng.normal(size=joints.shape) * rng.choice([2, 15, 60], (count, 1, 1))


@pytest.mark.parametrize(
    ("kind", "skeleton", "keys"),
    [(PCK, LSP, {}), (PCK, LSP, {"mean": "unweighted"}), (OKS, COCO, {})],
)
def test_the_evidence_gives_the_score_itself(kind, skeleton, keys) -> None:
    persons, found = people(skeleton)
    metric = kind(persons, skeleton, **keys)
    confidence = torch.from_numpy(np.random.default_rng(0).uniform(0.3, 1, found.shape[:2]))
    metric.update(torch.arange(len(found)), torch.from_numpy(found), confidence)
    assert interval(metric.evidence()).value == pytest.approx(metric.compute()[metric.main])
