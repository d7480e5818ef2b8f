"""What a confidence means: fitted on half of the pictures that a run was scored on, judged on the other half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from featherpose.errors import PoseError
from featherpose.evaluation.predictions import read_keypoints
from featherpose.files import replacing
from featherpose.inference.chances import Chances
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.oks import OKS
from featherpose.runs.record import RunRecord
from featherpose.runs.score import PREDICTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from featherpose.data.datamodule import PoseDataModule

FEWEST = 200  # labelled joints to fit a curve on; a joint with fewer takes the curve of all joints together
STEPS = 20  # of a curve, with equally many joints each
BARS = 10  # of the calibration error: confidences from 0 to 1 in tenths


class Joints(NamedTuple):
    """What is known of each predicted joint."""

    picture: np.ndarray  # (N,) the picture's number
    confidence: np.ndarray  # (N, K)
    labelled: np.ndarray  # (N, K) bool: its distance can be measured
    near: np.ndarray  # (N, K) bool

    def of(self, chosen: np.ndarray) -> Joints:
        return Joints(*(each[chosen] for each in self))


def joints_of(metric: KeypointMetric) -> tuple[Joints, str]:
    """The joints that the measure has seen, and what near means: OKS 0.5, or its own threshold."""
    index, keypoints, confidence = metric.collected()
    people, radii = metric.people(index), metric.radii(index)
    by_similarity = isinstance(metric, OKS)
    radius = radii.far if by_similarity else radii.near  # (N, K)
    distance = np.linalg.norm(keypoints - people.joints, axis=-1)
    labelled = np.isfinite(radius)
    near = labelled & (distance <= np.where(labelled, radius, 0))
    found = Joints(people.image_id, confidence, labelled, near)
    return found, "OKS 0.5" if by_similarity else metric.main


def of_run(checkpoint: Path, data: PoseDataModule | None, flip: bool) -> tuple[Chances, Joints]:
    """Of the predictions that a finished run kept of its best checkpoint, and the joints on which they were judged.

    PoseError says why there are none.
    """
    run = checkpoint.parent.parent
    kept, record = run / PREDICTIONS, RunRecord.read(run)
    if record is None or record.best is None or Path(record.best.path).name != checkpoint.name:
        raise PoseError("this is not the best checkpoint of a finished run")
    if not kept.is_file():
        raise PoseError(f"the run has no {kept.name}")
    if data is None:
        raise PoseError("the labels of the run's validation people are not here")
    if bool(record.protocol.get("flip")) != flip:
        raise PoseError("the run was scored with another flip test than this file makes")
    found = read_keypoints(kept, data.val_people, len(data.skeleton), first_pixel=0)
    metric = data.new_metric()
    final = (found.keypoints[-1], found.confidence[-1])
    metric.update(*map(torch.from_numpy, (found.index, *final)))
    joints, near = joints_of(metric)
    one, other = halves(joints)
    return fit(one, other, near, flip), other


def of_score(metric: KeypointMetric, picture: Path) -> dict[str, Any]:
    """For `metrics.json`, and the diagram; nothing where there are few joints, or confidences that are all the same."""
    joints, near = joints_of(metric)
    if np.ptp(joints.confidence) == 0:
        return {}
    try:
        one, other = halves(joints)
    except PoseError:
        return {}
    found = fit(one, other, near, flip=False)
    draw(picture, other, found)
    names = ("near", "judged", "error_before", "error_after", "threshold", "f1")
    return {"confidence": {name: getattr(found, name) for name in names}}


def halves(joints: Joints, seed: int = 0) -> tuple[Joints, Joints]:
    """By picture: nobody's neighbour is on the other side."""
    pictures = np.random.default_rng(seed).permutation(np.unique(joints.picture))
    first = np.isin(joints.picture, pictures[: len(pictures) // 2])
    found = joints.of(first), joints.of(~first)
    few = min(int(half.labelled.sum()) for half in found)
    if few < FEWEST:
        raise PoseError(
            f"half of the pictures has {few} labelled joints, too few to say what a confidence means: "
            f"{FEWEST} are needed"
        )
    return found


def fit(one: Joints, other: Joints, near: str, flip: bool) -> Chances:
    """Curves of one half of the pictures, and what they are worth on the other half."""
    common = _curve(one.confidence[one.labelled], one.near[one.labelled])
    curves = []
    for joint in range(one.confidence.shape[1]):
        which = one.labelled[:, joint]
        own = which.sum() >= FEWEST
        curves.append(
            _curve(one.confidence[which, joint], one.near[which, joint]) if own else common
        )
    chosen = other.labelled
    threshold, f1 = best_threshold(other.confidence[chosen], other.near[chosen])
    fitted = Chances(
        peaks=tuple(peaks for peaks, _ in curves),
        values=tuple(values for _, values in curves),
        near=near,
        flip=flip,
        people=len(one.picture),
        judged=len(other.picture),
        error_before=calibration_error(other.confidence[chosen], other.near[chosen]),
        error_after=1.0,
        threshold=threshold,
        f1=f1,
    )
    after = calibration_error(fitted(other.confidence)[chosen], other.near[chosen])
    return replace(fitted, error_after=after)


def _curve(confidence: np.ndarray, near: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean confidence and share of near joints of equally large steps, made to rise (isotonic regression)."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(confidence, kind="stable")
    steps = np.array_split(order, min(STEPS, max(1, len(order) // 20)))
    peaks = np.array([confidence[step].mean() for step in steps])
    # one joint more of each kind, so that no step says 0 or 1 for certain
    shares = np.array([(near[step].sum() + 1) / (len(step) + 2) for step in steps])
    values = isotonic_regression(shares, weights=np.array([len(step) for step in steps])).x
    return tuple(peaks.round(4).tolist()), tuple(values.round(4).tolist())


def calibration_error(chance: np.ndarray, near: np.ndarray) -> float:
    """Expected calibration error: how far what was said is from what came true, tenth by tenth, weighted by number."""
    gap = np.bincount(_bar_of(chance), chance - near, minlength=BARS)
    return float(np.abs(gap).sum() / len(chance))


def _bar_of(chance: np.ndarray) -> np.ndarray:
    return np.clip((chance * BARS).astype(int), 0, BARS - 1)


def best_threshold(confidence: np.ndarray, near: np.ndarray) -> tuple[float, float]:
    """The confidence from which on labelled joints are kept for the highest F1, and that F1.

    A kept joint that is not near counts as wrong, and its true place as missed, as does that of each joint left out.
    """
    order = np.argsort(-confidence, kind="stable")
    right, kept = np.cumsum(near[order]), np.arange(1, len(order) + 1)
    f1 = 2 * right / (kept + len(order))
    best = int(f1.argmax())
    return float(confidence[order][best]), float(f1[best])


def draw(path: Path, joints: Joints, chances: Chances) -> None:
    """A reliability diagram of the half that was not fitted on: the confidence as it is, and as a chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    chosen = joints.labelled
    _bars(before, joints.confidence[chosen], joints.near[chosen])
    before.set_title(f"confidence, error {chances.error_before:.3f}", fontsize=10)
    before.set(xlabel="peak of the heatmap", ylabel=f"share of joints within {chances.near}")
    _bars(after, chances(joints.confidence)[chosen], joints.near[chosen])
    after.set_title(f"chance, error {chances.error_after:.3f}", fontsize=10)
    after.set(xlabel="chance that is given")
    with replacing(path) as beside:
        figure.savefig(beside, dpi=130, format="png")


def _bars(axes: Axes, chance: np.ndarray, near: np.ndarray) -> None:
    tenth = _bar_of(chance)
    count = np.bincount(tenth, minlength=BARS)
    share = np.bincount(tenth, near, minlength=BARS) / np.maximum(count, 1)
    places = (np.arange(BARS) + 0.5) / BARS
    axes.bar(places, share, width=0.9 / BARS, color="#1e6fc4")
    for place, value, number in zip(places, share, count, strict=True):
        if number:
            axes.text(place, value + 0.01, f"{number:,}", ha="center", fontsize=6)
    axes.plot([0, 1], [0, 1], "--", color="#b0b7bf", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.06))
