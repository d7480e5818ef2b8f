"""Score a checkpoint, published weights, an ONNX file or a file of predictions."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from featherpose.console import console
from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import PoseError, UsageError
from featherpose.evaluation import by_network, coco_json, error_plots, score_report
from featherpose.evaluation.predictions import (
    Predictions,
    annotation_file,
    read_keypoints,
    write_mpii,
    write_run,
)
from featherpose.inference.backends import Backend, FileBackend
from featherpose.inference.checkpoints import TorchBackend, from_checkpoint, from_weights
from featherpose.inference.estimator import Estimator
from featherpose.machine import set_matmul
from featherpose.metrics.average_precision import average_precision
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.oks import OKS
from featherpose.overrides.as_dict import as_dict
from featherpose.protocol import Protocol
from featherpose.settings import exactly_one
from featherpose.skeletons import Skeleton
from featherpose.targets import build
from featherpose.training.build import data_of_checkpoint
from featherpose.zoo.checkpoint import load_checkpoint

SOURCES = ("checkpoint", "weights", "onnx", "predictions")


def main(cfg: DictConfig) -> float:
    """Predicts or reads predictions, scores them, writes everything to `out`; gives the main score."""
    started = time.perf_counter()
    source = _source(cfg)
    set_matmul(cfg.matmul)
    folder = Path(cfg.out)
    folder.mkdir(parents=True, exist_ok=True)
    protocol = Protocol.of(as_dict(cfg.protocol))
    earlier = [score_report.read(path) for path in cfg.compare]
    if source == "predictions":
        data = build_data(_chosen_data(cfg), cfg, pictures_needed=False)
        metric = data.new_metric(protocol.mean)
        how = {"name": score_report.UNKNOWN, "boxes": score_report.UNKNOWN, "mean": metric.mean}
        path = Path(cfg.predictions)
        if isinstance(metric, OKS) and ".json" in path.suffixes:
            found = score_results(path, data, metric, cfg.oracle)
        else:
            predictions = read_keypoints(
                path, data.val_people, len(data.skeleton), _first_pixel(cfg, data)
            )
            found = score(predictions, data, protocol, folder, cfg)
    else:
        data, predictions, stride = run_network(cfg, source, protocol)
        how = data.stamp(protocol, stride, data.new_metric(protocol.mean))
        found = score(predictions, data, protocol, folder, cfg)
    record: score_report.Record = {
        "name": Path(str(cfg[source])).stem,
        source: str(cfg[source]),
        "dataset": data.name,
        "split": "val",
        "protocol": how,
        **found,
        "skipped": data.val_people.skipped,
        "annotations": dict(data.val_people.sources),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": {name: version(name) for name in ("featherpose", "torch", "numpy")},
    }
    score_report.write(folder / "metrics.json", record)
    score_report.show(console, record)
    if earlier:
        score_report.compare(console, [record, *earlier])
    console.print(
        f"written to {folder}: {', '.join(sorted(each.name for each in folder.iterdir() if each.is_file()))}"
    )
    return record["scores"][record["main"]]


def _source(cfg: DictConfig) -> str:
    given = exactly_one(cfg, SOURCES, "what to score")
    if given == "weights" and cfg.get("model") is None:
        raise UsageError(
            "weights= holds numbers only: say which network they are of with model=NETWORK."
        )
    return given


def _chosen_data(cfg: DictConfig) -> dict[str, Any]:
    if cfg.get("data") is None:
        raise UsageError("Say what to score on with data=DATASET, e.g. data=mpii.")
    return as_dict(cfg.data)


def build_data(
    config: dict[str, Any], cfg: DictConfig, pictures_needed: bool = True, **shape: Any
) -> PoseDataModule:
    """The data module of a config; without pictures, people whose picture is not there are scored too."""
    plain = {"augment": None, "cache": None, "batch_size": cfg.batch_size, "workers": cfg.workers}
    read = config.get("read") or {}
    if not pictures_needed and "pictures" in read:
        config = config | {"read": read | {"pictures": "ignore"}}
    data: PoseDataModule = build(config, **plain, **shape)
    data.setup("validate")
    return data


def _first_pixel(cfg: DictConfig, data: PoseDataModule) -> int:
    return int(data.name == "mpii") if cfg.first_pixel is None else int(cfg.first_pixel)


def run_network(
    cfg: DictConfig, source: str, protocol: Protocol
) -> tuple[PoseDataModule, Predictions, int]:
    """Everybody's keypoints by a network, on the data chosen or on its own; and its stride."""
    backend, data = open_network(cfg, source, protocol)
    description = backend.description
    _check_skeleton(description.skeleton, data.skeleton)
    if protocol.boxes == "detections":
        _use_detections(data)
    estimator = Estimator(backend, protocol)
    return data, by_network.predict(estimator, data.val_dataloader()), description.stride


