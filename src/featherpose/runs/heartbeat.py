"""Whether a run that says `running` still runs, wherever it does: a file that its process touches every minute."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from featherpose.console import console
from featherpose.errors import PoseError
from featherpose.runs.record import RUNNING, RunRecord

FILE = "heartbeat"
EVERY = 60.0  # seconds
STALE = 300.0


class Heartbeat:
    """A context manager around a run: its folder's `heartbeat` is touched as long as the process lives."""

    def __init__(self, folder: Path, every: float = EVERY) -> None:
        self.path = folder / FILE
        self.every = every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        about = {"pid": os.getpid(), "host": socket.gethostname(), "machine": machine()}
        self.path.write_text(json.dumps(about) + "\n", encoding="utf-8")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(self.every):
            with contextlib.suppress(OSError):  # a folder on a network may be away for a while
                os.utime(self.path)


def machine() -> str:
    """Where a process number means the same process: this boot of this kernel, and this container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def died(folder: Path, record: RunRecord) -> float | None:
    """The seconds since the last sign of a run that says `running` and does not run; None where it lives.

    On its own machine its process decides. Elsewhere (another host, a container with a new name) a heartbeat older than
    five minutes does, and in folders without one the newest file.
    """
    if record.state != RUNNING:
        return None
    age = last_sign(folder)
    if record.machine == machine() or (
        record.machine is None and record.host == socket.gethostname()
    ):
        return None if _process_lives(record) else age
    return age if age > STALE else None


def refuse_while_it_runs(folder: Path, record: RunRecord) -> None:
    """Two processes that train in one folder would write over each other's checkpoints and tables."""
    if record.state != RUNNING or died(folder, record) is not None:
        return
    if record.machine == machine():
        if record.pid == os.getpid():  # the same process once more, as in a notebook
            return
    elif not _beats(folder, record):
        return
    raise PoseError(
        f"{folder} is being trained in by process {record.pid} on {record.host}: wait for its end, or stop it first."
    )


def _beats(folder: Path, record: RunRecord, patience: float = 1.5 * EVERY) -> bool:
    """Whether a run on another machine shows itself; one that was killed there has left a young heartbeat, too."""
    console.print(
        f"{folder} says that it runs on {record.host}; waiting up to {patience:.0f} seconds for a sign of it"
    )
    before = _changed(folder / FILE)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(min(1.0, patience))
        if _changed(folder / FILE) != before:
            return (folder / FILE).is_file()  # removed: it has just come to its end
    return False


def last_sign(folder: Path) -> float:
    """Seconds since the heartbeat, or since the newest file, by the clock of the folder's own file system."""
    beat = folder / FILE
    times = [_changed(beat)] if beat.is_file() else [_changed(path) for path in folder.rglob("*")]
    return max(0.0, _now(folder) - max(times, default=0.0))


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # removed in this moment
        return 0.0


def _now(folder: Path) -> float:
    """As the file system sees it: on a network it may be minutes off."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder that can only be read
        return time.time()


def _process_lives(record: RunRecord) -> bool:
    import psutil

    began = max(filter(None, [record.started, *record.resumed]), default=None)
    try:
        process = psutil.Process(record.pid or 0)
    except (psutil.Error, ValueError):
        return False
    # A process that began later has only been given the same number; one that is dead may wait for its parent
    began_at = datetime.fromisoformat(began).timestamp() if began else float("inf")
    return process.create_time() <= began_at + 5 and process.status() != psutil.STATUS_ZOMBIE
