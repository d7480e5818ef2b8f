"""What a GPU makes of the networks, in one command of a few minutes: `featherpose benchmark gpu`.

A lent GPU goes back when its time is over, so every row is written to the file as soon as it is there, a measurement
that fails is a row with its sentence, and what no longer fits into the time is a row that says so. It runs on a CPU
too, at small size, which is how it is tested.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from featherpose.benchmarks.training import composed
from featherpose.data.cache import open_crops, plan
from featherpose.data.dataset import CropDataset, calm_worker
from featherpose.data.device import DeviceCrops, DeviceLoader, to_device
from featherpose.data.sampler import PersonSampler
from featherpose.files import write_atomically
from featherpose.machine import end_with_parent, processor
from featherpose.models.count import count
from featherpose.models.network import PoseNetwork, lay_out, natural_height_of
from featherpose.pixels import normalise
from featherpose.place import CONF
from featherpose.skeletons import skeleton_of
from featherpose.targets import build
from featherpose.training.trainer import precision

Row = dict[str, Any]  # an object of the JSON file: part, name, and what that part measures
SCHEMA = 1
# precision, may float32 products be rounded to TF32, channels last
MODES = {
    "float32": ("32", False, False),
    "float32 channels-last": ("32", False, True),
    "tf32 channels-last": ("32", True, True),
    "bf16": ("bf16", True, False),
    "bf16 channels-last": ("bf16", True, True),
}
BEST, PLAIN = "bf16 channels-last", "float32 channels-last"
OWN_DATA = {"repose": ["data=synthetic_lsp", "data.input_size=null"]}  # its joints form a tree


@dataclass(frozen=True)
class Wanted:
    """What one run of the benchmark measures; `conf/benchmark/gpu.yaml` explains the values."""

    networks: list[str]
    batch: int
    batches: list[int]
    input_size: list[int]
    steps_s: float
    dataset: list[str]
    workers: int
    compiled: list[str]
    compile_s: float


class Rows:
    """The rows so far, on the screen and in the file; and the clock."""

    def __init__(self, out: Path, seconds: float) -> None:
        self.out = out
        self.began = time.monotonic()
        self.seconds = seconds
        self.found: Row = {"schema": SCHEMA, "rows": []}

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def measure(self, part: str, name: str, call: Callable[[], Row], needs: float = 5.0) -> Row:
        """Calls it unless less than `needs` seconds are left; a failure is a row with its sentence."""
        row: Row = {"part": part, "name": name}
        start = time.monotonic()
        if self.left < needs:
            row["failed"] = f"left out: {self.left:.0f} of {self.seconds:.0f} seconds were left"
        else:
            try:
                row |= call()
            except Exception as error:
                text = " ".join(str(error).split()) or "no words"
                row["failed"] = f"{type(error).__name__}: {text[:300]}"
            release()
        row["took_s"] = round(time.monotonic() - start, 2)
        self.found["rows"].append(row)
        write_atomically(self.out, json.dumps(self.found, indent=1) + "\n")
        print(line(row), flush=True)
        return row


def run(
    networks: list[str],
    batch: int,
    batches: list[int],
    input_size: list[int],
    steps_s: float,
    dataset: list[str],
    workers: int,
    compiled: list[str],
    compile_s: float,
    seconds: float,
    out: str,
) -> None:
    """Everything in turn, the most wanted first; `out` is the JSON file, rewritten after each row."""
    wanted = Wanted(
        networks, batch, batches, input_size, steps_s, dataset, workers, compiled, compile_s
    )
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = Rows(path, seconds)
    rows.found |= {"wanted": asdict(wanted), "machine": machine(device)}
    torch.backends.cudnn.benchmark = True
    peaks = {}
    for kind in ("float32", "tf32", "bf16") if natural(device) == BEST else ("float32",):
        row = rows.measure("peak", kind, lambda kind=kind: product(kind, device))
        peaks[kind] = row.get("flops", float("nan"))
    rows.measure("peak", "copy", lambda: copying(device))
    for network in networks:
        for mode in modes(device):
            call = training_call(wanted, network, mode, wanted.batch, device, peaks)
            rows.measure("training", f"{network} {mode}", call)
    largest_batch(rows, wanted, device, peaks)
    for name in ("device", "crops", "files"):
        rows.measure("data", name, lambda name=name: loading(wanted, name, device), needs=12)
    for network in networks[:2]:
        rows.measure("profile", network, lambda n=network: profile(wanted, n, device), needs=12)
    rows.measure("resume", "a checkpoint goes on", lambda: resumed(wanted, rows.left), needs=40)
    for network in compiled:
        rows.measure(
            "compile", network, lambda n=network: compile_apart(wanted, n, rows.left), needs=40
        )
    shutil.rmtree(scratch(), ignore_errors=True)
    print(f"all rows: {path}", flush=True)


def largest_batch(
    rows: Rows, wanted: Wanted, device: torch.device, peaks: dict[str, float]
) -> None:
    """Ever larger batches of the first networks, until one does not fit."""
    for network in wanted.networks[:2]:
        for size in wanted.batches:
            call = training_call(wanted, network, natural(device), size, device, peaks)
            row = rows.measure("batch", f"{network} {size}", call)
            if "OutOfMemory" in row.get("failed", ""):
                break


def natural(device: torch.device) -> str:
    """The mode that training takes there: bf16 where the hardware multiplies it."""
    return BEST if precision("auto", device.type) == "bf16-mixed" else PLAIN


def modes(device: torch.device) -> list[str]:
    """The one that training takes comes first; without bf16 in hardware (it would take minutes) float32 alone."""
    known = [mode for mode in MODES if natural(device) == BEST or mode.startswith("float32")]
    return sorted(known, key=lambda mode: mode != natural(device))


def machine(device: torch.device) -> Row:
    facts = {
        "device": str(device),
        "name": processor(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts |= {"name": card.name, "memory_gib": card.total_memory / 2**30}
        facts |= {"cudnn": torch.backends.cudnn.version()}
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    return facts


def training_call(
    wanted: Wanted,
    network: str,
    mode: str,
    batch: int,
    device: torch.device,
    peaks: dict[str, float],
) -> Callable[[], Row]:
    def call() -> Row:
        row = step_rate(wanted, network, mode, batch, device)
        kind = "tf32" if "tf32" in mode else "float32"
        if mode.startswith("bf16"):
            kind = "bf16"
        row["share_of_peak"] = row["flops_per_s"] / peaks.get(kind, float("nan"))
        return row

    return call


@lru_cache
def config_of(network: str, input_size: tuple[int, ...]) -> dict[str, Any]:
    size = str(list(input_size)).replace(" ", "")
    words = OWN_DATA.get(network, ["data=synthetic_coco", f"data.input_size={size}"])
    return composed([f"model={network}", *words, "schedule.epochs=1"])


class Step:
    """One training step of a network on random pictures: the bare loop that the project's own is compared with."""

    def __init__(
        self,
        config: dict[str, Any],
        mode: str,
        batch: int,
        device: torch.device,
        compiled: bool = False,
    ) -> None:
        precision, tf32, self.channels_last = MODES[mode]
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.device = device
        self.bf16 = precision == "bf16"
        network: PoseNetwork = build(config["model"]).to(device).train()
        if self.channels_last:
            lay_out(network, torch.channels_last)
        self.network = network
        self.loss = build(config["loss"])
        self.stride = network.stride
        given = config["data"]["input_size"]
        side = natural_height_of(network)
        self.size = (int(given[0]), int(given[1])) if given else (side, side)
        self.forward = torch.compile(network) if compiled else network
        fused = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=fused)
        joints = config["data"]["joints"]
        shape = (batch, 3, *self.size)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        sides = torch.tensor([self.size[1], self.size[0]], device=device)
        self.joints = torch.rand(batch, joints, 2, device=device) * sides
        self.visible = torch.ones(batch, joints, device=device)

    def __call__(self) -> None:
        amp = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with amp:
            outputs = self.forward(normalise(self.images, self.channels_last))
            total, _ = self.loss(outputs, self.joints, self.visible, self.stride)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.optimiser.step()


