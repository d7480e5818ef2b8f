"""Scores of keypoints: of every stage of a network, or of a file of results; and the official evaluators' files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featherpose import intervals
from featherpose.console import console
from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import PoseError
from featherpose.evaluation import coco_json, error_plots
from featherpose.evaluation.predictions import (
    Predictions,
    annotation_file,
    write_mpii,
)
from featherpose.evaluation.what_goes_wrong import TABLE, what_goes_wrong
from featherpose.intervals import Evidence
from featherpose.metrics.average_precision import average_precision, matches
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.oks import OKS
from featherpose.metrics.pixels import pixel_errors
from featherpose.runs.predictions import keep_predictions
from featherpose.runs.record import RunRecord
from featherpose.runs.score import EVIDENCE, PREDICTIONS, Score


def use_detections(data: PoseDataModule) -> None:
    """Detected boxes take the place of the annotated ones."""
    if data.detections is None:
        raise PoseError(
            "The protocol scores detected boxes: say where they are with data.detections=FILE.json."
        )
    annotations = annotation_file(data.val_people)
    folder = coco_json.folder_of(data.val_people.persons[0], annotations)
    people = coco_json.detected_people(
        Path(data.detections), annotations, folder, len(data.skeleton)
    )
    people.sources = {**data.val_people.sources, **people.sources}
    data.validate_on(people)


def score(
    predictions: Predictions,
    data: PoseDataModule,
    mean: str | None,
    folder: Path,
    stages: bool = True,
    worst: int = 0,
    oracle: bool = False,
    turned: Mapping[float, Predictions] | None = None,
) -> dict[str, Any]:
    """Scores of all stages; submission files and pictures go to the folder.

    Args:
        predictions: of the data's validation people.
        data: what they are compared with.
        mean: over joints, where the measure has a choice of it.
        folder: for the files.
        stages: score every intermediate output too.
        worst: so many persons with the largest errors as pictures.
        oracle: of COCO: have pycocotools score the written file too.
        turned: what was predicted in pictures turned by so many degrees.
    """
    # One metric for each stage
    metrics = []
    first = 0 if stages else len(predictions.keypoints) - 1
    for keypoints, confidence in zip(
        predictions.keypoints[first:], predictions.confidence[first:], strict=True
    ):
        metric = data.new_metric(mean)
        metric.update(*map(torch.from_numpy, (predictions.index, keypoints, confidence)))
        metrics.append(metric)
    scores = [metric.compute() for metric in metrics]
    last = metrics[-1]
    # What is left of it: the keypoints, the official file, the plots
    everything = (predictions.index, predictions.keypoints, predictions.confidence)
    keep_predictions(folder / PREDICTIONS, *everything, data.val_people.persons)
    results = write_submission(folder, data, last, predictions)
    title = f"{last.main} {scores[-1][last.main]:.2f} on {data.name}, {len(predictions.index):,} persons"
    error_plots.by_joint(folder / "joints.png", metrics, data.skeleton, title)
    if worst and not error_plots.worst(folder / "worst.png", last, data.load, data.skeleton, worst):
        console.print("[dim]no picture is there to show the worst cases on[/]")
    evidence = last.evidence()
    intervals.save(folder / EVIDENCE, evidence)
    values, counts = last.by_joint()
    return {
        "main": last.main,
        "persons": len(predictions.index),
        "expected": len(data.val_people.persons),
        "annotated": annotated(last),
        "scores": scores[-1],
        "interval": _bounds(evidence),
        "stages": scores,
        "joints": {
            joint: {"score": float(value), "annotated": int(count)}
            for joint, value, count in zip(data.skeleton.joints, values, counts, strict=True)
        },
        **pixels_of(last, data),
        **what_goes_wrong(last, data, mean, folder, turned or {}),
        **(
            ask_pycocotools(data, last, results, scores[-1])
            if oracle and results and isinstance(last, OKS)
            else {}
        ),
    }


def pixels_of(metric: KeypointMetric, data: PoseDataModule) -> dict[str, Any]:
    """Each joint's error in the pictures' pixels; of detected boxes nothing: they are nobody's."""
    if data.val_people.boxes != "ground_truth":
        return {}
    return {"pixels": [asdict(row) for row in pixel_errors(metric)]}


def _bounds(evidence: Evidence) -> list[float]:
    """The main score's 95% interval."""
    found = intervals.interval(evidence)
    return [found.low, found.high]


def annotated(metric: KeypointMetric) -> int:
    """How many annotated people count, whichever boxes were predicted on."""
    if isinstance(metric, OKS):
        return int((~metric.official_truth().ignore).sum())
    return len(metric.persons)


def keep_beside_run(
    checkpoint: Path, data: PoseDataModule, record: dict[str, Any], folder: Path
) -> None:
    """A score of a finished run's best checkpoint becomes one of the run's scores, which tables show."""
    place = checkpoint.parent.parent
    run = RunRecord.read(place)
    if run is None or run.best is None or checkpoint.name != "best.ckpt":
        return
    found = Score(
        metric=record["main"],
        values={"score": record["scores"][record["main"]], **record["scores"]},
        data=data.scored_on,
        persons=record["annotated"],
        input_size=list(data.input_size),
        protocol=record["protocol"],
        precision=record["precision"],
        epoch=run.best.epoch,
        interval=record["interval"],
    )
    table = folder / TABLE
    errors = table.read_text(encoding="utf-8") if table.is_file() else None
    kept = found.write(place, intervals.load(folder / EVIDENCE), errors)
    console.print(f"[dim]kept beside the run, for tables: {kept}[/]")


def write_submission(
    folder: Path, data: PoseDataModule, metric: KeypointMetric, predictions: Predictions
) -> Path | None:
    """The official evaluators' file: a COCO result json, or MPII's pred.mat."""
    if isinstance(metric, OKS):
        index, keypoints, confidence, scores = metric.results()
        image_id = metric.persons.image_id[index]
        path = folder / "keypoints_results.json"
        names = metric.official_truth().names
        coco_json.write_results(path, image_id, keypoints, confidence, scores, names)
        return path
    if data.name == "mpii" and not data.skeleton.partial:
        write_mpii(folder / "pred.mat", predictions.keypoints[-1])
    return None


def score_results(path: Path, data: PoseDataModule, metric: OKS, oracle: bool) -> dict[str, Any]:
    """The ten numbers of a COCO result file as it is: neither rescored nor suppressed again."""
    truth = metric.official_truth()
    found, _ = coco_json.read_results(path, truth, data.skeleton)
    numbers = average_precision(truth, found, metric.sigmas)
    scores = metric.named(numbers)
    persons = int((~truth.ignore).sum())
    return {
        "main": metric.main,
        "persons": persons,
        "expected": persons,
        "detections": len(found),
        "scores": scores,
        "interval": _bounds(matches(truth, found, metric.sigmas)),
        "stages": [],
        **(ask_pycocotools(data, metric, path, scores) if oracle else {}),
    }


def ask_pycocotools(
    data: PoseDataModule, metric: OKS, results: Path, scores: dict[str, float]
) -> dict[str, Any]:
    """The official evaluator's numbers for the same files, and how far ours are from them."""
    theirs = coco_json.official_scores(annotation_file(data.val_people), results, metric.sigmas)
    ours = list(scores.values())[: len(theirs)]  # in the same order, the first by the metric's name
    apart = np.nanmax(np.abs(np.array(ours) - list(theirs.values())))
    console.print(
        f"pycocotools on {results.name}: AP {theirs['AP']:.3f}; its ten numbers are within {apart:.0e} of these"
    )
    return {"pycocotools": theirs}
