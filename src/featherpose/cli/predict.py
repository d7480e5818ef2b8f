"""Poses in pictures, videos and camera streams."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from featherpose.console import console
from featherpose.errors import UsageError
from featherpose.files import write_atomically
from featherpose.inference.beside import Beside
from featherpose.inference.boxes import BoxesFromFile, FindBoxes, filled, whole_picture
from featherpose.inference.jitter import Tracks
from featherpose.inference.people import AUTO, NONE, finder_of
from featherpose.inference.pose import FoundPose, Pose
from featherpose.inference.predicting import predict
from featherpose.inference.results import Results, plain
from featherpose.inference.smoothing import OneEuro
from featherpose.inference.streams import Frame, Source, open_source
from featherpose.machine import set_matmul
from featherpose.overrides.as_dict import as_dict
from featherpose.settings import number, only_one, switch, whole
from featherpose.skeletons import Skeleton
from featherpose.zoo.shipped import DEFAULT

if TYPE_CHECKING:
    from featherpose.importing.predicted import Predicted

NETWORKS = ("checkpoint", "weights", "onnx")
WHOLE = {"batch_size": 1, "threads": 0, "detect_every": 0, "limit": 1}  # and the least of each
FRACTIONS = ("draw_threshold", "track_threshold", "oks_threshold", "turned")
OF_WEIGHTS = ("model", "data", "protocol", "schedule", "augment", "loss")
MAY_BE_NULL = ("limit", "oks_threshold", "turned")
SWITCHES = ("trust", "smooth", "jitter", "pictures")


def main(cfg: DictConfig) -> None:
    """Predicts on every frame of the source; writes pictures or video, keypoints.json and keypoints.csv to `out`."""
    if cfg.source is None:
        raise UsageError(
            "Say what to predict on with source=PICTURE|FOLDER|'GLOB'|VIDEO|CAMERA_NUMBER."
        )
    check(cfg)
    pose = open_pose(cfg)
    source = open_source(cfg.source)
    keep_the_own(cfg, source)
    find, every = boxes_for(cfg, pose.skeleton)
    closer = cfg.boxes in (None, "auto", "track")
    smooth = OneEuro(**(cfg.smoothing or {})) if cfg.smooth else None
    if cfg.smooth and not source.moving:
        console.print("smooth=true is for videos; pictures stay as they are")
    rate = source.rate if source.moving else None
    name = Path(source.name).stem.replace(" ", "") or "video"
    drawing = partial(pose.draw, threshold=cfg.draw_threshold) if cfg.pictures else None
    tracks = Tracks(pose.skeleton) if cfg.jitter else None
    labels = labels_for(cfg, source, pose)
    people = frames = 0
    ended = stopped = False  # whether every frame was seen; whether somebody did not wait for that
    started = time.perf_counter()
    with (
        Results(Path(cfg.out), pose.skeleton, rate, cfg.pictures, name, source.pictures) as results,
        killed_as_stopped(),
        bar() as progress,
        Beside() as write,
    ):
        task = progress.add_task("predicting", total=source.total, rate="")
        try:
            for frame, found in predict(
                source,
                pose,
                find,
                every,
                smooth,
                cfg.track_threshold,
                cfg.oks_threshold,
                closer,
                cfg.turned,
            ):
                write(partial(add, results, frame, found, drawing))
                if tracks is not None:
                    tracks.add(frame, found)
                if labels is not None:
                    height, width = frame.picture.shape[:2]
                    poses = [(each.keypoints, each.confidence) for each in found]
                    labels.add(frame.name, (width, height), poses)
                frames, people = frames + 1, people + len(found)
                speed = frames / (time.perf_counter() - started)
                progress.update(task, completed=frame.index + 1, rate=f"{speed:.1f} frames/s")
                if cfg.limit and frames >= cfg.limit:
                    break
            else:
                ended = True
        except KeyboardInterrupt:
            stopped = True
            console.print("stopped; what was done is written")
    tell_rate(source, frames, people, time.perf_counter() - started)
    if ended and isinstance(find, BoxesFromFile) and (unused := find.unused()):
        console.print(f"[yellow]boxes:[/] {escape(plain(unused))}")
    if tracks is not None:
        tell_jitter(tracks, rate, Path(cfg.out))
        results.written.append("jitter.json")
    if labels is not None and frames:
        for folder in labels.write(Path(cfg.out)):
            console.print(f"labels to correct: {folder}", soft_wrap=True)
    tell_files(Path(cfg.out), results.written)
    if stopped and not source.live:  # a camera has no other end
        raise SystemExit(130)


def check(cfg: DictConfig) -> None:
    """Settings that can't be are refused before anything is opened."""
    for key, least in WHOLE.items():
        if cfg[key] is not None or key not in MAY_BE_NULL:
            cfg[key] = whole(key, cfg[key], least)
    for key in FRACTIONS:
        if cfg[key] is not None or key not in MAY_BE_NULL:
            cfg[key] = number(key, cfg[key], 0, 1)
    cfg.box_threshold = number("box_threshold", cfg.box_threshold, 0)  # files have scores above 1
    for key in cfg.smoothing or ():
        cfg.smoothing[key] = number(f"smoothing.{key}", cfg.smoothing[key], 0)
    for key in SWITCHES:
        cfg[key] = switch(key, cfg[key])


