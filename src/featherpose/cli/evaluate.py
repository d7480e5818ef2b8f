"""Score a checkpoint, published weights, an ONNX file or a file of predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from featherpose import intervals
from featherpose.console import console
from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import UsageError
from featherpose.evaluation import by_network, score_report, submission
from featherpose.evaluation.predictions import Predictions, read_keypoints
from featherpose.evaluation.scoring import keep_beside_run, score, score_results, use_detections
from featherpose.inference.backends import Backend, FileBackend
from featherpose.inference.by_name import ByName, for_joints
from featherpose.inference.checkpoints import TorchBackend, from_checkpoint, from_weights
from featherpose.inference.estimator import Estimator
from featherpose.machine import arithmetic, set_matmul
from featherpose.metrics.oks import OKS
from featherpose.models.network import output_names_of, stage_names
from featherpose.overrides.as_dict import as_dict
from featherpose.protocol import PAPER_TTA, Protocol
from featherpose.runs.score import EVIDENCE
from featherpose.settings import exactly_one, number
from featherpose.skeletons import skeleton_of
from featherpose.targets import build
from featherpose.training.build import data_of_checkpoint
from featherpose.zoo.checkpoint import find_checkpoint, load_checkpoint
from featherpose.zoo.shipped import file_of_name

SOURCES = ("checkpoint", "weights", "onnx", "predictions")


@dataclass(frozen=True)
class Scored:
    """One set that was scored: the folder of its files, how it was done, and what `score` found."""

    folder: Path
    data: PoseDataModule
    protocol: dict[str, Any]  # as it was applied
    found: dict[str, Any]
    backend: Backend | None = None


def main(cfg: DictConfig) -> float:
    """Predicts or reads predictions, scores them, writes everything to `out`; gives the main score."""
    started = time.perf_counter()
    source = _source(cfg)
    set_matmul(cfg.matmul)
    folder = Path(cfg.out)
    folder.mkdir(parents=True, exist_ok=True)
    if cfg.submit:
        return submit(cfg, source, folder)
    compare = [cfg.compare] if isinstance(cfg.compare, str) else list(cfg.compare or ())
    earlier = [score_report.read(path) for path in compare]
    kept = [intervals.load(score_report.file_of(path).parent / EVIDENCE) for path in compare]
    records: list[score_report.Record] = []
    of_network = source != "predictions"
    sets = score_network(cfg, source) if of_network else [score_file(cfg)]
    for part in sets:
        record = record_of(cfg, source, part, started)
        score_report.write(part.folder / "metrics.json", record)
        if source == "checkpoint":
            keep_beside_run(find_checkpoint(cfg.checkpoint), part.data, record, part.folder)
        score_report.show(console, record)
        files = sorted(each.name for each in part.folder.iterdir() if each.is_file())
        console.print(f"written to {part.folder}: {', '.join(files)}")
        records.append(record)
    if earlier:
        evidence = [intervals.load(folder / EVIDENCE), *kept]
        score_report.compare(console, [records[0], *earlier], evidence)
    return records[0]["scores"][records[0]["main"]]


def score_network(cfg: DictConfig, source: str) -> Iterator[Scored]:
    """Of each set of the data: the first in `out`, further ones in folders of their names."""
    data, estimator = open_estimator(cfg, source)
    backend, protocol = estimator.backend, estimator.protocol
    if isinstance(backend, ByName):
        backend = backend.backend
    for name, part in {"": data, **data.also}.items():
        folder = Path(cfg.out) / name
        predictions = by_network.predict(estimator, part.val_loader())
        turned = predict_turned(cfg, estimator, part)
        found = score(predictions, part, protocol.mean, folder, **how_much(cfg), turned=turned)
        how = part.stamp(protocol, backend.description.stride, part.new_metric(protocol.mean))
        yield Scored(folder, part, how, found, backend)


def score_file(cfg: DictConfig) -> Scored:
    """Of keypoints in a file, of whose making nothing is known."""
    folder, path, protocol = Path(cfg.out), Path(cfg.predictions), protocol_of(cfg, PAPER_TTA)
    data = build_data(_chosen_data(cfg), cfg, pictures_needed=False, also=None)
    metric = data.new_metric(protocol.mean)
    how = {"name": score_report.UNKNOWN, "boxes": score_report.UNKNOWN, "mean": metric.mean}
    if isinstance(metric, OKS) and ".json" in path.suffixes:
        return Scored(folder, data, how, score_results(path, data, metric, cfg.oracle))
    people, joints = data.val_people, len(data.skeleton)
    predictions = read_keypoints(path, people, joints, _first_pixel(cfg, data))
    if cfg.joints is not None:
        predictions = predictions.of_joints(data.validate_joints(cfg.joints))
    found = score(predictions, data, protocol.mean, folder, **how_much(cfg))
    return Scored(folder, data, how, found)


def how_much(cfg: DictConfig) -> dict[str, Any]:
    return {"stages": cfg.stages, "worst": int(cfg.worst or 0), "oracle": cfg.oracle}


def record_of(cfg: DictConfig, source: str, part: Scored, started: float) -> score_report.Record:
    """What `metrics.json` holds."""
    backend, people = part.backend, part.data.val_people
    return {
        "name": Path(str(cfg[source])).stem,
        source: str(cfg[source]),
        "dataset": part.data.scored_on,
        "split": "val",
        "only": list(part.data.skeleton.joints) if part.data.skeleton.partial else None,
        "protocol": part.protocol,
        "precision": score_report.UNKNOWN if backend is None else precision_of(backend),
        **part.found,
        "stage_names": _stage_names(backend, len(part.found["stages"])),
        "skipped": people.skipped,
        "annotations": dict(people.sources),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": {name: version(name) for name in ("featherpose", "torch", "numpy")},
    }


def _stage_names(backend: Backend | None, count: int) -> list[str]:
    """What each scored output is, by the network; of files and keypoints the network is not known."""
    if isinstance(backend, TorchBackend):
        return output_names_of(backend.network, count)[-count:]
    return stage_names(count)


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
    if cfg.submit:
        config = config | {"read": _read_submitted(cfg.submit, config)}
    data: PoseDataModule = build(config, **plain, **shape)
    data.setup("validate")
    return data


def _read_submitted(of: str, config: dict[str, Any]) -> dict[str, Any]:
    """The node that reads the detected people of a set without annotations."""
    return {
        "_target_": "featherpose.evaluation.submission.people",
        "_partial_": True,
        "of": of,
        "detections": config.get("detections"),
        "joints": len(skeleton_of(config["skeleton"])),
    }


def submit(cfg: DictConfig, source: str, folder: Path) -> float:
    """Writes the file for COCO's server: the score is known there alone."""
    if cfg.get("data") is None or source == "predictions" or cfg.protocol.boxes != "detections":
        raise UsageError(
            "submit= needs a network, data=coco, protocol.boxes=detections and data.detections=FILE.json."
        )
    data, estimator = open_estimator(cfg, source)
    predictions = by_network.predict(estimator, data.val_loader())
    name = Path(str(cfg.name or cfg[source])).stem
    packed = submission.write(folder, data, predictions, cfg.submit, name)
    console.print(
        f"{len(predictions.index):,} people predicted, the file is checked; upload {packed}"
    )
    return float("nan")