def step_rate(
    wanted: Wanted,
    network: str,
    mode: str,
    batch: int,
    device: torch.device,
    compiled: bool = False,
) -> Row:
    """Pictures a second of training; how long the CPU takes to launch a step; the peak of memory."""
    config = config_of(network, tuple(wanted.input_size))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    step = Step(config, mode, batch, device, compiled)
    for _ in range(3):  # cuDNN tries its algorithms, a compiler compiles
        step()
    wait(device)
    warm = time.perf_counter() - start
    once = timed(step, 1, device)[0]
    steps = int(min(50, max(3, wanted.steps_s / once)))
    with Busy(device) as busy:
        seconds, launch = timed(step, steps, device)
    macs = count(step.network, *step.size).convolution_macs
    return {
        "images_per_s": batch / seconds,
        "ms": 1000 * seconds,
        "launch_ms": 1000 * launch,
        "busy": busy.share,
        "flops_per_s": 6 * macs * batch / seconds,  # 2 a MAC; backward takes twice as many
        "memory_gib": memory(device),
        "batch": batch,
        "size": list(step.size),
        "steps": steps,
        "warm_s": warm,
    }


def timed(step: Callable[[], object], steps: int, device: torch.device) -> tuple[float, float]:
    """Seconds a step, and how many of them it took to ask for it."""
    wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    asked = time.perf_counter() - start
    wait(device)
    return (time.perf_counter() - start) / steps, asked / steps


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Busy:
    """The driver's own figure of how much of the time the GPU worked; None where it gives none."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.share = None
        self._seen = []
        self._over = threading.Event()

    def __enter__(self) -> Busy:
        self._thread = threading.Thread(target=self._look, daemon=True)
        if self.device.type == "cuda":
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self.device.type == "cuda":
            self._thread.join()
        later = self._seen[len(self._seen) // 2 :]  # the driver's window reaches back
        self.share = mean(later) / 100 if later else None

    def _look(self) -> None:
        while not self._over.wait(0.1):
            try:
                self._seen.append(torch.cuda.utilization(self.device))
            except Exception:  # no NVML here
                return


def product(kind: str, device: torch.device) -> Row:
    """FLOP/s of a large matrix product: the roof under which the networks stand."""
    side = 8192 if device.type == "cuda" else 256
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timed(lambda: torch.mm(a, b), 2, device)
    seconds, _ = timed(lambda: torch.mm(a, b), 5, device)
    return {"flops": 2 * side**3 / seconds, "side": side}


def copying(device: torch.device) -> Row:
    """Bytes a second within the memory, read and written."""
    size = 2**31 if device.type == "cuda" else 2**24
    a = torch.zeros(size, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    timed(lambda: b.copy_(a), 2, device)
    seconds, _ = timed(lambda: b.copy_(a), 5, device)
    return {"bytes_per_s": 2 * size / seconds}


def loading(wanted: Wanted, how: str, device: torch.device, seconds: float = 4.0) -> Row:
    """Crops a second that reach the device: from files, from the region cache, or made on the device."""
    size = str(list(wanted.input_size)).replace(" ", "")
    config = composed([*(wanted.dataset or ["data=synthetic_coco"]), f"data.input_size={size}"])
    data = build(config["data"], stride=4, natural_height=256, seed=0)
    people, size_wh = data.train_people, (data.input_size[1], data.input_size[0])
    planned = plan(people, data.load, data.skeleton, size_wh, data.augment)
    start = time.perf_counter()
    if how == "device":
        pixels = to_device(planned, data.load, device)
        skeleton = skeleton_of(config["data"]["skeleton"])
        crops = DeviceCrops(people, pixels, planned, skeleton, size_wh, data.augment)
        loader = DeviceLoader(crops, PersonSampler(crops), wanted.batch, whole=True)
    else:
        dataset = CropDataset(people, data.load, data.skeleton, data.input_size, data.augment)
        if how == "crops":
            dataset.cache = open_crops(planned, scratch(), data.load)
        sampler = PersonSampler(dataset, batch_size=wanted.batch)
        loader = torch.utils.data.DataLoader(
            dataset,
            wanted.batch,
            sampler=sampler,
            num_workers=wanted.workers,
            worker_init_fn=calm_worker,
            persistent_workers=wanted.workers > 0,
            pin_memory=device.type == "cuda",
        )
    made = time.perf_counter() - start
    rate = crops_per_second(loader, device, seconds)
    return {"images_per_s": rate, "ready_s": made, "people": len(people.persons)} | {
        "bytes": planned.size,
        "workers": 0 if how == "device" else wanted.workers,
    }


def scratch() -> Path:
    return Path(tempfile.gettempdir()) / f"featherpose-benchmark-{os.getpid()}"


def crops_per_second(loader: Iterable[Any], device: torch.device, seconds: float) -> float:
    """From the second batch on, epoch after epoch, until the time is over."""
    seen, start = 0, None
    while True:
        for batch in loader:
            image = batch["image"].to(device, non_blocking=True)
            if start is None:
                wait(device)
                start = time.perf_counter()
                continue
            seen += len(image)
            if time.perf_counter() - start > seconds:
                wait(device)
                return seen / (time.perf_counter() - start)


def profile(wanted: Wanted, network: str, device: torch.device, rows: int = 14) -> Row:
    """Where the time of a step goes: the device's own (on a CPU the CPU's), by operation."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    step = Step(config_of(network, tuple(wanted.input_size)), natural(device), wanted.batch, device)
    timed(step, 3, device)
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with recording(activities=activities) as record:
        timed(step, 3, device)
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    # A kernel stands under its own name too: by operation, each microsecond counts once
    asked = [event for event in record.key_averages() if event.device_type == DeviceType.CPU]
    found = sorted(asked, key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in found) or 1
    top = [
        {
            "operation": event.key[:70],
            "ms": getattr(event, key) / 3000,
            "share": getattr(event, key) / total,
            "calls": event.count // 3,
        }
        for event in found[:rows]
    ]
    for entry in top:
        print(
            f"    {entry['share']:6.1%} {entry['ms']:8.2f} ms {entry['calls']:6d}  {entry['operation']}"
        )
    return {"ms": total / 3000, "top": top}


