"""Networks in every format and runtime, other people's files beside them: time, memory, size, error and score, all of
the same file."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from featherpose.benchmarks import stopwatch
from featherpose.benchmarks.browser import Browser
from featherpose.benchmarks.latency import number
from featherpose.benchmarks.measured import Measured
from featherpose.benchmarks.runtime_files import (
    FORMATS,
    Crops,
    Distance,
    Network,
    crops_for,
    data_for,
    distance,
    file_of,
    open_network,
    unflipped,
)
from featherpose.benchmarks.stopwatch import (
    BUSY,
    Candidate,
    clock_of,
    in_words,
    pinned,
    thread_counts,
    timed,
)
from featherpose.errors import PoseError, UsageError
from featherpose.evaluation.by_network import SampleScore, score_sample
from featherpose.files import replacing
from featherpose.inference.backends import (
    FileBackend,
    OnnxRuntime,
    OpenVINO,
    bytes_of,
    open_runtime,
)
from featherpose.inference.by_name import for_joints
from featherpose.inference.litert import LiteRT
from featherpose.inference.ncnn import Ncnn
from featherpose.intervals import Interval
from featherpose.machine import cores, processor
from featherpose.runs.score_plot import Scored, draw_scores
from featherpose.settings import choice, whole
from featherpose.skeletons import Skeleton

PACKAGES = ("onnxruntime", "openvino", "ai-edge-litert", "ncnn")
Cell = tuple[int, int]  # threads, batch


@dataclass
class Row:
    """One file, measured."""

    network: str
    format: str
    path: Path
    milliseconds: dict[Cell, list[float]] = field(default_factory=dict)  # of a picture, by round
    wall: dict[Cell, list[float]] = field(default_factory=dict)  # the same, whatever the clock
    runtime: str = ""
    input_size: tuple[int, int] = (0, 0)
    takes_bytes: bool = False
    megabytes: float | None = None
    distance: Distance | None = None
    score: SampleScore | None = None
    more: Interval | None = None  # the score minus the first scored row's
    parameters: int | None = None
    macs: int | None = None  # of the convolutions
    browser: list[float] = field(default_factory=list)  # milliseconds there, by round

    @property
    def name(self) -> str:
        return f"{self.network}, {self.format}"

    @property
    def size(self) -> float:
        """MB of the file, with the weights that lie beside an .xml."""
        return bytes_of(self.path) / 1e6

    def median(self, cell: Cell) -> float:
        return float(np.median(self.milliseconds[cell]))

    def times(self, other: Row, cell: Cell) -> float:
        """How many times as long as the other: the median of the rounds' ratios."""
        return float(np.median(np.divide(self.milliseconds[cell], other.milliseconds[cell])))


@dataclass(frozen=True)
class Sample:
    """What files are scored on."""

    dataset: Sequence[str]  # overrides that make one: data=coco, data.root=FOLDER
    score_on: int

    def score(self, path: Path, skeleton: Skeleton | None = None) -> SampleScore | None:
        """Of a file, without flip test; None where there is no dataset, or one of other joints.

        `skeleton` is that of a file that does not say its own; None: the dataset's, if the file has as many joints.
        """
        if not self.dataset:
            return None
        wanted = data_for(self.dataset).skeleton
        try:
            backend = for_joints(FileBackend(path, skeleton=skeleton or wanted), wanted)
        except PoseError:  # a detector, or of other joints
            return None
        about = backend.description
        data = data_for(self.dataset, about.input_size, about.stride)
        return score_sample(unflipped(backend), data, self.score_on)