def open_network(
    cfg: DictConfig, source: str, protocol: Protocol
) -> tuple[Backend, PoseDataModule]:
    """What runs the network that the config names, and the data in crops of its size."""
    if source == "onnx":
        config = _chosen_data(cfg)
        skeleton = build(config).skeleton
        backend = FileBackend(cfg.onnx, cfg.runtime, cfg.threads, skeleton)
        size, stride = list(backend.description.input_size), backend.description.stride
        return backend, build_data({**config, "input_size": size}, cfg, stride=stride)
    if source == "checkpoint":
        return open_checkpoint(cfg, protocol)
    config = _chosen_data(cfg)
    model = as_dict(cfg.model)
    trained = from_weights(cfg.weights, model, config, protocol.as_dict())
    config["input_size"] = list(trained.input_size)
    return TorchBackend(trained, cfg.device), build_data(config, cfg, stride=trained.stride)


def open_checkpoint(cfg: DictConfig, protocol: Protocol) -> tuple[Backend, PoseDataModule]:
    """A checkpoint's network, and the data chosen or those that it was trained on."""
    saved = load_checkpoint(cfg.checkpoint)
    trained = from_checkpoint(saved, cfg.trust)
    before = trained.protocol.name
    if before != protocol.name:
        console.print(
            f"[dim]{saved.path.name} was validated by {before} while it trained; this is {protocol.name}[/]"
        )
    if cfg.get("data") is not None:
        config = _chosen_data(cfg)
        config["input_size"] = config.get("input_size") or list(trained.input_size)
        data = build_data(config, cfg, stride=trained.stride)
    else:
        how = {"stride": trained.stride, "batch_size": cfg.batch_size, "workers": cfg.workers}
        data = data_of_checkpoint(saved, cfg.paths.data, cfg.trust, **how)
        data.setup("validate")
    return TorchBackend(trained, cfg.device), data


def _check_skeleton(network: Skeleton, data: Skeleton) -> None:
    if network.joints != data.joints:
        raise PoseError(
            f"This network predicts the skeleton {network.name} ({len(network)} joints), but the data has "
            f"{data.name} ({len(data)} joints)."
        )


def _use_detections(data: PoseDataModule) -> None:
    """Detected boxes take the place of the annotated ones."""
    if data.detections is None:
        raise PoseError(
            "The protocol scores detected boxes: say where they are with data.detections=FILE.json."
        )
    annotations = annotation_file(data.val_people)
    folder = Path(data.val_people.persons[0].image).parent
    people = coco_json.detected_people(
        Path(data.detections), annotations, folder, len(data.skeleton)
    )
    people.sources = {**data.val_people.sources, **people.sources}
    data.validate_on(people)


def score(
    predictions: Predictions,
    data: PoseDataModule,
    protocol: Protocol,
    folder: Path,
    cfg: DictConfig,
) -> dict[str, Any]:
    """Scores of all stages; submission files and pictures go to the folder."""
    metrics = []
    first = 0 if cfg.stages else len(predictions.keypoints) - 1
    for keypoints, confidence in zip(
        predictions.keypoints[first:], predictions.confidence[first:], strict=True
    ):
        metric = data.new_metric(protocol.mean)
        metric.update(*map(torch.from_numpy, (predictions.index, keypoints, confidence)))
        metrics.append(metric)
    stages = [metric.compute() for metric in metrics]
    last = metrics[-1]
    write_run(folder / "predictions" / "val.npz", predictions, data.val_people.persons)
    results = write_submission(folder, data, last, predictions)
    title = f"{last.main} {stages[-1][last.main]:.2f} on {data.name}, {len(predictions.index):,} persons"
    error_plots.by_joint(folder / "joints.png", metrics, data.skeleton, title)
    if cfg.worst and not error_plots.worst(
        folder / "worst.png", last, data.load, data.skeleton, cfg.worst
    ):
        console.print("[dim]no picture is there to show the worst cases on[/]")
    values, counts = last.by_joint()
    return {
        "main": last.main,
        "persons": len(predictions.index),
        "expected": len(data.val_people.persons),
        "scores": stages[-1],
        "stages": stages,
        "joints": {
            joint: {"score": float(value), "annotated": int(count)}
            for joint, value, count in zip(data.skeleton.joints, values, counts, strict=True)
        },
        **(ask_pycocotools(data, results, stages[-1]) if cfg.oracle and results else {}),
    }


def write_submission(
    folder: Path, data: PoseDataModule, metric: KeypointMetric, predictions: Predictions
) -> Path | None:
    """The official evaluators' file: a COCO result json, or MPII's pred.mat."""
    if isinstance(metric, OKS):
        index, keypoints, confidence, scores = metric.results()
        image_id = np.array([metric.persons[i].image_id for i in index], np.int64)
        path = folder / "keypoints_results.json"
        names = metric.official_truth().names
        coco_json.write_results(path, image_id, keypoints, confidence, scores, names)
        return path
    if data.name == "mpii":
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
        "stages": [],
        **(ask_pycocotools(data, path, scores) if oracle else {}),
    }


def ask_pycocotools(
    data: PoseDataModule, results: Path, scores: dict[str, float]
) -> dict[str, Any]:
    """The official evaluator's numbers for the same files, and how far ours are from them."""
    theirs = coco_json.official_scores(annotation_file(data.val_people), results, data.skeleton)
    ours = list(scores.values())[: len(theirs)]  # in the same order, the first by the metric's name
    apart = np.nanmax(np.abs(np.array(ours) - list(theirs.values())))
    console.print(
        f"pycocotools on {results.name}: AP {theirs['AP']:.3f}; its ten numbers are within {apart:.0e} of these"
    )
    return {"pycocotools": theirs}