def keep_the_own(cfg: DictConfig, source: Source) -> None:
    """Drawings bear the names of what they are drawn on: none is written where the source itself lies."""
    if not cfg.out:
        raise UsageError("out= is empty: name a folder to write to, out=FOLDER.")
    own = source.pictures or ([Path(source.name)] if source.moving and not source.live else [])
    # a link lies in one folder and its file in another; drawings would take the place of either
    folders = {folder.resolve() for path in own for folder in (path.parent, path.resolve().parent)}
    if cfg.pictures and Path(cfg.out).resolve() in folders:
        raise UsageError(
            f"The source lies in out={cfg.out}, where drawings would overwrite it: choose another folder with "
            "out=FOLDER, or draw nothing with pictures=false."
        )


@contextmanager
def killed_as_stopped() -> Generator[None]:
    """What `kill`, `timeout` and `docker stop` send is as Ctrl-C; only a main thread hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def tell_rate(source: Source, frames: int, people: int, seconds: float) -> None:
    """How much was done in which time, and what could not be read."""
    for problem in source.problems:
        console.print(f"[yellow]left out:[/] {escape(plain(problem))}")
    what = "frames" if source.moving else "pictures"
    console.print(
        f"{frames} {what}, {people} poses in {seconds:.1f} s: {frames / seconds:.1f} frames/s, "
        f"{people / seconds:.1f} people/s with reading, drawing and writing"
    )


def tell_files(folder: Path, written: list[str]) -> None:
    """The first few."""
    written = sorted(written)
    more = f" and {len(written) - 6} more" if len(written) > 6 else ""
    console.print(plain(f"written to {folder}: {', '.join(written[:6])}{more}"), markup=False)


def labels_for(cfg: DictConfig, source: Source, pose: Pose) -> Predicted | None:
    """What gathers labels, where they are wanted."""
    if not cfg.labels:
        return None
    if source.moving:
        raise UsageError("labels= is for pictures: take frames out of the video first.")
    from featherpose.importing.predicted import Predicted

    kinds = list(cfg.labels) if isinstance(cfg.labels, ListConfig) else [cfg.labels]
    labels = Predicted(pose.skeleton, kinds, cfg.draw_threshold)
    labels.refuse_corrected(Path(cfg.out), "out=FOLDER")
    return labels


def tell_jitter(tracks: Tracks, rate: float | None, folder: Path) -> None:
    """One line, and `jitter.json` beside the keypoints."""
    found = tracks.measure(rate)
    write_atomically(folder / "jitter.json", found.as_json())
    console.print(found.in_words(), markup=False)


def add(
    results: Results,
    frame: Frame,
    found: list[FoundPose],
    drawing: Callable[[np.ndarray, list[FoundPose]], np.ndarray] | None,
) -> None:
    results.add(frame, found, drawing(frame.picture, found) if drawing else None)


def bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, TextColumn("{task.fields[rate]}"), console=console, transient=True)


def open_pose(cfg: DictConfig) -> Pose:
    """The network that the config names, with the protocol's single entries replaced where the config gives them."""
    given = only_one(cfg, NETWORKS, "which network")
    if given != "weights":
        refuse_unread(given)
    changes = {key: cfg[key] for key in ("flip", "decoder") if cfg[key] is not None}
    how: dict[str, Any] = {"device": cfg.device, "batch_size": cfg.batch_size, "protocol": changes}
    if not given:
        console.print(
            f"[dim]network: {DEFAULT}, which ships with featherpose; others with checkpoint= or onnx=[/]"
        )
        return Pose(DEFAULT, runtime=cfg.runtime, threads=cfg.threads, **how)
    if given != "onnx":
        set_matmul(cfg.matmul)
    if given != "weights":
        return Pose(cfg[given], runtime=cfg.runtime, threads=cfg.threads, trust=cfg.trust, **how)
    choices = HydraConfig.get().runtime.choices
    if not choices.get("model") or not choices.get("data"):
        raise UsageError(
            "weights= holds numbers only: say which network they are of with model=… and data=…"
        )
    settings = as_dict(cfg)
    return Pose.from_weights(
        cfg.weights, settings["model"], settings["data"], settings["protocol"], **how
    )


def refuse_unread(given: str | None) -> None:
    """Choices of what only weights= needs, which would change nothing without a word."""
    for word in HydraConfig.get().overrides.task:
        if re.match(rf"[+~]*({'|'.join(OF_WEIGHTS)})\b", word):
            which = (
                f"{given}="
                if given
                else f"{DEFAULT}, which predicts without checkpoint=, weights= or onnx=,"
            )
            raise UsageError(
                f"{word} goes with weights= alone: {which} brings its own network, data and protocol; "
                "flip= and decoder= change the protocol."
            )


def boxes_for(cfg: DictConfig, skeleton: Skeleton) -> tuple[FindBoxes, int]:
    """Where the boxes come from, and after how many frames of a video they are asked for anew."""
    boxes = "auto" if cfg.boxes is None else str(cfg.boxes)
    if boxes not in ("auto", "track") and cfg.detector not in (None, AUTO, NONE):
        console.print(
            f"detector={cfg.detector} is not asked: boxes={boxes} says where people are",
            markup=False,
        )
    if boxes not in ("auto", "whole", "track"):
        return BoxesFromFile(boxes, cfg.box_threshold), 1
    if boxes == "whole":
        return filled, 1
    find = finder_of(cfg.detector, skeleton, cfg.detector_kind, cfg.box_threshold, cfg.threads)
    return find, 0 if find is whole_picture else cfg.detect_every