def run(
    networks: Sequence[str] = (),
    formats: Sequence[str] = tuple(FORMATS),
    extra: str | Sequence[str] | None = None,
    input_size: Sequence[int] = (256, 192),
    threads: Sequence[int] = (1, 0),
    batches: Sequence[int] = (1, 8),
    rounds: int = 20,
    dataset: Sequence[str] = (),
    check: int = 16,
    calibrate: int = 64,
    score_on: int = 256,
    memory: bool = True,
    browser: bool = False,
    ort: str | None = None,
    cache: str = ".cache/runtimes",
    out: str = "runs/runtimes",
    **_: Any,
) -> list[Measured]:
    """Writes what the cache lacks, measures all files in turn, and writes table and CSV into `out`."""
    of_people = {"check": check, "calibrate": calibrate, "score_on": score_on}
    for key, value in {"rounds": rounds, **of_people}.items():
        whole(key, value, least=1)
    sizes = [whole("batches", batch, least=1) for batch in dict.fromkeys(batches)]
    for name in formats:
        choice("formats", name, list(FORMATS))
    others = [Path(path) for path in ([extra] if isinstance(extra, str) else extra or [])]
    if not sizes or not (others or (networks and formats)):
        raise UsageError("There is nothing to measure: name networks= and formats=, or extra=.")
    cells = list(product(thread_counts(threads), sizes))
    size = (int(input_size[0]), int(input_size[1]))
    sample, lines = Sample(dataset, score_on), []
    rows: list[Row] = []
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with ExitStack() as opened:
        page = opened.enter_context(Browser(Path(ort) if ort else None)) if browser else None
        progress = opened.enter_context(Progress(*columns, console=Console(stderr=True)))
        task = progress.add_task("Writing files", total=len(networks) * len(formats))
        for name in networks:
            network = open_network(name, size)
            crops = crops_for(network, dataset, check, calibrate)
            for each in formats:
                rows += in_format(network, each, crops, sample, Path(cache), lines)
                progress.advance(task)
        for path in progress.track(others, description="Scoring other files"):
            rows.append(Row(path.stem, path.suffix[1:], path, score=sample.score(path)))
        check_names(rows)
        compare(rows)
        prepare(rows, size)
        if memory:
            measure_memory(rows, progress)
        measure(rows, cells, rounds, progress)
        if page:
            lines += measure_browser(rows, rounds, page, progress)
    lines += notes(rows, cells)
    write(rows, cells, lines, Path(out))
    show(rows, cells, lines)
    picture = ", runtimes.png" if draw(rows, cells[0], Path(out)) else ""
    Console().print(f"Written to {out}: runtimes.md, runtimes.csv{picture}")
    first = rows[0]
    return [
        Measured(
            f"{row.name} ({row.runtime}), {words(cell)}",
            "ms",
            row.milliseconds[cell],
            "" if row is first else first.name,
            first.milliseconds[cell],
            facts=record(rows, row, ()),
        )
        for cell in cells
        for row in rows
    ]


def in_format(
    network: Network, kind: str, crops: Crops, sample: Sample, cache: Path, lines: list[str]
) -> list[Row]:
    """The network in one format, with its error and its score; where that cannot be, a line says why."""
    try:
        path = file_of(network, kind, cache, crops)
        off = distance(path, network, crops.compared)
    except PoseError as error:
        lines.append(f"{network.name}, {kind}: {error}")
        return []
    score = None if network.random else sample.score(path, network.trained.skeleton)
    row = Row(network.name, kind, path, distance=off, score=score)
    row.parameters, row.macs = network.size
    return [row]


def check_names(rows: Sequence[Row]) -> None:
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PoseError(f"Two rows are called {twice[0]}: rename one of the files.")
    if not rows:
        raise PoseError("No file passed its gate, so there is nothing to measure.")


def compare(rows: Sequence[Row]) -> None:
    """Each score beside the first one's, paired by pictures."""
    scored = [(row, row.score) for row in rows if row.score]
    for row, score in scored[1:]:
        row.more = score.against(scored[0][1])


