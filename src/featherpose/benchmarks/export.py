"""What the exporter's rewriting gains: LAPX as torch exports it, rewritten, and in OpenVINO, measured interleaved."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from rich.progress import Progress
from rich.table import Table

from featherpose.benchmarks.latency_files import model_config, settle
from featherpose.benchmarks.measured import Measured
from featherpose.benchmarks.stopwatch import Candidate, clock_of, in_words, memory, pinned
from featherpose.console import console
from featherpose.export.onnx import Deployed, export, graph_of
from featherpose.export.openvino import export_openvino
from featherpose.inference.backends import FileBackend, OnnxRuntime, OpenVINO, open_session
from featherpose.inference.backends import run as run_session
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.machine import cores
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.targets import build

Pass = Callable[[np.ndarray], dict[str, np.ndarray]]
PLAIN, REWRITTEN, OPENVINO = "plain", "rewritten", "OpenVINO"
FLIP, PASSES, SIDE = "flip test, one batch", "flip test, two passes", "flip test, side by side"
FLIPS = (FLIP, PASSES, SIDE)


@dataclass
class Timing:
    """One form of the network at one number of threads."""

    name: str
    threads: int
    milliseconds: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    error: float | None = None  # of the heatmaps, relative to the plain export's highest value
    megabytes: float | None = None

    @property
    def median(self) -> float:
        return float(np.median(self.milliseconds))

    def times(self, other: Timing) -> float:
        """How many times as long as the other: the median over rounds, so that a change of the machine's speed between
        rounds does not count."""
        return float(np.median(np.divide(self.milliseconds, other.milliseconds)))


def run(
    network: str = "lapx",
    input_size: Sequence[int] = (256, 192),
    threads: Sequence[int] = (1, 2),
    rounds: int = 40,
    warmup: int = 3,
    openvino: bool = True,
    tolerance: float = 1e-5,
    out: str = "runs/benchmark/export",
    **_: Any,
) -> list[Measured]:
    """Prints the table and writes `export.csv` beside the files measured."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    size = (int(input_size[0]), int(input_size[1]))
    files = write_files(network, size, folder, openvino, tolerance)
    rows: list[Timing] = []
    counts = [count for count in dict.fromkeys(threads) if count <= cores()]
    for count in counts:
        rows += timed(files, size, count, rounds, warmup)
    for row in rows:
        if row.threads == counts[0] and row.name in (PLAIN, REWRITTEN):
            candidate = Candidate(row.name, files[row.name], *size)
            row.megabytes = memory(candidate, folder, small=row.name == REWRITTEN) / 1e6
    show(rows, network, size)
    write_csv(rows, folder / "export.csv")
    console.print(f"written to {folder}: export.csv and the files measured")
    return [
        Measured(
            f"{network}, {row.name}, {in_words(row.threads)}",
            "ms",
            row.milliseconds,
            "" if (base := base_of(rows, row)) is row else base.name,
            base.milliseconds,
        )
        for row in rows
    ]


