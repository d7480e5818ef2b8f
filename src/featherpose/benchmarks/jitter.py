"""How much keypoints tremble by decoder, flip test and smoother, on painted people whose joints are known."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.inference.boxes import extent
from featherpose.inference.jitter import Jitter, Walk, acceleration, measured, size_of
from featherpose.inference.pose import Pose
from featherpose.inference.predicting import predict
from featherpose.inference.smoothing import OneEuro
from featherpose.inference.streams import Frame, Source
from featherpose.protocol import DECODERS
from featherpose.settings import choice, number, whole
from featherpose.synthetic.moving import Film, film

COLUMNS = ("decoder", "flip", "smooth", "trembles", "still_off", "acceleration", "moving_off")


@dataclass(frozen=True)
class Row:
    """One way of predicting; everything in % of the person's size."""

    decoder: str
    flip: bool
    smooth: bool
    trembles: float  # still people: from frame to frame
    still_off: float  # their joints' mean distance from the truth
    acceleration: float  # moving people: its error, per frame squared
    moving_off: float  # likewise the distance, which lag adds to


@dataclass
class Painted(Source):
    """A film as a source of frames."""

    film: Film | None = None

    def frames(self) -> Iterator[Frame]:
        assert self.film is not None
        for index, picture in enumerate(self.film.frames()):
            yield Frame("painted", index, picture, index / self.rate)


def run(
    network: str = "light",
    people: int = 8,
    frames: int = 50,
    rate: float = 25.0,
    noise: float = 6.0,
    decoders: Sequence[str] = ("argmax", "quarter", "dark"),
    flips: Sequence[bool] = (False, True),
    seed: int = 0,
    threads: int = 0,
    out: str | None = None,
    **_: Any,
) -> None:
    """Predicts on the same films in every way, as `predict` does on a video: boxes follow the poses."""
    for key, value, least in (("people", people, 1), ("frames", frames, 4), ("seed", seed, 0)):
        whole(key, value, least=least)
    number("rate", rate, above=0), number("noise", noise, least=0)
    for decoder in decoders:
        choice("decoders", decoder, DECODERS)
    if out is not None and Path(out).suffix != ".csv":
        raise PoseError(f"out={out} has to be a .csv file.")
    console = Console(stderr=True)
    ways = list(product(decoders, flips, (False, True)))
    rows = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("predicting", total=len(ways) * 2 * people)
        skeleton = Pose(network, threads=threads).skeleton
        films = {
            moves: [film(seed, i, frames, rate, moves, noise, skeleton) for i in range(people)]
            for moves in (False, True)
        }
        for decoder, flip, smooth in ways:
            pose = Pose(network, threads=threads, protocol={"flip": flip, "decoder": decoder})
            found = {}
            for moves, some in films.items():
                found[moves] = []
                for one in some:
                    found[moves].append(path_of(one, pose, rate, smooth))
                    progress.advance(task)
            rows.append(row(found, films, pose, (decoder, flip, smooth)))
    Console(width=100).print(
        table(rows, f"{network}: {people} people, {frames} frames, noise {noise:g}")
    )
    if out is not None:
        write(Path(out), rows)


def path_of(one: Film, pose: Pose, rate: float, smooth: bool) -> np.ndarray:
    """What is found of the person, (T, K, 2)."""
    source = Painted(moving=True, total=len(one.scenes), rate=rate, name="painted", film=one)
    width, height = one.scenes[0].size
    box = extent(one.joints[0], (width, height))

    def find(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        return box[None], np.ones(1)

    filtered = OneEuro() if smooth else None
    rows = [
        people[0].keypoints for _, people in predict(source, pose, find, every=0, smooth=filtered)
    ]
    return np.stack(rows)


def row(
    found: dict[bool, list[np.ndarray]],
    films: dict[bool, list[Film]],
    pose: Pose,
    way: tuple[str, bool, bool],
) -> Row:
    still = of_films(found[False], films[False], pose)
    moving = of_films(found[True], films[True], pose)
    off = [distance(found[moves], films[moves]) for moves in (False, True)]
    return Row(*way, still.displacement, off[0], moving.acceleration, off[1])


def of_films(paths: Sequence[np.ndarray], films: Sequence[Film], pose: Pose) -> Jitter:
    """Against the truth; who stands still does so with every joint."""
    walks = [
        Walk(path, np.ones(path.shape[:2], bool), size_of(one.joints), acceleration(one.joints))
        for path, one in zip(paths, films, strict=True)
    ]
    return measured(walks, pose.skeleton)


def distance(paths: Sequence[np.ndarray], films: Sequence[Film]) -> float:
    """Mean over the people, in % of the size."""
    off = [
        100 * float(np.linalg.norm(path - one.joints, axis=2).mean()) / size_of(one.joints)
        for path, one in zip(paths, films, strict=True)
    ]
    return float(np.mean(off))


def table(rows: Sequence[Row], title: str) -> Table:
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("decoder", "flip test", "smoother"):
        drawn.add_column(name)
    for name in ("still: moves a frame", "off by", "moving: acceleration error", "off by"):
        drawn.add_column(name, justify="right")
    for each in rows:
        values = (each.trembles, each.still_off, each.acceleration, each.moving_off)
        words = (each.decoder, "yes" if each.flip else "no", "yes" if each.smooth else "no")
        drawn.add_row(*words, *(f"{value:.2f}" for value in values))
    drawn.caption = "all in % of the person's size, the diagonal of the joints' box"
    return drawn


def write(path: Path, rows: Sequence[Row]) -> None:
    """A CSV."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(each, name) for name in COLUMNS] for each in rows)