def _first_pixel(cfg: DictConfig, data: PoseDataModule) -> int:
    return int(data.name == "mpii") if cfg.first_pixel is None else int(cfg.first_pixel)


def precision_of(backend: Backend) -> str:
    """In which arithmetic the network ran."""
    if isinstance(backend, TorchBackend):
        return arithmetic("32-true", str(backend.device))
    written = backend.description.precision
    return "32-true" if written == "float32" else written


def protocol_of(cfg: DictConfig, own: Protocol) -> Protocol:
    """The network's own, as it was validated in training, but for what was asked for."""
    return own.with_changes(as_dict(cfg.protocol))


def open_estimator(cfg: DictConfig, source: str) -> tuple[PoseDataModule, Estimator]:
    """The network by its own protocol or the one asked for, and the data chosen or its own."""
    backend, data = open_network(cfg, source)
    own = backend.description.protocol
    protocol = protocol_of(cfg, own)
    if protocol != own:
        asked = protocol.as_dict().items()
        changed = ", ".join(f"{key} {value}" for key, value in asked if value != getattr(own, key))
        console.print(f"[dim]the network's own protocol is {own.name}; asked for: {changed}[/]")
    if cfg.joints is not None:
        data.validate_joints(cfg.joints)
    backend = for_joints(
        backend,
        data.skeleton,
        hint="joints=limbs scores those of arms and legs alone, joints=[NAME,NAME] others.",
    )
    if protocol.boxes == "detections" and data.val_people.boxes != "detections":
        use_detections(data)
    return data, Estimator(backend, protocol)


def predict_turned(
    cfg: DictConfig, estimator: Estimator, data: PoseDataModule
) -> dict[float, Predictions]:
    """What the network finds in pictures turned by `rotate`, twice that, and so on up to 180 degrees."""
    if cfg.rotate is None:
        return {}
    step = number("rotate", cfg.rotate, above=0, most=180)
    if data.val_people.boxes != "ground_truth":
        raise UsageError(
            "rotate= is for annotated boxes: detected ones are of pictures as they are."
        )
    return {
        float(angle): by_network.predict(estimator, data.turned_dataloader(float(angle)))
        for angle in np.arange(step, 180 + step / 2, step)
    }


def open_network(cfg: DictConfig, source: str) -> tuple[Backend, PoseDataModule]:
    """What runs the network that the config names, and the data in crops of its size."""
    if source == "onnx":
        config = _chosen_data(cfg)
        skeleton = build(config).skeleton
        file = file_of_name(str(cfg.onnx)) or cfg.onnx
        backend = FileBackend(file, cfg.runtime, cfg.threads, skeleton)
        size, stride = list(backend.description.input_size), backend.description.stride
        return backend, build_data({**config, "input_size": size}, cfg, stride=stride)
    if source == "checkpoint":
        return open_checkpoint(cfg)
    config = _chosen_data(cfg)
    model = as_dict(cfg.model)
    trained = from_weights(cfg.weights, model, config, protocol_of(cfg, PAPER_TTA))
    config["input_size"] = list(trained.input_size)
    return TorchBackend(trained, cfg.device), build_data(config, cfg, stride=trained.stride)


def open_checkpoint(cfg: DictConfig) -> tuple[Backend, PoseDataModule]:
    """A checkpoint's network, and the data chosen or those that it was trained on."""
    saved = load_checkpoint(cfg.checkpoint)
    trained = from_checkpoint(saved, cfg.trust)
    if cfg.get("data") is not None:
        config = _chosen_data(cfg)
        config["input_size"] = config.get("input_size") or list(trained.input_size)
        data = build_data(config, cfg, stride=trained.stride)
    else:
        how = {"stride": trained.stride, "batch_size": cfg.batch_size, "workers": cfg.workers}
        data = data_of_checkpoint(saved, cfg.paths.data, cfg.trust, **how)
        data.setup("validate")
    return TorchBackend(trained, cfg.device), data
