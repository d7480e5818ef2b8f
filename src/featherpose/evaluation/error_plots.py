"""Figures of an evaluation: percentages by joint, the PCK curve, and the persons it got most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featherpose import crop, image
from featherpose.draw import contact_sheet, draw_pose
from featherpose.errors import PoseError
from featherpose.metrics.pck import PercentageOfCorrectKeypoints, pck
from featherpose.person import Person
from featherpose.skeletons import Skeleton

TILE = 224  # pixels of a person's picture on the sheet
GREY, BLUE, ORANGE = "#b0b7bf", "#1e6fc4", "#e07b00"


def by_joint(path: Path, metrics: Sequence[Any], skeleton: Skeleton, title: str) -> None:
    """A bar per joint, a mark for each earlier stage; beside it the mean PCK over thresholds, where there is one."""
    from matplotlib.figure import Figure

    last = metrics[-1]
    values, counts = last.by_joint()
    curved = isinstance(last, PercentageOfCorrectKeypoints)
    figure = Figure(figsize=(11 if curved else 7, 0.28 * len(skeleton) + 1.4), layout="constrained")
    axes = figure.subplots(
        1, 2 if curved else 1, squeeze=False, width_ratios=[3, 2] if curved else [1]
    )[0]
    scored = [joint in skeleton.scored for joint in range(len(skeleton))]
    places = np.arange(len(skeleton))
    axes[0].barh(
        places, np.nan_to_num(values), color=[BLUE if s else GREY for s in scored], height=0.7
    )
    for number, metric in enumerate(metrics[:-1], start=1):
        label = "earlier stages" if number == 1 else None
        axes[0].plot(
            metric.by_joint()[0],
            places,
            "|",
            color=ORANGE,
            markersize=9,
            markeredgewidth=2,
            label=label,
        )
    for place, value, count in zip(places, values, counts, strict=True):
        if count:
            axes[0].text(value + 1, place, f"{value:.1f}", va="center", fontsize=8)
    names = [
        joint.replace("_", " ") + ("" if s else " (not scored)")
        for joint, s in zip(skeleton.joints, scored, strict=True)
    ]
    axes[0].set(
        yticks=places,
        yticklabels=names,
        xlim=(0, 108),
        xlabel=f"{last.main} (%)" if curved else "mean similarity (%)",
    )
    axes[0].invert_yaxis()
    if len(metrics) > 1:
        axes[0].legend(loc="lower left", fontsize=8)
    if curved:
        _curve(axes[1], metrics)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)


def _curve(axes: Any, metrics: Sequence[PercentageOfCorrectKeypoints]) -> None:
    last = metrics[-1]
    thresholds = np.linspace(0, last.threshold, 51)
    for number, metric in enumerate(metrics, start=1):
        errors = metric.measured()[1]
        curve = [
            metric.overall(pck(errors, threshold, metric.skeleton.scored))
            for threshold in thresholds
        ]
        final = number == len(metrics)
        axes.plot(
            thresholds,
            curve,
            color=BLUE if final else ORANGE,
            alpha=1 if final else 0.4 + 0.5 * number / len(metrics),
        )
    axes.set(
        xlim=(0, last.threshold),
        ylim=(0, 100),
        xlabel="threshold",
        ylabel=f"{last.name}, {last.mean} mean (%)",
    )
    axes.grid(color="#e4e7ea")
    axes.set_axisbelow(True)


def worst(
    path: Path,
    metric: Any,
    load: Callable[[Person], np.ndarray],
    skeleton: Skeleton,
    count: int,
) -> int:
    """The persons with the largest errors, annotation left and prediction right; gives how many were drawn."""
    index, error = metric.by_person()
    rows, keypoints, _ = metric.collected()
    place = np.searchsorted(rows, index)
    tiles, labels = [], []
    for at in np.argsort(-error, kind="stable"):
        person = metric.persons[index[at]]
        if len(tiles) == count:
            break
        try:
            picture = load(person)
        except (OSError, PoseError):  # predictions can be scored without the pictures
            continue
        tiles.append(pair(picture, person, keypoints[place[at]], skeleton))
        labels.append(
            f"person {index[at]}: error {error[at]:.2f}  (left: annotated, right: predicted)"
        )
    if tiles:
        sheet = contact_sheet(tiles, columns=3, labels=labels)
        image.write(path, sheet)
    return len(tiles)


def pair(
    picture: np.ndarray, person: Person, keypoints: np.ndarray, skeleton: Skeleton
) -> np.ndarray:
    """Both skeletons on the same square around the person, drawn at the square's own resolution."""
    side = np.full(2, person.scale.max() * 1.1)
    matrix = crop.crop_matrix(person.centre, side, (TILE, TILE))
    around = crop.around(picture, person.centre, side, TILE)
    annotated = draw_pose(around, crop.apply(matrix, person.joints), person.visible, skeleton)
    predicted = draw_pose(
        around, crop.apply(matrix, keypoints), np.where(person.visible > 0, 2, 0), skeleton
    )
    return np.concatenate([annotated, predicted], axis=1)