def resumed(wanted: Wanted, left: float) -> Row:
    """`train`, and `train` again from its checkpoint, as a user would: the epochs that metrics.csv holds."""
    folder = scratch() / "run"
    size = str(list(wanted.input_size)).replace(" ", "")
    words = [
        f"model={wanted.networks[0]}",
        "data=synthetic_coco",
        "data.people={train: 8, val: 4, test: 2}",
        f"data.input_size={size}",
        "debug=tiny",
        "logger=none",
        "callbacks.progress=null",
        "callbacks.previews=null",
        "evaluate_best=false",
        "trainer.check_val_every_n_epoch=1",
    ]
    first = train([*words, "schedule.epochs=1", f"paths.output={folder}"], left / 2)
    last = folder / "checkpoints" / "last.ckpt"
    again = folder.with_name("again")
    second = train(
        [*words, "schedule.epochs=2", f"paths.output={again}", f"ckpt_path={last}"], left / 2
    )
    epochs = (again / "metrics.csv").read_text().splitlines()
    return {"first_s": first, "second_s": second, "metrics": [epochs[0], epochs[-1]]}


def train(words: list[str], limit: float) -> float:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(CONF.parent / "src" / "train.py"), *words],
        capture_output=True, text=True, check=False, timeout=max(10.0, limit),
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RuntimeError(f"train ended with {done.returncode}: {' '.join(last)}")
    return time.monotonic() - start


