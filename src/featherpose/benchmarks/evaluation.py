"""How much faster than the usual code evaluation is here, and whether it says the same."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from featherpose.benchmarks.measured import Measured
from featherpose.crop import PADDING
from featherpose.heatmaps import decode, to_picture
from featherpose.metrics.average_precision import average_precision
from featherpose.metrics.similarity import Detections, GroundTruth, extent_area
from featherpose.nms import oks_nms
from featherpose.skeletons import COCO

SIGMAS = np.array(COCO.sigmas)
STRIDE = 4
PERSONS_PER_PICTURE = 2.5


@dataclass
class Case:
    """Our function beside its reference; `agree` says in words how their answers differ."""

    name: str
    bar: float
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    agree: Callable[[Any, Any], str]


def run(
    rounds: int, people: int, persons: int, detections: int, seed: int, out: str | None = None
) -> list[Measured]:
    """Measures every case `rounds` times, interleaved, prints the ratios of the medians, writes them to `out`."""
    torch.set_num_threads(1)
    console = Console(highlight=False)
    truth, found = crowd(persons, detections, seed)
    cases = [decoding(people, seed), precision(truth, found), suppression(found)]
    timed = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(cases) * (rounds + 1))
        for case in cases:
            timed.append(measure(case, rounds, lambda: progress.advance(task)))
    rows = [in_numbers(case, each) for case, each in zip(cases, timed, strict=True)]
    table = Table(title="CPU seconds, one thread, medians, interleaved", title_justify="left")
    for column in ("", "here", "reference", "ratio", "bar", "answers"):
        table.add_column(
            column, justify="left" if column in ("", "answers") else "right", overflow="fold"
        )
    for row in rows:
        seconds = f"{row['seconds']:.3f}"
        slow = f"{row['reference_seconds']:.3f}"
        ratio = f"{row['ratio']:.1f}x"
        table.add_row(row["case"], seconds, slow, ratio, f"{row['bar']:g}x", row["answers"])
    console.print(table)
    below = [row["case"] for row in rows if row["ratio"] < row["bar"]]
    console.print(f"below the bar: {', '.join(below)}" if below else "all bars are met")
    if out is not None:
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return timed


def measure(case: Case, rounds: int, advance: Callable[[], None]) -> Measured:
    """CPU time, ours and the reference by turns; the first pair only warms up and is compared."""
    answers = case.agree(case.ours(), case.reference())
    advance()
    ours, reference = [], []
    for _ in range(rounds):
        for function, times in ((case.ours, ours), (case.reference, reference)):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        advance()
    return Measured(
        case.name, "CPU s", ours, "the reference", reference, facts={"answers": answers}
    )


def in_numbers(case: Case, found: Measured) -> dict[str, Any]:
    """As a line of the table: medians."""
    seconds, slow = statistics.median(found.rounds), statistics.median(found.reference)
    return {
        "case": case.name,
        "seconds": seconds,
        "reference_seconds": slow,
        "ratio": slow / seconds,
        "bar": case.bar,
        "answers": found.facts["answers"],
    }


def decoding(people: int, seed: int) -> Case:
    """Heatmaps to picture coordinates with the quarter offset, against HRNet's formulas, which loop over maps."""
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(people, 17, 64, 48, generator=generator)
    scale = torch.rand(people, 1, generator=generator).double() + 0.2
    matrix = torch.zeros(
        people, 2, 3, dtype=torch.float64
    )  # picture to crop: upright boxes of many sizes
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale[:, 0]
    matrix[:, :, 2] = -scale * torch.rand(people, 2, generator=generator) * 300
    back = [np.linalg.inv(np.vstack([one, [0, 0, 1]]))[:2] for one in matrix.numpy()]

    def ours() -> tuple[np.ndarray, np.ndarray]:
        points, peaks = decode(heatmaps)
        return to_picture(points, matrix, STRIDE).numpy(), peaks.numpy()

    def agree(ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> str:
        apart = np.abs(ours[0] - theirs[0]).max()
        return f"within {apart:.0e} pixels" if np.array_equal(ours[1], theirs[1]) else "DIFFERENT"

    name = f"decode {people:,} x 17 maps of 64 x 48, against HRNet's loops"
    return Case(name, 8, ours, lambda: hrnet_decode(heatmaps.numpy(), back), agree)


def hrnet_decode(maps: np.ndarray, back: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of all maps, then map by map the quarter offset, then joint by joint the way to the picture."""
    people, joints, height, width = maps.shape
    flat = maps.reshape(people, joints, -1)
    place, peaks = flat.argmax(axis=2), flat.max(axis=2)
    points = (
        np.stack([place % width, place // width], axis=2).astype(np.float64)
        * (peaks > 0)[..., None]
    )
    for b in range(people):
        for k in range(joints):
            one = maps[b][k]
            x, y = math.floor(points[b][k][0] + 0.5), math.floor(points[b][k][1] + 0.5)
            if 1 < x < width - 1 and 1 < y < height - 1:
                slope = np.array([one[y][x + 1] - one[y][x - 1], one[y + 1][x] - one[y - 1][x]])
                points[b][k] += np.sign(slope) * 0.25
    for b in range(people):
        for k in range(joints):
            points[b, k] = np.dot(
                back[b], np.array([points[b, k, 0] * STRIDE, points[b, k, 1] * STRIDE, 1.0])
            )
    return points, peaks


def precision(truth: GroundTruth, found: Detections) -> Case:
    """The ten numbers against pycocotools' evaluation, both from data that is already loaded."""
    loaded = in_pycocotools(truth, found)
    name = f"OKS AP, {len(truth):,} persons and {len(found):,} detections, against pycocotools"

    def agree(ours: dict[str, float], theirs: np.ndarray) -> str:
        return f"ten numbers within {np.abs(np.array(list(ours.values())) - theirs).max():.0e}"

    return Case(
        name,
        10,
        lambda: average_precision(truth, found, SIGMAS.tolist()),
        lambda: official(*loaded),
        agree,
    )


def oks_to_the_rest(
    keypoints: np.ndarray, area: np.ndarray, one: int, others: np.ndarray
) -> np.ndarray:
    """OKS of one detection with others, one by one, as HRNet's scoring computes it."""
    oks = np.zeros(len(others))
    for n, other in enumerate(others):
        dx, dy = (keypoints[other, :, :2] - keypoints[one, :, :2]).T
        e = (dx**2 + dy**2) / (SIGMAS * 2) ** 2
        e = e / ((area[one] + area[other]) / 2 + np.spacing(1)) / 2
        oks[n] = np.sum(np.exp(-e)) / len(e)
    return oks


def hard_loop(
    members: np.ndarray,
    keypoints: np.ndarray,
    score: np.ndarray,
    area: np.ndarray,
    threshold: float,
) -> list[int]:
    """The detections of one picture that survive HRNet's OKS-NMS, the best first."""
    order, kept = members[np.argsort(-score[members], kind="stable")], []
    while len(order):
        kept.append(order[0])
        order = order[1:][oks_to_the_rest(keypoints, area, order[0], order[1:]) <= threshold]
    return kept


def suppression(found: Detections) -> Case:
    """OKS-NMS against HRNet's loops: over pictures, over survivors, over the rest."""
    area = found.area * PADDING**2
    pictures = [np.flatnonzero(found.image_id == picture) for picture in np.unique(found.image_id)]

    def loop() -> np.ndarray:
        survivors = []
        for members in pictures:
            survivors += hard_loop(members, found.keypoints, found.score, area, 0.9)
        return np.array(survivors)

    def ours() -> np.ndarray:
        return oks_nms(found.image_id, found.keypoints, found.score, area, SIGMAS.tolist(), 0.9)

    def agree(ours: np.ndarray, theirs: np.ndarray) -> str:
        same = "the same" if np.array_equal(ours, theirs) else "DIFFERENT"
        return f"{same} {len(theirs):,} survivors"

    return Case(f"OKS-NMS, {len(found):,} detections, against the loop", 6, ours, loop, agree)


def crowd(persons: int, detections: int, seed: int) -> tuple[GroundTruth, Detections]:
    """Random people of all sizes, some crowds and some without keypoints; detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    pictures = max(1, round(persons / PERSONS_PER_PICTURE))
    corner, size = rng.uniform(0, 400, (persons, 2)), rng.uniform(10, 300, (persons, 2))
    keypoints = (corner[:, None] + rng.random((persons, 17, 2)) * size[:, None]).round()
    visible = rng.integers(0, 3, (persons, 17)) * (rng.random((persons, 1)) > 0.05)
    crowds = rng.random(persons) < 0.03
    truth = GroundTruth(
        image_id=rng.integers(1, pictures + 1, persons),
        keypoints=keypoints,
        visible=visible,
        box=np.concatenate([corner, size], axis=1),
        area=size.prod(axis=1) * 0.6,
        crowd=crowds,
        ignore=crowds | (visible == 0).all(axis=1),
        person_id=np.arange(1, persons + 1),
        images=np.arange(1, pictures + 1),
    )
    of = rng.integers(0, persons, detections)
    spread = rng.choice([0.01, 0.02, 0.05, 0.2], detections) * np.sqrt(truth.area[of])
    points = keypoints[of] + rng.normal(size=(detections, 17, 2)) * spread[:, None, None]
    return truth, Detections(
        truth.image_id[of], points, rng.random(detections), extent_area(points)
    )


def in_pycocotools(truth: GroundTruth, found: Detections) -> tuple[Any, Any]:
    """The same people as pycocotools holds them."""
    from pycocotools.coco import COCO as Annotations

    persons = [
        {
            "id": int(truth.person_id[n]),
            "image_id": int(truth.image_id[n]),
            "category_id": 1,
            "iscrowd": int(truth.crowd[n]),
            "keypoints": np.c_[truth.keypoints[n], truth.visible[n]].ravel().tolist(),
            "num_keypoints": int((truth.visible[n] > 0).sum()),
            "bbox": truth.box[n].tolist(),
            "area": float(truth.area[n]),
        }
        for n in range(len(truth))
    ]
    results = [
        {
            "image_id": picture,
            "category_id": 1,
            "keypoints": np.c_[points, np.ones(17)].ravel().tolist(),
            "score": score,
        }
        for picture, points, score in zip(
            found.image_id.tolist(), found.keypoints, found.score.tolist(), strict=True
        )
    ]
    annotations = Annotations()
    annotations.dataset = {
        "images": [{"id": int(picture)} for picture in truth.images],
        "annotations": persons,
        "categories": [{"id": 1, "name": "person"}],
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
        return annotations, annotations.loadRes(results)


def official(annotations: Any, results: Any) -> np.ndarray:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(annotations, results, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.array(evaluation.stats)
