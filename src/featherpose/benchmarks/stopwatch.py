"""How long networks take, measured so that two of them can be compared: interleaved, warmed up, on pinned cores.

At one thread the clock is the process's own CPU time, which equals wall time on a quiet machine and stays near it on
a busy one; with more threads only wall time says what a user waits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.backends import open_session
from featherpose.machine import cores

GEMM = 1024  # side of the square matrices whose product gives the machine's peak
BUSY = 1.15  # wall time over CPU time at one thread from which a machine counts as busy


@dataclass(frozen=True)
class Candidate:
    """An ONNX file in the comparison."""

    name: str
    path: Path
    height: int
    width: int
    small: bool = False  # without the runtime's memory pattern
    batch: int | None = None  # the file's own, where it is fixed


@dataclass
class Timing:
    """Milliseconds of each pass: of one image, and of image and mirrored image (one batch, or two passes)."""

    single: list[float] = field(default_factory=list)
    flipped: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)  # of one image, whatever the clock

    @property
    def median(self) -> float:
        return float(np.median(self.single))

    @property
    def p95(self) -> float:
        return float(np.percentile(self.single, 95))

    @property
    def fps(self) -> float:
        return 1000 / self.median

    @property
    def fps_flipped(self) -> float:
        return 1000 / float(np.median(self.flipped))


@dataclass
class Measurement:
    """All candidates at one number of threads."""

    threads: int
    timings: dict[str, Timing]
    peak: float  # FLOP/s of a float32 matrix product in the same runtime, on the same cores
    pinned: bool

    @property
    def busy(self) -> float:
        """Wall time over the clock's time: 1 on a quiet machine; known at one thread only."""
        return float(
            np.median([np.median(t.wall) / np.median(t.single) for t in self.timings.values()])
        )


@contextmanager
def pinned(threads: int) -> Generator[bool]:
    """Keeps this process, and the pools it makes meanwhile, on that many cores; says whether the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def clock_of(threads: int) -> Callable[[], float]:
    return time.process_time if threads == 1 and sys.platform != "win32" else time.perf_counter


def thread_counts(threads: Sequence[int]) -> list[int]:
    """Each number once; 0 stands for all cores."""
    counts = list(dict.fromkeys(cores() if n == 0 else n for n in threads))
    if not counts or min(counts) < 1 or max(counts) > cores():
        raise PoseError(
            f"threads takes numbers of 1 to {cores()} (the cores of this machine), or 0 for all of them."
        )
    return counts


def in_words(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def size_of(path: Path, default: tuple[int, int]) -> tuple[int | None, int, int]:
    """The batch (None where it is open), height and width that an ONNX file takes."""
    inputs = open_session(path, 1).get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        raise PoseError(
            f"{path} does not take one float32 tensor (batch, 3, height, width), so it cannot be compared."
        )
    batch, channels, *size = inputs[0].shape
    if isinstance(channels, int) and channels != 3:
        raise PoseError(
            f"{path} takes {channels} channels where an image has 3 (batch, 3, height, width)."
        )
    height, width = (
        side if isinstance(side, int) else other for side, other in zip(size, default, strict=True)
    )
    if isinstance(batch, int) and batch > 1:
        raise PoseError(
            f"{path} takes batches of {batch} only; export it for one image or for any number."
        )
    return batch if isinstance(batch, int) else None, height, width


class Runner:
    """One candidate's session and its inputs."""

    def __init__(self, candidate: Candidate, threads: int):
        self.session = open_session(candidate.path, threads, small=candidate.small)
        self.input = self.session.get_inputs()[0].name
        image = np.random.default_rng(0).standard_normal(
            (2, 3, candidate.height, candidate.width), np.float32
        )
        self.image = image[:1]
        self.both = image
        self.fixed = candidate.batch == 1

    def single(self) -> None:
        self.session.run(None, {self.input: self.image})

    def flipped(self) -> None:
        if self.fixed:
            self.single()
            self.single()
        else:
            self.session.run(None, {self.input: self.both})


def measure(
    candidates: Sequence[Candidate],
    threads: int,
    rounds: int = 5,
    repeats: int = 5,
    warmup: int = 2,
    step: Callable[[], None] = lambda: None,
) -> Measurement:
    """Each round measures every candidate, so that what slows the machine for a while slows them all."""
    if not candidates or min(rounds, repeats) < 1:
        raise PoseError(
            "There is nothing to measure: give at least one network, one round and one repeat."
        )
    clock = clock_of(threads)
    with pinned(threads) as kept:
        runners = {c.name: Runner(c, threads) for c in candidates}
        timings = {c.name: Timing() for c in candidates}
        product, products = Product(threads), []
        for _ in range(rounds):
            product.run()
            products += [timed(product.run, clock)[0] for _ in range(repeats)]
            for name, runner in runners.items():
                for _ in range(warmup):
                    runner.single()
                for _ in range(repeats):
                    spent, wall = timed(runner.single, clock)
                    timings[name].single.append(spent)
                    timings[name].wall.append(wall)
                runner.flipped()
                timings[name].flipped += [timed(runner.flipped, clock)[0] for _ in range(repeats)]
                step()
    return Measurement(threads, timings, 2 * GEMM**3 / (min(products) / 1000), kept)


def timed(call: Callable[[], None], clock: Callable[[], float]) -> tuple[float, float]:
    """Milliseconds by the clock and on the wall."""
    wall, start = time.perf_counter(), clock()
    call()
    return 1000 * (clock() - start), 1000 * (time.perf_counter() - wall)


class Product:
    """A float32 matrix product in the runtime itself: the roof that its convolutions can reach."""

    def __init__(self, threads: int):
        self.session = open_session(_product_model(), threads)
        random = np.random.default_rng(0)
        self.inputs = {name: random.standard_normal((GEMM, GEMM), np.float32) for name in "ab"}

    def run(self) -> None:
        self.session.run(None, self.inputs)


def _product_model() -> bytes:
    from onnx import TensorProto, helper

    a, b, c = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [GEMM, GEMM]) for name in "abc"
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", [a, b], [c]
    )
    return _bytes(graph)


def _tiny_model() -> bytes:
    """One convolution: what the memory of any session is measured beyond."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], [0.5] * 9)
    return _bytes(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"])], "tiny", [x], [y], initializer=[weight]
        )
    )


def _bytes(graph: Any) -> bytes:
    from onnx import helper

    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def memory(candidate: Candidate, scratch: Path, threads: int = 1, small: bool | None = None) -> int:
    """Bytes that the session adds to a process of its own."""
    tiny = scratch / "tiny.onnx"
    tiny.write_bytes(_tiny_model())
    source = str(Path(__file__).parents[2])  # where this process found featherpose
    sizes = [str(value) for value in (threads, candidate.height, candidate.width)]
    small = candidate.small if small is None else small
    command = [
        sys.executable,
        "-m",
        "featherpose.benchmarks.session_memory",
        str(candidate.path),
        str(tiny),
        *sizes,
        *(["small"] if small else []),
    ]
    path = os.pathsep.join([source, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise PoseError(
            f"The memory of {candidate.name} was not measured: {done.stderr.strip().splitlines()[-1]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])["bytes"]