class Pass:
    """An opened file with pictures of noise, as `Pose` runs it: a file of a fixed batch takes them in parts."""

    def __init__(self, path: Path, threads: int, batch: int, open_size: tuple[int, int]) -> None:
        self.runtime = open_runtime(path, threads=threads)
        if len(self.runtime.size) != 4 or self.runtime.size[1] != 3:
            raise PoseError(f"{path} does not take pictures (batch, 3, height, width).")
        height, width = self.runtime.size[2:]
        self.input_size = (height or open_size[0], width or open_size[1])
        fixed = self.runtime.batch or batch
        if batch % fixed:
            raise PoseError(
                f"{path} takes batches of {fixed}, which batches={batch} does not hold."
            )
        noise = np.random.default_rng(0)
        shape = (batch, 3, *self.input_size)
        images = noise.standard_normal(shape, np.float32)
        if self.runtime.takes_bytes:
            images = noise.integers(0, 256, shape, np.uint8)
        self.parts = np.split(images, batch // fixed)

    def __call__(self) -> None:
        for part in self.parts:
            self.runtime.run(part)

    @property
    def kind(self) -> str:
        inner = getattr(self.runtime, "runtime", self.runtime)
        kinds: dict[type, str] = {
            OnnxRuntime: "ONNX Runtime",
            OpenVINO: "OpenVINO",
            LiteRT: "LiteRT",
            Ncnn: "ncnn",
        }
        return kinds[type(inner)]


def prepare(rows: Sequence[Row], size: tuple[int, int]) -> None:
    """What runs each file, and the size of its pictures; sides that a file leaves open are `size`."""
    for row in rows:
        opened = Pass(row.path, 1, 1, size)
        row.runtime, row.input_size = opened.kind, opened.input_size
        row.takes_bytes = opened.runtime.takes_bytes


def measure_memory(rows: Sequence[Row], progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for row in progress.track(rows, description="Memory"):
            candidate = Candidate(row.name, row.path, *row.input_size, small=True)
            row.megabytes = stopwatch.memory(candidate, Path(scratch)) / 1e6


def measure(rows: Sequence[Row], cells: Sequence[Cell], rounds: int, progress: Progress) -> None:
    """In turn: a round runs every file once to warm up and once by the clock, at every batch."""
    for threads in dict.fromkeys(threads for threads, _ in cells):
        batches = [batch for count, batch in cells if count == threads]
        clock = clock_of(threads)
        with pinned(threads):
            passes = [
                (row, batch, Pass(row.path, threads, batch, row.input_size))
                for row, batch in product(rows, batches)
            ]
            title = f"Timing, {in_words(threads)}"
            for _ in progress.track(range(rounds), description=title):
                for row, batch, each in passes:
                    each()
                    spent, wall = timed(each, clock)
                    row.milliseconds.setdefault((threads, batch), []).append(spent / batch)
                    row.wall.setdefault((threads, batch), []).append(wall / batch)


def measure_browser(
    rows: Sequence[Row], rounds: int, page: Browser, progress: Progress
) -> list[str]:
    """The .onnx files in a browser, in turn; gives what there is to say of it."""
    there = [row for row in rows if row.path.suffix == ".onnx"]
    lines = [f"ms, browser: wall time of a picture in {page.name}, the files in turn."]
    for _ in progress.track(range(rounds), description="Timing, browser"):
        for row in list(there):
            shape = (1, 3, *row.input_size)
            try:
                page.milliseconds(row.path, shape, row.takes_bytes)  # to warm up
                row.browser.append(page.milliseconds(row.path, shape, row.takes_bytes))
            except PoseError as error:
                lines.append(str(error))
                there.remove(row)
    return lines


FIXED = ("network", "format", "runs in", "input", "params", "GMACs", "MB of file", "MB of memory")
OFF = ("from float64", "off, px")


def headings(rows: Sequence[Row], cells: Sequence[Cell]) -> list[str]:
    times = [text for cell in cells for text in (f"ms, {words(cell)}", "x first")]
    times += ["ms, browser"] if any(row.browser for row in rows) else []
    return [*FIXED, *OFF, *([score_name(rows), "beside first"] if score_name(rows) else []), *times]


def draw(rows: Sequence[Row], cell: Cell, out: Path) -> bool:
    """runtimes.png: scores against the milliseconds of the first threads and batch."""
    found = [
        Scored(row.name, row.median(cell), row.score.score, *bounds(row.score))
        for row in rows
        if row.score
    ]
    return draw_scores(found, score_name(rows), words(cell), out / "runtimes.png")


def bounds(score: SampleScore | None) -> tuple[float | None, float | None]:
    """Of its 95% interval."""
    found = score.interval if score else None
    return (found.low, found.high) if found else (None, None)


def words(cell: Cell) -> str:
    threads, batch = cell
    return f"{in_words(threads)}, batch {batch}"


def score_name(rows: Sequence[Row]) -> str:
    return next((row.score.name for row in rows if row.score), "")


def cells_of(rows: Sequence[Row], row: Row, cells: Sequence[Cell]) -> list[str]:
    off, score = row.distance, row.score
    texts = [row.network, row.format, row.runtime, "x".join(map(str, row.input_size))]
    texts.append("" if row.parameters is None else f"{row.parameters / 1e6:.2f}M")
    texts.append("" if row.macs is None else f"{row.macs / 1e9:.2f}")
    texts += [f"{row.size:.1f}", number(row.megabytes, ".0f")]
    texts += [f"{off.heatmaps:.1e}", f"{off.keypoints:.3f}"] if off else ["", ""]
    if score_name(rows):
        low, high = bounds(score)
        interval = "" if low is None else f" [{low:.1f}, {high:.1f}]"
        texts.append(f"{score.score:.2f}{interval}" if score else "")
        texts.append(row.more.judged() if row.more else "")
    for cell in cells:
        texts += [f"{row.median(cell):.1f}", f"{row.times(rows[0], cell):.2f}"]
    if any(each.browser for each in rows):
        texts.append(f"{np.median(row.browser):.1f}" if row.browser else "")
    return texts


def show(rows: Sequence[Row], cells: Sequence[Cell], lines: Sequence[str]) -> None:
    """What each file is, how long it takes and how good it is: columns for which a terminal has room."""
    console, titles = Console(), headings(rows, cells)
    words_first = ("network", "format")
    scores = len(FIXED) + len(OFF)
    times = scores + (2 if score_name(rows) else 0)
    left_out = [titles.index(title) for title in ("runs in", "input", "params", "GMACs")]
    blocks = [[column for column in range(scores) if column not in left_out]]
    timed = list(range(times, len(titles)))
    while timed:  # two cells with their ratios fit into 80 columns
        blocks.append([0, 1, *timed[:4]])
        del timed[:4]
    if score_name(rows):
        blocks.append([0, 1, *range(scores, times)])
    for columns in blocks:
        table = Table(box=SIMPLE_HEAD)
        for column in columns:
            title = titles[column]
            name = title in words_first
            table.add_column(escape(title), justify="left" if name else "right", no_wrap=name)
        for row in rows:
            texts = cells_of(rows, row, cells)
            table.add_row(*(escape(texts[column]) for column in columns))
        console.print(table)
    console.print("\n".join(lines), style="dim", highlight=False, markup=False)


def notes(rows: Sequence[Row], cells: Sequence[Cell]) -> list[str]:
    """What was measured, and how."""
    found = ", ".join(f"{name} {installed(name)}" for name in PACKAGES if installed(name))
    rounds = len(rows[0].milliseconds[cells[0]])
    lines = [
        f"{found}; {processor()}, {cores()} cores. ms: of a picture, the median of {rounds} rounds in turn; x first: "
        f"times as long as {rows[0].name}, the median of the rounds' ratios. One thread: CPU time of the process. "
        "More: wall time.",
        "MB of memory: what the opened file and its passes add to a process whose runtime is loaded, one thread. "
        "from float64: the largest difference of heatmaps from torch's in float64, relative to their highest value; "
        "off: the keypoints' mean distance from torch's in pixels of the crop.",
    ]
    for score in dict.fromkeys(row.score.persons for row in rows if row.score):
        lines.append(
            f"{score_name(rows)}: on {score} people, without flip test, by the very file whose time stands beside; "
            "[low, high] is its 95% interval over pictures. beside first: the score minus the first one's, of the same "
            "people, paired, and noise where 0 lies inside."
        )
    single = [cell for cell in cells if cell[0] == 1]
    busy = [np.median(row.wall[cell]) / row.median(cell) for row in rows for cell in single]
    if busy and np.median(busy) > BUSY:
        lines.append(
            f"The machine was busy (wall time {np.median(busy):.1f} times CPU time): times of more threads are too "
            "high, their ratios are rough."
        )
    return lines


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def write(rows: Sequence[Row], cells: Sequence[Cell], lines: Sequence[str], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    titles = headings(rows, cells)
    left = 3  # columns of words
    text = ["| " + " | ".join(titles) + " |", "|---" * left + "|---:" * (len(titles) - left) + "|"]
    text += ["| " + " | ".join(cells_of(rows, row, cells)) + " |" for row in rows]
    text += ["", *(f"- {line}" for line in lines)]
    with replacing(out / "runtimes.md") as beside:
        beside.write_text("\n".join(text) + "\n", encoding="utf-8")
    records = [record(rows, row, cells) for row in rows]
    with (
        replacing(out / "runtimes.csv") as beside,
        beside.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def record(rows: Sequence[Row], row: Row, cells: Sequence[Cell]) -> dict[str, Any]:
    """Everything in plain numbers."""
    off, score, more = row.distance, row.score, row.more
    low, high = bounds(score)
    facts: dict[str, Any] = {
        "network": row.network,
        "format": row.format,
        "runtime": row.runtime,
        "height": row.input_size[0],
        "width": row.input_size[1],
        "parameters": row.parameters,
        "macs": row.macs,
        "megabytes_file": row.size,
        "megabytes_memory": row.megabytes,
        "from_float64": off and off.heatmaps,
        "keypoints_mean": off and off.keypoints,
        "keypoints_most": off and off.farthest,
        "measure": score and score.name,
        "score": score and score.score,
        "people": score and score.persons,
        "score_low": low,
        "score_high": high,
        "beside_first": more and more.value,
        "beside_first_low": more and more.low,
        "beside_first_high": more and more.high,
    }
    for cell in cells:
        end = "threads_{}_batch_{}".format(*cell)
        facts |= {
            f"ms_{end}": row.median(cell),
            f"fastest_{end}": min(row.milliseconds[cell]),
            f"wall_ms_{end}": float(np.median(row.wall[cell])),
            f"times_first_{end}": row.times(rows[0], cell),
        }
    facts["ms_browser"] = float(np.median(row.browser)) if row.browser else None
    return facts