def write_files(
    name: str, size: tuple[int, int], folder: Path, openvino: bool, tolerance: float
) -> dict[str, Path]:
    """The same random network, gates open, in each form; each but the plain one has passed the exporter's check."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = settle(build(model_config(name, size)), size)
    crops = torch.randint(
        0, 256, (3, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    description = Description(COCO, size, network.stride, Protocol(), network=name)
    files = {
        PLAIN: folder / "plain.onnx",
        REWRITTEN: folder / "rewritten.onnx",
        FLIP: folder / "flip.onnx",
    }
    files[PASSES] = folder / "flip_passes.onnx"
    with torch.no_grad():
        outputs = len(network(torch.zeros(1, 3, *size)))
    with console.status("plain export"):
        names = tuple(f"heatmaps{i + 1}" for i in range(outputs))
        ir.save(graph_of(network, size, names, None, optimize=True), files[PLAIN])
    with console.status("rewritten export"):
        parity = export(
            Deployed(network, COCO), files[REWRITTEN], crops, description, tolerance=tolerance
        )
    console.print(
        f"the rewritten file is within {parity.heatmaps:.1e} of torch; rewritten: {parity.changes}"
    )
    with console.status("flip test inside"):
        for form in (FLIP, PASSES):
            deployed = Deployed(network, COCO, flip=True, passes=form == PASSES)
            export(deployed, files[form], crops, description, tolerance=tolerance)
    if openvino:
        files[OPENVINO] = folder / "openvino.xml"
        with console.status("OpenVINO"):
            export_openvino(Deployed(network, COCO), files[OPENVINO], crops, description, tolerance)
    return files


def open_pass(path: Path, name: str, threads: int, size: tuple[int, int]) -> Pass:
    if path.suffix == ".xml":
        return OpenVINO(path, threads).run
    if name == PLAIN:
        session = open_session(path, threads, small=False)  # onnxruntime's defaults
        return lambda images: run_session(session, images)
    if name == SIDE:  # as predicting does it with a file that holds no flip test
        estimator = Estimator(FileBackend(path, threads=threads), Protocol(flip=True))
        crops = np.random.default_rng(0).integers(0, 256, (1, 3, *size), np.uint8)
        return lambda _: dict(zip(("keypoints", "confidence"), estimator(crops), strict=True))
    return OnnxRuntime(path, threads).run


def timed(
    files: dict[str, Path], size: tuple[int, int], threads: int, rounds: int, warmup: int
) -> list[Timing]:
    """Interleaved, one pass each a round, so that what slows the machine slows them all."""
    image = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    clock = clock_of(threads)
    with pinned(threads), Progress(console=console, transient=True) as progress:
        files = files | ({SIDE: files[REWRITTEN]} if threads > 1 else {})
        passes = {name: open_pass(path, name, threads, size) for name, path in files.items()}
        rows = {name: Timing(name, threads) for name in files}
        last: dict[str, np.ndarray] = {}
        for name, each in passes.items():
            for _ in range(warmup):
                last[name] = list(each(image).values())[-1]
        for _ in progress.track(range(rounds), description=in_words(threads)):
            for name, each in passes.items():
                wall, start = time.perf_counter(), clock()
                each(image)
                rows[name].milliseconds.append(1000 * (clock() - start))
                rows[name].wall.append(1000 * (time.perf_counter() - wall))
    highest = float(np.abs(last[PLAIN]).max())
    for name in (REWRITTEN, OPENVINO):
        if name in rows:
            rows[name].error = float(np.abs(last[name] - last[PLAIN]).max()) / highest
    return list(rows.values())


def base_of(rows: Sequence[Timing], row: Timing) -> Timing:
    """What a row is compared with: the flip test with one pass, the others with the plain export."""
    name = REWRITTEN if row.name in FLIPS else PLAIN
    return next(each for each in rows if each.name == name and each.threads == row.threads)


def show(rows: Sequence[Timing], network: str, size: tuple[int, int]) -> None:
    table = Table(title=f"{network}, {size[0]}x{size[1]}, batch 1, on the CPU")
    for title in ("form", "threads", "ms", "fastest", "ratio", "error", "MB"):
        table.add_column(title, justify="left" if title == "form" else "right")
    for row in rows:
        base = base_of(rows, row)
        ratio = f"{row.times(base):.2f} x one" if row.name in FLIPS else f"{base.times(row):.2f}"
        error = "" if row.error is None else f"{row.error:.0e}"
        megabytes = "" if row.megabytes is None else f"{row.megabytes:.0f}"
        table.add_row(
            row.name,
            str(row.threads),
            f"{row.median:.1f}",
            f"{min(row.milliseconds):.1f}",
            ratio,
            error,
            megabytes,
        )
    console.print(table)
    console.print(
        "[dim]ms: median; at one thread the CPU time of the process, else wall time. ratio: plain export over this "
        "one, for the flip test this one over one pass; the median of the rounds' ratios. MB: the session and what it "
        "needs for a pass.[/]"
    )
    single = [row for row in rows if row.threads == 1 and row.name == PLAIN]
    if single and np.median(single[0].wall) > 1.15 * single[0].median:
        busy = np.median(single[0].wall) / single[0].median
        console.print(
            f"[yellow]the machine was busy (wall time {busy:.1f} times CPU time): wall times say little[/]"
        )


def write_csv(rows: Sequence[Timing], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            "form threads ms_median ms_fastest wall_median base base_ms ratio error MB".split()
        )
        for row in rows:
            base = base_of(rows, row)
            writer.writerow([row.name, row.threads, row.median, min(row.milliseconds), float(np.median(row.wall)),
                             base.name, base.median, base.times(row), row.error, row.megabytes])  # fmt: skip
