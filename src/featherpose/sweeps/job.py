"""One job as a process, and the slots in which jobs run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from omegaconf import DictConfig

from featherpose.errors import PoseError
from featherpose.files import lock, locked
from featherpose.machine import cores, threads_by_the_user
from featherpose.runs.heartbeat import died
from featherpose.runs.record import (
    BROKEN_OFF,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    RunRecord,
    mark,
)
from featherpose.sweeps.display import LOG

Slot = dict[str, str]  # what a slot adds to the environment of its job


@dataclass(eq=False)  # two jobs are the same only where they are one
class Job:
    """A row of the sweep: its overrides, its folder, and how it stands."""

    number: int
    overrides: list[str]
    folder: Path
    command: list[str]
    cfg: DictConfig
    state: str = "waiting"
    error: str | None = None
    exit_code: int | None = None
    seconds: float = 0.0
    force: bool = False  # also where it seems to run elsewhere
    slot: Slot = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _killed: bool = False  # by this process, not from outside
    _began: float = 0.0

    def __post_init__(self) -> None:
        record = self.record()
        if record is None:
            return
        self.state = record.state
        self.error = record.error
        if self.state != RUNNING:
            return
        if self.force or died(self.folder, record) is not None:  # nobody could write that it ended
            self.state = INTERRUPTED
        else:
            self.error = (
                f"it still runs, on {record.host}; sweep.force=true runs it here all the same"
            )

    def record(self) -> RunRecord | None:
        """What run.json says; of a damaged one the job itself tells when it is started."""
        try:
            return RunRecord.read(self.folder)
        except PoseError:
            return None

    def to_run(self) -> bool:
        return self.state not in (FINISHED, *BROKEN_OFF, RUNNING)

    def start(self, slot: Slot) -> None:
        self.slot = slot
        self.state = "running"
        self._began = time.monotonic()
        self.error = None
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **slot, "PYTHONUNBUFFERED": "1"}
        with (self.folder / LOG).open("ab") as log:
            # It is the job's as well, so it outlives this process. A file system may have no locks
            with contextlib.suppress(OSError):
                lock(log, wait=False)
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal reaches it once, through the launcher
            )

    def ended(self) -> bool:
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return False
        self.seconds = time.monotonic() - self._began
        self.exit_code = code if code >= 0 else 128 - code
        self._judge(code)
        return True

    def _judge(self, code: int) -> None:
        """What run.json says counts, unless the process could not write it any more."""
        record = self.record()
        said = record.state if record else None
        if said in BROKEN_OFF:
            self.state, self.error = str(said), record.error if record else None
        elif code == 0:
            self.state = FINISHED if said in (None, FINISHED) else FAILED
            self.error = None if self.state == FINISHED else f"ended with run.json at {said}"
        elif code == -signal.SIGKILL and self._killed:
            self.state, self.error = INTERRUPTED, "killed by a second signal before it had saved"
        else:
            told = record if record and said in (FAILED, INTERRUPTED) and record.exit_code else None
            self.state = told.state if told else FAILED
            self.error = told.error if told else death(code, self.folder / LOG)
        if self.state in (FAILED, INTERRUPTED) and said != self.state:
            finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
            first = {"name": self.folder.name, "group": self.folder.parent.name}
            mark(
                self.folder,
                **({} if record else first),
                state=self.state,
                error=self.error,
                exit_code=self.exit_code,
                finished=finished,
            )

    def signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self._killed = True
        self.signal(signal.SIGKILL)

    def score(self) -> float | None:
        record = self.record()
        return record.best.score if record and record.best else None


def held(folder: Path) -> bool:
    """Whether the job in that folder has a process, on any machine that shares the file system."""
    if not (folder / LOG).is_file():
        return False
    try:
        with locked(folder / LOG, wait=False):
            return False
    except BlockingIOError:
        return True


def death(code: int, log: Path) -> str:
    """Why a process ended that could not say it itself."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ": out of memory?" if -code == signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or [f"exit code {code}"])[-1]


class Slots:
    """Places to run in, each with its GPUs, its share of the cores and a port for DDP.

    Lightning's own choice of a port is free when it is made and often taken when the ranks meet, seconds later: it lies
    among those that the system gives to anyone. These lie below, 64 to a sweep; one beside it has others.
    """

    def __init__(
        self, count: int | None, gpus_per_job: int, gpus: list[str], threads: int | None
    ) -> None:
        groups = (
            [gpus[i : i + gpus_per_job] for i in range(0, len(gpus), max(1, gpus_per_job))]
            if gpus_per_job
            else []
        )
        groups = [group for group in groups if len(group) == gpus_per_job]
        self.count = count or len(groups) or 1
        shared = str(threads or max(1, cores() // self.count))
        cpu = {} if threads_by_the_user() and threads is None else {"OMP_NUM_THREADS": shared}
        self._free: list[Slot] = []
        first = 20000 + 64 * os.getpid() % 12000
        for i in range(self.count):
            gpu = {"CUDA_VISIBLE_DEVICES": ",".join(groups[i % len(groups)])} if groups else {}
            self._free.append({**cpu, **gpu, "MASTER_PORT": str(free_port(first + 4 * i))})

    def take(self) -> Slot | None:
        return self._free.pop(0) if self._free else None

    @property
    def free(self) -> int:
        return len(self._free)

    def give_back(self, slot: Slot) -> None:
        self._free.append(slot)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens at."""
    for port in range(first, first + 10000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    return first


def visible_gpus() -> list[str]:
    """The GPUs this process may use, found without importing torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu.strip() for gpu in given.split(",") if gpu.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run(
        [tool, "--list-gpus"], capture_output=True, text=True, timeout=60, check=False
    )
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