def compile_apart(wanted: Wanted, network: str, left: float) -> Row:
    """torch.compile in a process of its own, which can be ended when it takes too long."""
    limit = min(wanted.compile_s, left - 5)
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    process = context.Process(
        target=compiled_rate, args=(wanted, network, answers), daemon=True
    )  # its own time counts from here
    process.start()
    try:
        answer = answers.get(timeout=limit)
    except queue.Empty:
        raise TimeoutError(f"not compiled within {limit:.0f} seconds") from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer


def compiled_rate(wanted: Wanted, network: str, answers: Any) -> None:
    end_with_parent()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    try:
        answers.put(
            step_rate(wanted, network, natural(device), wanted.batch, device, compiled=True)
        )
    except Exception as error:
        answers.put(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def line(row: Row) -> str:
    """One row for the screen."""
    head = f"{row['part']:9s}{row['name']:32s}"
    if "failed" in row:
        return f"{head}{row['failed']}"
    shown = {
        "images_per_s": "{:9.1f} pictures/s",
        "ms": "{:8.2f} ms",
        "launch_ms": "launched in {:.2f}",
        "busy": "busy {:.0%}",
        "share_of_peak": "{:.1%} of peak",
        "memory_gib": "{:.2f} GiB",
        "warm_s": "warm {:.1f} s",
        "flops": "{:.3g} FLOP/s",
        "bytes_per_s": "{:.3g} B/s",
        "ready_s": "ready in {:.1f} s",
        "second_s": "resumed in {:.1f} s",
    }
    words = [form.format(row[key]) for key, form in shown.items() if row.get(key) is not None]
    return head + "  ".join(words)
