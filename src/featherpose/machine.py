"""What this process asks of the machine: threads that wait briefly, cores, helpers, freed memory that it keeps."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featherpose.settings import choice

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ProcessPoolExecutor

# How often a thread of libgomp looks for work before it sleeps, under 0.1 ms. By default it looks
# for so long that two threads on two busy cores hold each other up: docs/training.md has figures.
SPINS = "3000"
BLOCK_MILLISECONDS = "1"  # the same of Intel's and LLVM's runtimes, which wait 200 by default
SHARE = "FEATHERPOSE_THREADS"  # the number of threads where it was set here, not by the user
CGROUP = Path("/sys/fs/cgroup")

KEEP = ((-4, 0), (-1, 2**31 - 1), (-2, 2**28))  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
DEFAULT = (
    (-4, 65536),
    (-3, 128 * 1024),  # M_MMAP_THRESHOLD
    (-1, 128 * 1024),
    (-2, 128 * 1024),
)


def arithmetic(precision: str, device: str) -> str:
    """The precision that is used, with float32's products where they are not exact: on GPUs they may be TF32."""
    import torch

    products = torch.get_float32_matmul_precision()
    if device.startswith("cuda") and precision.startswith("32") and products != "highest":
        return f"{precision}, matmul {products}"
    return precision


def calm_threads() -> None:
    """Threads that spin briefly, then sleep, and no more of them than there are cores for this process.

    The runtimes read it when torch is loaded, so it is done where featherpose is first imported. What the
    user has set himself stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
        os.environ.setdefault("KMP_BLOCKTIME", BLOCK_MILLISECONDS)
    if cores() < _allowed() and "OMP_NUM_THREADS" not in os.environ:
        # the runtimes know which cores are allowed, not how much of them
        os.environ["OMP_NUM_THREADS"] = os.environ[SHARE] = str(cores())


def threads_by_the_user() -> bool:
    """Whether the number of threads was set by the user, not here."""
    given = os.environ.get("OMP_NUM_THREADS")
    return given is not None and given != os.environ.get(SHARE)


def cores() -> int:
    """How many cores this process may really use: those it may run on, within a container's share."""
    return max(1, math.ceil(min(_allowed(), _quota())))


def one_process() -> ProcessPoolExecutor:
    """A fresh process for some calls; it ends with this one, also where this one is killed."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent)


def elsewhere(function: Callable[..., Any], *arguments: object) -> Any:
    """Calls it in a fresh process; its error is raised here."""
    with one_process() as process:
        return process.submit(function, *arguments).result()


def end_with_parent() -> None:
    """For a process that multiprocessing has started: it ends where its parent ends, however that is."""
    from multiprocessing import parent_process
    from threading import Thread

    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def processor() -> str:
    """Its name, as the system tells it."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float:
    """Cores that a container grants (cgroup 2, then 1); infinite where nothing limits them."""
    try:
        if (CGROUP / "cpu.max").is_file():
            share, period = (CGROUP / "cpu.max").read_text().split()
        else:
            share = (CGROUP / "cpu/cpu.cfs_quota_us").read_text()
            period = (CGROUP / "cpu/cpu.cfs_period_us").read_text()
        return int(share) / int(period) if int(share) > 0 else math.inf
    except (OSError, ValueError):  # no cgroup here, or "max"
        return math.inf


def set_matmul(precision: str) -> None:
    """How exactly float32 matrices are multiplied on a GPU."""
    import torch

    known = ("highest", "high", "medium")
    torch.set_float32_matmul_precision(choice("matmul", precision, known))


def keep_freed_memory() -> None:
    """Tells glibc to keep what tensors and pictures free, instead of fetching fresh pages for each.

    Worth more than half of a CPU training step, and a quarter of decoding.
    """
    _set(KEEP)


def forget_freed_memory() -> None:
    """As a process starts: large blocks go back to the system at once. Benchmarks compare with it."""
    _set(DEFAULT)


def _set(options: tuple[tuple[int, int], ...]) -> None:
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for option, value in options:
            mallopt(option, value)
